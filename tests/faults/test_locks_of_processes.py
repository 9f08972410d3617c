"""Locks between real processes: what the lock is for, and what happens when its holder dies or is cut off."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from etcd_async import Client
from etcd_async.testing import EtcdServer, FaultProxy
from etcd_async.testing.proxy import Direction
from tests.faults.processes import Holder, Said, holder
from tests.faults.support import start
from tests.support.live import until, within

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(120)]

TTL = 3.0
LATE = 5.0  # how late a process may be that the machine has no time for
AT_ONCE = 0.2  # of a process that it has time for


async def until_contenders(client: Client, number: int) -> None:
    async def are_there() -> bool:
        return await client.count(prefix="job/") == number

    await until(are_there)


@asynccontextmanager
async def holder_and_waiter(
    server: EtcdServer, client: Client, holders_endpoint: str
) -> AsyncIterator[tuple[Holder, Said, Holder]]:
    """Run a process that has the lock and one that waits for it; in between what the first said on entering."""
    async with holder(holders_endpoint, "job", ttl=TTL) as first:
        await first.says("waiting")
        held = await first.says("entered")
        async with holder(server.endpoint, "job", ttl=TTL) as second:
            await second.says("waiting")
            await until_contenders(client, 2)
            yield first, held, second


@pytest.mark.judged
async def test_a_lock_held_for_many_terms_is_entered_by_nobody_else(server: EtcdServer, client: Client) -> None:
    async with holder_and_waiter(server, client, server.endpoint) as (first, held, second):
        entering = start(second.next())
        await asyncio.wait([entering], timeout=10)
        assert not entering.done()
        first.release()
        left = await first.says("released")
        entered = await within(entering)
        assert entered.event == "entered"
        # The second may hear of it before the first has had the answer to its own request.
        assert held.at + 10 < entered.at < left.at + LATE
        assert entered.token > held.token


async def test_a_killed_holder_makes_way_within_its_term(server: EtcdServer, client: Client) -> None:
    async with holder_and_waiter(server, client, server.endpoint) as (first, held, second):
        killed_at = time.monotonic()
        first.process.kill()
        entered = await second.says("entered")
        assert entered.at < killed_at + TTL + LATE
        assert entered.token > held.token


@pytest.mark.judged
@pytest.mark.parametrize("direction", ["both", "to_client", "to_server"])
async def test_a_holder_that_is_cut_off_is_stopped_before_the_next_one_enters(
    server: EtcdServer, proxy: FaultProxy, client: Client, direction: Direction
) -> None:
    async with holder_and_waiter(server, client, proxy.endpoint) as (first, held, second):
        proxy.blackhole(direction)
        cancelled = await first.says("cancelled")
        entered = await second.says("entered")
        await first.says("lost")
        assert cancelled.expires_at < entered.at  # and it is stopped then, unless its whole process is
        assert cancelled.overdue < AT_ONCE
        assert cancelled.token == held.token < entered.token


async def test_a_holder_on_a_stopped_server_is_stopped_in_its_term(server: EtcdServer, client: Client) -> None:
    async with holder(server.endpoint, "job", ttl=TTL) as first:
        await first.says("waiting")
        await first.says("entered")
        await server.pause()
        paused_at = time.monotonic()
        cancelled = await first.says("cancelled")
        await server.resume()
        assert cancelled.expires_at < paused_at + TTL
        assert cancelled.overdue < AT_ONCE


async def test_a_waiter_whose_patience_ends_leaves_no_key(server: EtcdServer, client: Client) -> None:
    async with client.lock("job", ttl=30) as lock, holder(server.endpoint, "job", ttl=30, timeout=0.5) as waiter:
        await waiter.says("waiting")
        await waiter.says("timeout")
        assert await client.keys(prefix="job/") == [lock.key]
        assert await client.leases.list() == [int(lock.key.rpartition(b"/")[2], 16)]


async def test_a_waiter_that_is_interrupted_leaves_no_key(server: EtcdServer, client: Client) -> None:
    async with client.lock("job", ttl=30) as lock, holder(server.endpoint, "job", ttl=30) as waiter:
        await waiter.says("waiting")
        await until_contenders(client, 2)
        waiter.process.send_signal(signal.SIGINT)
        await waiter.says("interrupted")
        assert await client.keys(prefix="job/") == [lock.key]
        assert await client.leases.list() == [int(lock.key.rpartition(b"/")[2], 16)]
