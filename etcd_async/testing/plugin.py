"""
The pytest plugin: fixtures that give a test real etcd.

* ``etcd_server``: one `EtcdServer` for the whole session (with pytest-xdist: for each worker).
* ``etcd_cluster``: one `EtcdCluster` of three for the whole session, started when first asked for.
* ``etcd_client``: a `Client` of ``etcd_server``, open for one coroutine test, in that test's own event loop. Works in
  tests that anyio's plugin runs and in tests that pytest-asyncio runs, in any of its loop scopes.

Keys stay on the server from test to test: let every test use a prefix of its own. A test that stops or kills the server
starts it again, or better takes an `EtcdServer` of its own. To run the servers in another way, define a fixture of the
same name in a ``conftest.py``.

Without an etcd to run, a test that asks for one of these fails with one line that says what to do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from etcd_async.testing._client import open_client
from etcd_async.testing._lifecycle import Lifecycle
from etcd_async.testing.binary import EtcdBinaryNotFound
from etcd_async.testing.cluster import EtcdCluster
from etcd_async.testing.server import EtcdServer

if TYPE_CHECKING:
    from etcd_async.client import Client

__all__ = ["etcd_client", "etcd_cluster", "etcd_server", "pytest_configure"]

_T = TypeVar("_T", bound=Lifecycle)


def pytest_configure(config: pytest.Config) -> None:
    """Add what needs pytest-asyncio, if that is there."""
    if config.pluginmanager.has_plugin("asyncio"):
        config.pluginmanager.import_plugin("etcd_async.testing._pytest_asyncio")


@pytest.fixture(scope="session")
def etcd_server() -> Iterator[EtcdServer]:
    """One etcd for the whole session."""
    yield from _running(EtcdServer())


@pytest.fixture(scope="session")
def etcd_cluster() -> Iterator[EtcdCluster]:
    """A cluster of three for the whole session."""
    yield from _running(EtcdCluster(size=3))


@pytest.fixture
def etcd_client(request: pytest.FixtureRequest) -> Client:
    """A client of ``etcd_server`` that is open for one test."""
    # The client lives in the test's loop. Only the plugin that owns the loop can run code in it before and after the
    # test, and each plugin wants an asynchronous fixture declared in its own way.
    client: Client = request.getfixturevalue(_client_fixture(request))
    return client


@pytest.fixture
async def _etcd_client_anyio(etcd_server: EtcdServer, anyio_backend: Any) -> AsyncIterator[Client]:
    async with open_client(etcd_server) as client:
        yield client


def _running(etcd: _T) -> Iterator[_T]:
    with ExitStack() as stack:
        try:
            stack.enter_context(etcd)
        except EtcdBinaryNotFound as error:
            pytest.fail(str(error), pytrace=False)
        yield etcd


def _client_fixture(request: pytest.FixtureRequest) -> str:
    if "anyio_backend" in request.fixturenames:
        return "_etcd_client_anyio"
    scope = _loop_scope(request)
    if scope is None:
        pytest.fail("etcd_client is for coroutine tests run by anyio's plugin or by pytest-asyncio", pytrace=False)
    return f"_etcd_client_asyncio_{scope}"


def _loop_scope(request: pytest.FixtureRequest) -> str | None:
    """The scope of the event loop that pytest-asyncio gives the test; None if it does not run it."""
    marker = request.node.get_closest_marker("asyncio")
    if marker is None or not request.config.pluginmanager.has_plugin("asyncio"):
        return None
    default: str = request.config.getini("asyncio_default_test_loop_scope")
    return marker.kwargs.get("loop_scope") or marker.kwargs.get("scope") or default
