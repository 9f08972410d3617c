"""A client on a real etcd that holds nothing when a test begins."""

from collections.abc import AsyncIterator

import pytest

from etcd_async import Client
from etcd_async.testing import EtcdServer
from tests.integration.support import own_tasks, wipe


@pytest.fixture
async def client(etcd_server: EtcdServer) -> AsyncIterator[Client]:
    """A client of a server without keys and leases; once it is closed, none of its tasks may be left."""
    async with Client(etcd_server.endpoint) as client:
        await wipe(client)
        yield client
    assert own_tasks() == []
