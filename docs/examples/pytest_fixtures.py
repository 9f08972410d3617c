"""A test of one's own code with the fixtures that the package brings; run here by pytest itself."""

import subprocess
import sys
from importlib.metadata import entry_points

# --8<-- [start:test]
import pytest

from etcd_async import Client, Namespace


async def count_visit(client: Namespace, page: str) -> int:
    """The code under test: count a visit of a page, and return how many there were."""
    written = await client.put(f"/visits/{page}", "visited", prev_kv=True)
    return written.prev_kv.version + 1 if written.prev_kv else 1


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def client(etcd_client: Client, request: pytest.FixtureRequest) -> Namespace:
    return etcd_client.namespaced(f"/tests/{request.node.nodeid}/")  # keys that no other test has


@pytest.mark.anyio
async def test_visits_are_counted(client: Namespace) -> None:
    assert await count_visit(client, "home") == 1
    assert await count_visit(client, "home") == 2


# --8<-- [end:test]
if __name__ == "__main__":
    # pytest finds the fixtures by itself where the package is installed; in a bare checkout they must be named.
    announced = entry_points(group="pytest11", name="etcd_async")
    plugin = [] if announced else ["-p", "etcd_async.testing.plugin"]
    sys.exit(subprocess.call([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *plugin, __file__]))
