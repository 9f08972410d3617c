"""Whatever is cancelled wherever it waits leaves no key, no lease, no watch, no call and no task behind."""

from collections.abc import Awaitable, Callable

import pytest

from etcd_async import Client, Service
from etcd_async.testing import EtcdServer
from tests.faults.steps import Way, each_cancellation, freed, in_every_way
from tests.faults.support import Baseline

pytestmark = pytest.mark.faults


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


@in_every_way
@pytest.mark.parametrize("work", WORKS)
async def test_cancelled_wherever_it_waits_it_leaves_nothing(
    server: EtcdServer, client: Client, work: Callable[[Client], Awaitable[None]], way: Way
) -> None:
    await client.put_many({"/from": "v", "/x": "v"})
    async for _ in each_cancellation(lambda: work(client), way, Baseline(client, server)):
        assert await client.keys(prefix="held") == []
        assert await client.keys(prefix="services/") == []
        assert not await client.exists("/leased")
        assert await client.exists("/from") is not await client.exists("/to")
        await client.put("/from", "v")
        await client.delete("/to")


async def take_lock(client: Client) -> Callable[[], Awaitable[None]]:
    lock = client.lock("held", ttl=60)
    await lock.acquire()
    return lock.release


@in_every_way
async def test_a_waiter_cancelled_wherever_it_waits_leaves_nothing(
    server: EtcdServer, client: Client, way: Way
) -> None:
    async with Client(server.endpoint) as other:
        await lock_scope(other)
        cancellations = each_cancellation(
            lambda: lock_scope(client),
            way,
            Baseline(client, server),
            scene=lambda: freed(server, other, take_lock),
            more_than=5,
        )
        async for _ in cancellations:
            assert await client.keys(prefix="held") == []
