"""Recipes of coordination that are cancelled wherever they wait leave no key, no lease, no watch and no task behind."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from etcd_async import BarrierFull, Client, Isolation, Transaction
from etcd_async.testing import EtcdServer
from tests.faults.steps import Taker, Way, each_cancellation, freed, in_every_way
from tests.faults.support import Baseline, cancelled, start
from tests.support.live import within

pytestmark = pytest.mark.faults

LEVELS: list[Isolation] = ["serializable_snapshot", "serializable", "repeatable_reads", "read_committed"]


async def read(client: Client) -> None:
    async with client.rwlock("held", ttl=60).read():
        await client.get("/k")


async def write(client: Client) -> None:
    async with client.rwlock("held", ttl=60, timeout=30).write():
        await client.get("/k")


async def semaphore(client: Client) -> None:
    async with client.semaphore("held", limit=1, ttl=60):
        await client.get("/k")


async def try_semaphore(client: Client) -> None:
    permit = client.semaphore("held", limit=1, ttl=60)
    try:
        await permit.try_acquire()
    finally:
        await permit.release()


async def barrier(client: Client) -> None:
    await client.barrier("held").wait(timeout=30)


async def double_barrier(client: Client) -> None:
    """Alone in it, so that it is the one who opens it and the last who leaves."""
    with suppress(BarrierFull):  # what was cancelled on its way out may not have gone yet
        async with client.double_barrier("held", 1, ttl=60):
            await client.get("/k")


async def stm(client: Client) -> None:
    """Meets with a conflict at its first two attempts."""
    attempts = 0

    async def work(t: Transaction) -> None:
        nonlocal attempts
        attempts += 1
        found = await t.get("/from")
        await t.get("/x")
        if attempts <= 2:
            await client.put("/x", str(attempts))
        t.put("/to", found.value if found else "")
        t.delete("/from")

    await client.stm(work, prefetch=["/x", "/y"])


async def read_only_stm(client: Client) -> None:
    """A read-only transaction would do for it, but etcd 3.5.1 panics when one of those is cancelled."""

    async def work(t: Transaction) -> None:
        await t.get("/x")
        await t.get("/y")

    for isolation in LEVELS:
        await client.stm(work, isolation=isolation, prefetch=["/x"])


WORKS: list[Callable[[Client], Awaitable[None]]] = [
    read,
    write,
    semaphore,
    try_semaphore,
    barrier,
    double_barrier,
    stm,
    read_only_stm,
]


@in_every_way
@pytest.mark.parametrize("work", WORKS)
async def test_cancelled_wherever_it_waits_it_leaves_nothing(
    server: EtcdServer, client: Client, work: Callable[[Client], Awaitable[None]], way: Way
) -> None:
    @asynccontextmanager
    async def prepared() -> AsyncIterator[None]:
        await client.put("/from", "v")
        await client.delete("/to")
        yield

    async for _ in each_cancellation(lambda: work(client), way, Baseline(client, server), scene=prepared):
        assert await client.keys(prefix="held") == []
        assert await client.exists("/from") is not await client.exists("/to")


async def take_to_write(client: Client) -> Callable[[], Awaitable[None]]:
    holding = client.rwlock("held", ttl=60).write()
    await holding.acquire()
    return holding.release


async def take_permit(client: Client) -> Callable[[], Awaitable[None]]:
    permit = client.semaphore("held", limit=1, ttl=60)
    await permit.acquire()
    return permit.release


async def hold_barrier(client: Client) -> Callable[[], Awaitable[None]]:
    await client.barrier("held").hold()
    return client.barrier("held").release


@in_every_way
@pytest.mark.parametrize(
    ("taker", "work"),
    [(take_to_write, read), (take_to_write, write), (take_permit, semaphore), (hold_barrier, barrier)],
)
async def test_a_waiter_cancelled_wherever_it_waits_leaves_nothing(
    server: EtcdServer,
    client: Client,
    taker: Taker,
    work: Callable[[Client], Awaitable[None]],
    way: Way,
) -> None:
    async with Client(server.endpoint) as other:
        await read(other)
        cancellations = each_cancellation(
            lambda: work(client), way, Baseline(client, server), scene=lambda: freed(server, other, taker), more_than=2
        )
        async for _ in cancellations:
            assert await client.keys(prefix="held") == []


async def two_of_three(client: Client) -> None:
    async with client.double_barrier("held", 2, ttl=60, timeout=30):
        await client.get("/k")


@in_every_way
async def test_a_member_cancelled_wherever_it_waits_leaves_nothing_and_holds_nobody_up(
    server: EtcdServer, client: Client, way: Way
) -> None:
    """The other member enters or not, depending on where that is, but never waits for one who is gone."""

    async with Client(server.endpoint) as other:
        await read(other)

        async def partner(inside: asyncio.Event) -> None:
            async with other.double_barrier("held", 2, ttl=60):
                inside.set()
                await other.get("/k")

        @asynccontextmanager
        async def with_partner() -> AsyncIterator[None]:
            inside = asyncio.Event()
            task = start(partner(inside))
            yield
            with suppress(TimeoutError):
                await within(inside.wait(), 0.3)
            if inside.is_set():
                await within(task)
            else:
                await cancelled(task)

        cancellations = each_cancellation(
            lambda: two_of_three(client), way, Baseline(client, server), scene=with_partner, more_than=3
        )
        async for _ in cancellations:
            assert await client.keys(prefix="held") == []
