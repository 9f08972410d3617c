"""A client on a real etcd that holds nothing when a test begins."""

import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from etcd_async import Client, ConfigSource
from etcd_async.testing import EtcdServer
from tests.integration.support import tasks, wipe


@pytest.fixture
async def client(etcd_server: EtcdServer) -> AsyncIterator[Client]:
    """A client of a server without keys and leases; once it is closed, none of its tasks may be left."""
    before = tasks()
    async with Client(etcd_server.endpoint) as client:
        await wipe(client)
        yield client
    assert tasks() <= before


@pytest.fixture
def source(client: Client) -> ConfigSource:
    """The configuration ``app``."""
    return client.config_source("app")


@pytest.fixture
def dead_endpoint() -> Iterator[str]:
    """An endpoint that refuses connections: its port is taken, but nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
