"""A client for one test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from etcd_async.client import Client
    from etcd_async.testing.server import EtcdServer


@asynccontextmanager
async def open_client(server: EtcdServer) -> AsyncIterator[Client]:
    """Open a client of *server*, and close it."""
    from etcd_async.client import Client  # here, so that test runs that use no client do not pay for it

    async with Client(server.endpoints) as client:
        yield client
