"""Every public module says in ``__all__`` exactly what it offers."""

import ast
import importlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import get_type_hints

import pytest

import etcd_async
import etcd_async.errors

ROOT = Path(__file__).parent.parent


def public_modules() -> Iterator[str]:
    """Yield the dotted names of the modules whose path has no part with a leading underscore."""
    for path in sorted((ROOT / "etcd_async").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if not any(part.startswith("_") for part in parts):
            yield ".".join(parts)


MODULES = list(public_modules())
OWNED = (type, FunctionType)
# Packages that show what they define in private modules as their own.
DIVIDED = ["etcd_async.errors", "etcd_async.lease", "etcd_async.ops", "etcd_async.types"]


def tree_of(module: str) -> ast.Module:
    path = ROOT / module.replace(".", "/")
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(source.read_bytes(), str(source))


def is_public(name: str) -> bool:
    return not name.startswith("_")


def defined(tree: ast.Module) -> set[str]:
    """Return the public names that the module's own statements define."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(target.id for target in targets if isinstance(target, ast.Name))
    return set(filter(is_public, names))


def imported(tree: ast.Module) -> dict[str, str]:
    """Return the names that the module imports from modules of this package, each with that module."""
    return {
        alias.asname or alias.name: f"{'.' * node.level}{node.module or ''}"
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("etcd_async"))
        for alias in node.names
    }


@pytest.mark.parametrize("module", MODULES)
def test_all_names_every_public_definition(module: str) -> None:
    assert defined(tree_of(module)) <= set(importlib.import_module(module).__all__)


@pytest.mark.parametrize("module", MODULES)
def test_all_names_each_name_once_and_each_exists(module: str) -> None:
    offered = importlib.import_module(module)
    assert [name for name, count in Counter(offered.__all__).items() if count > 1] == []
    assert [name for name in offered.__all__ if not hasattr(offered, name)] == []


@pytest.mark.parametrize("module", MODULES)
def test_a_module_offers_nothing_foreign_and_each_name_has_one_public_home(module: str) -> None:
    tree = tree_of(module)
    sources = imported(tree)
    offered = set(importlib.import_module(module).__all__)
    is_package = (ROOT / module.replace(".", "/")).is_dir()
    for name in offered - defined(tree):
        assert name in sources, f"{name} is not defined in this package"
        assert is_package or any(part.startswith("_") for part in sources[name].split(".")), f"{name} has another home"


@pytest.mark.parametrize("module", DIVIDED)
def test_what_is_defined_in_private_modules_is_shown_as_of_the_public_one(module: str) -> None:
    offered = vars(importlib.import_module(module))
    shown = {name: offered[name].__module__ for name in offered["__all__"] if isinstance(offered[name], OWNED)}
    assert shown
    assert {name: home for name, home in shown.items() if home != module} == {}


@pytest.mark.parametrize("module", DIVIDED)
def test_annotations_of_classes_can_be_evaluated_where_they_are_shown(module: str) -> None:
    offered = vars(importlib.import_module(module))
    for name in offered["__all__"]:
        if isinstance(offered[name], type):
            get_type_hints(offered[name])  # raises if not


def test_every_public_module_is_described_in_the_reference() -> None:
    pages = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "reference").glob("*.md"))
    gathering = {"etcd_async", "etcd_async.recipes"}  # they only gather what other modules define
    assert [module for module in MODULES if module not in gathering and f"::: {module}\n" not in pages] == []


def test_the_top_level_offers_what_its_modules_offer() -> None:
    offered = set(etcd_async.__all__) - {"__version__"}
    homes = {name for module in MODULES if module != "etcd_async" for name in importlib.import_module(module).__all__}
    private = {name for name, source in imported(tree_of("etcd_async")).items() if "._" in source}
    assert offered - homes - private == set()


def test_every_error_is_offered_at_the_top() -> None:
    errors = {name for name, value in vars(etcd_async.errors).items() if isinstance(value, type)}
    raised = {name for name in errors if issubclass(getattr(etcd_async.errors, name), etcd_async.errors.EtcdError)}
    assert raised <= set(etcd_async.__all__)
