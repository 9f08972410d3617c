"""Three members, of which the one that a client is connected to dies or falls silent."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from etcd_async import Client, Lease, TransportOptions, Watch
from etcd_async.testing import EtcdCluster, EtcdServer
from tests.faults.support import outcome, start
from tests.support.live import running, take, until, within

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(120)]

EVENTS = 2000


@pytest.fixture
async def cluster() -> AsyncIterator[EtcdCluster]:
    async with EtcdCluster(size=3, fsync=False) as cluster:
        yield cluster


async def member_of_watches(cluster: EtcdCluster, client: Client) -> EtcdServer:
    """Return the member that the client's watch stream runs on."""
    stream = client._core.watcher._duplex.stream
    assert stream is not None
    [member] = [member for member in cluster if member.endpoint == stream.endpoint.text]
    return member


async def write(client: Client) -> int:
    """Write many events, whatever becomes of some of them, and return the revision of the last one."""
    for number in range(EVENTS):
        await outcome(client.put(f"/event/{number}", "v", timeout=3))
    return (await client.put("/event/last", "v", timeout=30)).revision


async def seen_until(watch: Watch, revision: int) -> list[int]:
    """Return the revisions of all events up to *revision*."""
    seen: list[int] = []
    async for event in watch:
        seen.append(event.revision)
        if event.revision >= revision:
            break
    return seen


async def renewed_after(client: Client, lease: Lease, moment: float) -> None:
    """Wait until *lease* was renewed after *moment*."""

    async def is_renewed() -> bool:
        await client.get("/leased", timeout=20)
        return lease.expires_at > moment + lease.ttl

    await until(is_renewed, 30)


@pytest.mark.parametrize("fault", [EtcdServer.kill, EtcdServer.pause])
async def test_watches_and_leases_move_to_another_member(
    cluster: EtcdCluster, fault: Callable[[EtcdServer], Awaitable[None]]
) -> None:
    options = TransportOptions(ping_interval=5, ping_timeout=1, connect_timeout=2)
    async with (
        Client(cluster.endpoints, transport=options) as client,
        client.watch(prefix="/event/") as watch,
        client.lease(ttl=20) as lease,
    ):
        put = await client.put("/leased", "v", lease=lease)
        member = await member_of_watches(cluster, client)
        others = [each.endpoint for each in cluster if each is not member]
        async with Client(others, transport=options) as other, running(write(other)) as writing:
            seen = [event.revision for event in await take(watch, EVENTS // 10, 30)]
            await fault(member)
            failed_at = time.monotonic()
            last = await within(writing, 60)
            seen += await within(seen_until(watch, last), 30)
            await renewed_after(other, lease, failed_at)
            assert await client.exists("/leased", timeout=20)
            assert not lease.is_lost
            async with other.watch(prefix="/event/", start_revision=put.revision) as history:
                assert seen == await within(seen_until(history, last), 30)
        if member.is_running:
            await member.resume()


async def test_calls_go_on_while_a_member_is_killed_and_comes_back(cluster: EtcdCluster) -> None:
    async with Client(cluster.endpoints, timeout=20) as client:
        await client.put("/k", "0")
        stop = asyncio.Event()

        async def read() -> int:
            number = 0
            while not stop.is_set():
                assert await client.exists("/k")
                number += 1
            return number

        readers = [start(read()) for _ in range(10)]
        for member in cluster:
            await member.kill()
            assert await client.exists("/k")
            await member.start()
        stop.set()
        assert all(await within(asyncio.gather(*readers), 30))


async def test_a_lock_is_held_and_handed_on_while_the_leader_is_killed(cluster: EtcdCluster) -> None:
    async with Client(cluster.endpoints, timeout=20) as client, Client(cluster.endpoints, timeout=20) as other:
        async with client.lock("job", ttl=20) as lock:

            async def enter() -> int:
                async with other.lock("job", ttl=20) as mine:
                    return mine.fencing_token

            waiting = start(enter())

            async def is_waiting() -> bool:
                return await client.count(prefix="job/") == 2

            await until(is_waiting)
            await (await cluster.leader()).kill()
            assert await client.exists(lock.key)
            assert not lock.is_lost
            assert not waiting.done()
            token = lock.fencing_token
        assert await within(waiting, 30) > token
