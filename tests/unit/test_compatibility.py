"""The compatibility table as documented, against the one that the integration tests hold each etcd to."""

from pathlib import Path

from tests.integration.compatibility import ROWS
from tests.servers.build import DEBIAN, LINES, pinned
from tests.support.versions import VERSIONS

PAGE = Path(__file__).parent.parent.parent / "docs" / "compatibility.md"


def documented() -> list[list[str]]:
    """Return the table of what differs, line by line."""
    _, _, section = PAGE.read_text(encoding="utf-8").partition("## What differs\n")
    lines = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_page_says_what_is_tested() -> None:
    head, _, *rows = documented()
    assert head[1:] == list(VERSIONS)
    assert rows == [[row.feature, *(row.cells[version] for version in VERSIONS)] for row in ROWS]


def test_every_line_of_etcd_in_use_has_its_column() -> None:
    assert {version.rpartition(".")[0] for version in VERSIONS} == set(LINES)
    assert {pinned(line) for line in LINES if line != DEBIAN} <= set(VERSIONS)
