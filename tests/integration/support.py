"""What several integration tests need: an empty server to begin with, and ways to wait for what it holds."""

import asyncio
from contextlib import suppress
from typing import Any, Final

import etcd_async
from etcd_async import Client, LeaseNotFound
from tests.support.live import take, until

TERM: Final = 4
"""Seconds of a lease that is to be kept: it is renewed each second, so everything may stand still for two or three."""


async def until_keys(client: Client, prefix: str, number: int) -> None:
    """Wait until *prefix* holds *number* keys."""

    async def reached() -> bool:
        return await client.count(prefix=prefix) == number

    await until(reached)


async def until_expired(client: Client, seconds: int) -> None:
    """Wait as long as a lease of *seconds* lives that nobody renews: by the server's clock, not by ours."""
    twin = await client.leases.grant(seconds)
    async with client.watch("/until-expired", filters=("no_put",)) as watch:
        with suppress(LeaseNotFound):  # so late that it has
            await client.put("/until-expired", "", lease=twin.id)
            await take(watch, 1, seconds + 10)


async def nothing_left(client: Client) -> bool:
    """Tell whether there is neither a key nor a lease."""
    return not await client.count(prefix="") and not await client.leases.list()


async def lease_of_key(client: Client, key: bytes) -> int:
    """Return the id of the lease that *key* lives on."""
    kv = await client.get(key)
    assert kv is not None
    return kv.lease


async def wipe(client: Client) -> None:
    """Delete every key and revoke every lease."""
    await client.delete(prefix="")
    for lease in await client.leases.list():
        try:
            await client.leases.revoke(lease)
        except etcd_async.LeaseNotFound:
            continue  # it expired meanwhile


def tasks() -> set[asyncio.Task[Any]]:
    """Return the tasks of this loop, but for those in which anyio's plugin runs tests and fixtures."""
    return {task for task in asyncio.all_tasks() if "TestRunner" not in repr(task)}
