"""Every test that the page of lessons names exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "concepts" / "lessons.md"
ROWS = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
LESSONS = [row for row in ROWS if not row.startswith("| what ")]


def test_there_is_a_row_for_each_pain_and_each_defect() -> None:
    assert len(LESSONS) == 15 + 13


@pytest.mark.parametrize("row", LESSONS, ids=lambda row: row.split("|")[1].strip()[:50])
def test_the_test_of_a_lesson_exists(row: str) -> None:
    [(path, name)] = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
    tree = ast.parse((ROOT / path).read_bytes())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
