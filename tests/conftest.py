"""What every test gets: the event loops it runs on, and no deadline per generated example."""

import sys
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any

import hypothesis
import pytest

from tests.features import Ledger

# Our own plugin announces itself where the package is installed; a bare checkout on the path does not.
ANNOUNCED = entry_points(group="pytest11", name="etcd_async")
pytest_plugins = ["pytester"] if ANNOUNCED else ["pytester", "etcd_async.testing.plugin"]

LOOPS: dict[str, tuple[str, dict[str, Any]]] = {
    "asyncio": ("asyncio", {}),
    "debug": ("asyncio", {"debug": True}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
}

# A busy machine is no failure; pytest-timeout ends a test that hangs. And each run tries the same examples, so that a
# change fails by its own doing only; --hypothesis-profile=explore, and tests/fuzz, look for what nobody has thought of.
hypothesis.settings.register_profile(
    "explore", deadline=None, print_blob=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("etcd_async", hypothesis.settings.get_profile("explore"), derandomize=True)
hypothesis.settings.load_profile("etcd_async")


def pytest_configure(config: pytest.Config) -> None:
    """Keep account of the tests that docs/features.md promises."""
    config.pluginmanager.register(Ledger(), "features")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a coroutine test once on each loop that its ``loops`` marker names; without one, on asyncio's own."""
    if "anyio_backend" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("loops")
        names = marker.args if marker else ("asyncio",)
        metafunc.parametrize("anyio_backend", [_loop(name) for name in names], indirect=True)


def _loop(name: str) -> Any:
    missing = name == "uvloop" and find_spec("uvloop") is None
    skip = pytest.mark.skipif(missing, reason=f"uvloop is not installed (platform {sys.platform})")
    return pytest.param(name, id=name, marks=[skip])


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """
    The backend of anyio and its options.

    Of one test only: a coroutine fixture of wider scope would keep its loop for the tests that asked for another.
    """
    return LOOPS[request.param]
