"""
The order of the layers, held against every import statement of the package, those inside functions included.

A module may import its own layer and those before it, and the import graph of the modules has no cycle.
"""

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "etcd_async"

LAYERS: list[set[str]] = [
    {"errors", "types", "users", "options", "ops", "wire", "_home", "_keys", "_keyspace", "_results", "_pb", "_codec"},
    {"_protocol"},
    {"_loss", "_transport"},
    {
        "crypto",
        "telemetry",
        "kv",
        "compound",
        "lease",
        "watch",
        "services",
        "_core",
        "_finish",
        "_keeper",
        "_watcher",
        "_watch_inbox",
        "_offload",
        "_rpc",
        "_scan",
        "_arguments",
        "_sync",
        "servers",
        "srv",
        "auth",
        "cluster",
        "maintenance",
        "_call",
        "_leader",
        "_snapshot",
        "_snapshot_file",
        "_snapshot_stream",
        "_status",
    },
    {"recipes", "config", "settings"},
    {"coordination", "client"},
    {""},  # etcd_async/__init__.py: the public names
    {"testing"},
    {"__main__", "_demo"},
]
LAYER_OF = {part: number for number, parts in enumerate(LAYERS) for part in parts}
UNKNOWN = len(LAYERS)

# What a part of the package may not import although it lies below.
FORBIDDEN_PARTS = {"recipes": {"_protocol", "_transport", "_pb", "_codec"}}
# The only parts that may import these packages; a package that is not named here is free from layer 2 upward.
OWNERS = {
    "grpclib": {"_transport"},
    "h2": {"_transport"},
    "hpack": {"_transport"},
    "betterproto2": {"_pb", "_codec", "wire"},
    "cryptography": {"crypto"},
    "dns": {"srv"},
}
PURE_LAYERS = 2
# What would make a decision depend on anything but its arguments.
IMPURE = {"anyio", "asyncio", "datetime", "secrets", "selectors", "socket", "ssl", "subprocess", "threading", "time"}
# A moment is a value as any other; a test of its own sees to it that nobody asks for the present one.
MOMENTS = {"etcd_async.types._client"}


def modules() -> dict[str, ast.Module]:
    """Every module of the package by its dotted name, as a syntax tree; a package stands for its ``__init__``."""
    trees = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        trees[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_bytes(), str(path))
    return trees


def part_of(module: str) -> str:
    """Return the part of the package that the table speaks of: ``_protocol`` for ``etcd_async._protocol.watch``."""
    return [*module.split("."), ""][1]


def layer_of(module: str) -> int:
    return LAYER_OF.get(part_of(module), UNKNOWN)


MODULES = modules()
PURE_MODULES = [module for module in MODULES if layer_of(module) < PURE_LAYERS]


def is_package(module: str) -> bool:
    return (ROOT / module.replace(".", "/") / "__init__.py").exists()


def imports(module: str) -> Iterator[str]:
    """Yield what *module* imports: modules by their own name, other names by the module that holds them."""
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = origin(module, node)
            for alias in node.names:
                submodule = f"{base}.{alias.name}"
                yield submodule if submodule in MODULES else base


def origin(module: str, node: ast.ImportFrom) -> str:
    """Return the absolute name of the module that *node*, in *module*, imports from."""
    if not node.level:
        return node.module or ""
    package = module.split(".") if is_package(module) else module.split(".")[:-1]
    return ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])


def inner(module: str) -> set[str]:
    return {name for name in imports(module) if name.split(".")[0] == PACKAGE}


def outer(module: str) -> set[str]:
    return {name.split(".")[0] for name in imports(module)} - {PACKAGE}


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_layer(module: str) -> None:
    assert part_of(module) in LAYER_OF


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downward(module: str) -> None:
    part = part_of(module)
    assert not {name for name in inner(module) if layer_of(name) > layer_of(module)}
    assert not {name for name in inner(module) if part_of(name) in FORBIDDEN_PARTS.get(part, set())}


def test_no_module_imports_itself_by_a_detour() -> None:
    graph = {module: inner(module) - {module} for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


@pytest.mark.parametrize("module", MODULES)
def test_a_foreign_package_is_imported_only_by_the_part_that_owns_it(module: str) -> None:
    part = part_of(module)
    assert not {name for name in outer(module) if part not in OWNERS.get(name, {part})}


@pytest.mark.parametrize("module", PURE_MODULES)
def test_the_layers_of_decisions_import_nothing_that_waits_or_tells_the_time(module: str) -> None:
    allowed = sys.stdlib_module_names - IMPURE | {name for name, owners in OWNERS.items() if part_of(module) in owners}
    assert not outer(module) - allowed - ({"datetime"} if module in MOMENTS else set())


@pytest.mark.parametrize("module", sorted(MOMENTS))
def test_a_value_holds_moments_but_does_not_ask_for_the_present_one(module: str) -> None:
    called = {
        node.func.attr
        for node in ast.walk(MODULES[module])
        if isinstance(node, ast.Call) and hasattr(node.func, "attr")
    }
    assert not called & {"now", "today", "utcnow"}


@pytest.mark.parametrize("module", PURE_MODULES)
def test_the_layers_of_decisions_hold_no_coroutine(module: str) -> None:
    tree = ast.walk(MODULES[module])
    found = [node.lineno for node in tree if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor)]
    assert not found


@pytest.mark.parametrize("module", PURE_MODULES)
def test_randomness_comes_to_decisions_from_outside(module: str) -> None:
    calls = {ast.unparse(node.func) for node in ast.walk(MODULES[module]) if isinstance(node, ast.Call)}
    assert not calls & {"Random", "SystemRandom", "random.Random", "random.SystemRandom", "os.urandom"}
