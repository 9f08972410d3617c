"""Whatever is cancelled wherever it waits leaves no key, no lease, no watch, no call and no task behind."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from etcd_async import Client, Lock, Service
from etcd_async.testing import EtcdServer
from tests.faults.steps import Way, cancel_at
from tests.faults.support import Baseline, start
from tests.support.live import until, within

pytestmark = pytest.mark.faults

MOST_STEPS = 60


async def acquire(client: Client) -> None:
    lock = client.lock("held", ttl=60)
    try:
        await lock.acquire()
    finally:
        await lock.release()


async def lock_scope(client: Client) -> None:
    async with client.lock("held", ttl=60):
        await client.get("/k")


async def lock_timeout(client: Client) -> None:
    async with client.lock("held", ttl=60, timeout=30):
        await client.get("/k")


async def try_acquire(client: Client) -> None:
    lock = client.lock("held", ttl=60)
    try:
        await lock.try_acquire()
    finally:
        await lock.release()


async def campaign(client: Client) -> None:
    async with client.election("held", identity="me", ttl=60).campaign() as leadership:
        await leadership.proclaim("still me")


async def register(client: Client) -> None:
    async with client.register(Service("held", "1", "localhost:1"), ttl=60) as registration:
        await registration.update(metadata={"zone": "a"})


async def watch_service(client: Client) -> None:
    async with client.watch_service("held"):
        await client.get("/k")


async def lease(client: Client) -> None:
    async with client.lease(ttl=60) as lease:
        await client.put("/leased", "v", lease=lease)


async def watch(client: Client) -> None:
    async with client.watch("/k") as watch:
        await watch.started()


async def move(client: Client) -> None:
    await client.move("/from", "/to")


async def scan(client: Client) -> None:
    async for _ in client.scan(prefix="/", page_size=1):
        pass


WORKS: list[Callable[[Client], Awaitable[None]]] = [
    acquire,
    lock_scope,
    lock_timeout,
    try_acquire,
    campaign,
    register,
    watch_service,
    lease,
    watch,
    move,
    scan,
]


@pytest.mark.parametrize("way", ["waiting", "answered", "scope"])
@pytest.mark.parametrize("work", WORKS)
async def test_cancelled_wherever_it_waits_it_leaves_nothing(
    server: EtcdServer, client: Client, work: Callable[[Client], Awaitable[None]], way: Way
) -> None:
    await client.put_many({"/from": "v", "/x": "v"})
    baseline = Baseline(client, server)
    await baseline.take()
    for step in range(1, MOST_STEPS):
        if not await within(cancel_at(step, lambda: work(client), way)):
            break
        await baseline.check()
        assert await client.keys(prefix="held") == []
        assert await client.keys(prefix="services/") == []
        assert not await client.exists("/leased")
        assert await client.exists("/from") is not await client.exists("/to")
        await client.put("/from", "v")
        await client.delete("/to")
    else:
        pytest.fail(f"it waited more than {MOST_STEPS} times")
    assert step > 1


@asynccontextmanager
async def released_to(client: Client, lock: Lock) -> AsyncIterator[None]:
    """Hold *lock* in a task until somebody waits for it, and then release it."""
    await lock.acquire()

    async def give_way() -> None:
        async def has_waiter() -> bool:
            return await client.count(prefix="held/") == 2

        with suppress(TimeoutError):
            await until(has_waiter, 0.2)
        await lock.release()

    task = start(give_way())
    try:
        yield
    finally:
        await within(task)


@pytest.mark.parametrize("way", ["waiting", "answered", "scope"])
async def test_a_waiter_cancelled_wherever_it_waits_leaves_nothing(
    server: EtcdServer, client: Client, way: Way
) -> None:
    async with Client(server.endpoint) as other:
        await lock_scope(other)
        baseline = Baseline(client, server)
        await baseline.take()
        for step in range(1, MOST_STEPS):
            async with released_to(other, other.lock("held", ttl=60)):
                was_cancelled = await within(cancel_at(step, lambda: lock_scope(client), way))
            if not was_cancelled:
                break
            await baseline.check()
            assert await client.keys(prefix="held") == []
        else:
            pytest.fail(f"it waited more than {MOST_STEPS} times")
        assert step > 5
