"""A server of its own for every test here, since each does it harm; and what lies between it and its client."""

from collections.abc import AsyncIterator

import pytest

from etcd_async import Client
from etcd_async._transport import connector
from etcd_async.testing import EtcdServer, FaultProxy
from tests.faults.support import QUICK, UNFORGETFUL


@pytest.fixture
async def server(request: pytest.FixtureRequest) -> AsyncIterator[EtcdServer]:
    """An etcd that is up again a tenth of a second after it was killed, with all that it had acknowledged."""
    is_killed = request.node.get_closest_marker("spared") is None
    async with EtcdServer(extra_args=[*QUICK, *(UNFORGETFUL if is_killed else ())], fsync=is_killed) as server:
        yield server


@pytest.fixture
async def proxy(server: EtcdServer) -> AsyncIterator[FaultProxy]:
    """A proxy in front of ``server``."""
    async with FaultProxy(server.endpoint) as proxy:
        yield proxy


@pytest.fixture
async def client(server: EtcdServer) -> AsyncIterator[Client]:
    """A client of ``server``, without a proxy."""
    async with Client(server.endpoint) as client:
        yield client


@pytest.fixture
async def distant(proxy: FaultProxy) -> AsyncIterator[Client]:
    """A client of ``server`` behind ``proxy``."""
    async with Client(proxy.endpoint) as client:
        yield client


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have calls wait for a server for as long as it takes to start again: with a slow disk perhaps more than 4 s."""
    monkeypatch.setattr(connector, "RESTART_PATIENCE", 60.0)
