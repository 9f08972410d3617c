"""The page of features: every promise of the seeds, each with a test that exists."""

import ast
import re
from pathlib import Path

import pytest

from tests.features import ROOT, links, rows


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.split("|")[1].strip()[:60])
def test_each_promise_names_one_test_and_it_exists(row: str) -> None:
    [(path, name)] = links(row)
    tree = ast.parse((ROOT / path).read_bytes())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_the_page_is_whole() -> None:
    assert len(rows()) >= 90


def test_a_run_that_left_out_what_is_promised_fails(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger itself, on a project of its own."""
    pytester.makefile(
        ".md", features="| promise |\n|---|\n| a | `tests/test_a.py::test_one` |\n| b | `tests/test_a.py::test_two` |\n"
    )
    pytester.makepyfile(
        conftest="""
        from pathlib import Path
        from tests import features

        def pytest_configure(config):
            features.ROOT = Path(__file__).parent
            features.PAGE = features.ROOT / "features.md"
            config.pluginmanager.register(features.Ledger())
        """
    )
    folder = pytester.mkdir("tests")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    whole = "def test_one(): pass\ndef test_two(): pass\n"
    for text, code in (
        (whole, 0),
        ("def test_one(): pass\n", 1),
        (f"import pytest\n{whole}test_two = pytest.mark.skip(test_two)\n", 1),
    ):
        (Path(folder) / "test_a.py").write_text(text)
        result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "tests")
        assert result.ret == code
        assert bool(re.search(r"promises tests/test_a.py::test_two", result.stdout.str())) is bool(code)
    assert pytester.runpytest_subprocess("-p", "no:cacheprovider", "-k", "one", "tests").ret == 0
