"""The tests that docs/features.md names, and whether a run had them."""

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
PAGE: Final = ROOT / "docs" / "features.md"
_LINK = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def rows() -> list[str]:
    """Return the rows of all tables, without their heads."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("| ") and not line.startswith("| promise ")]


def links(text: str) -> list[tuple[str, str]]:
    """Return the file and the name of each test that *text* names."""
    return _LINK.findall(text)


class Ledger:
    """
    Which tests have passed; at the end of a run, those of whole folders are called in.

    A run of single files or names, or one that leaves tests out by ``-k`` or ``-m``, is nobody's word that all is well.
    """

    def __init__(self) -> None:
        self.passed: set[tuple[str, str]] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            path, _, name = report.nodeid.partition("::")
            self.passed.add((path, name.partition("[")[0]))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a run of whole folders that did not pass each of their promised tests."""
        config = session.config
        if (
            hasattr(config, "workerinput")
            or config.option.keyword
            or config.option.markexpr
            or config.option.collectonly
        ):
            return
        folders = [str(Path(arg).resolve().relative_to(ROOT)) for arg in config.args if Path(arg).resolve().is_dir()]
        promised = links(PAGE.read_text(encoding="utf-8"))
        self.missing = sorted(
            {link for link in promised if any(link[0].startswith(f"{folder}/") for folder in folders)} - self.passed
        )
        if self.missing and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name what is missing."""
        for path, name in getattr(self, "missing", ()):
            terminalreporter.write_line(f"docs/features.md promises {path}::{name}, which has not passed", red=True)
