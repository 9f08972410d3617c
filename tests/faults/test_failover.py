"""Three members, of which one dies, falls silent or is cut off, or all do."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from etcd_async import Client, DeadlineExceeded, EtcdError, Lease, TransportOptions, Unavailable
from etcd_async.testing import EtcdCluster, EtcdServer, FaultProxy
from tests.faults.support import Stopwatch, outcome, seen_until, start
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


# One member hangs: what each call takes, counted one by one.

TASKS = 20


@pytest.fixture
async def proxies(cluster: EtcdCluster) -> AsyncIterator[list[FaultProxy]]:
    """A proxy in front of each member."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(FaultProxy(member.endpoint)) for member in cluster]


@dataclass(frozen=True)
class Timed:
    """One call: when it began, counted from the fault, and how long it took."""

    began: float
    took: float


async def reads(client: Client, seconds: float) -> list[Timed]:
    """Read for so long with many tasks, and return how long each call took."""
    watch = Stopwatch()
    calls: list[Timed] = []

    async def read() -> None:
        while (began := watch.seconds) < seconds:
            assert await client.get("/k") is not None
            calls.append(Timed(began, watch.seconds - began))

    await asyncio.gather(*(read() for _ in range(TASKS)))
    return calls


def check_reads(calls: list[Timed]) -> None:
    """No call takes longer than 1.5 s and its normal time; after the first second under 2 % are slowed at all."""
    normal = sorted(call.took for call in calls)[len(calls) // 2]
    assert max(call.took for call in calls) < 1.5 + normal
    later = [call for call in calls if call.began > 1.0]
    slowed = [call for call in later if call.took > 0.25 + 5 * normal]
    assert len(later) > 100
    assert len(slowed) < 0.02 * len(later)


async def is_back(client: Client, seconds: float = 15.0) -> None:
    """Wait until the client finds all its endpoints healthy."""
    async with asyncio.timeout(seconds):
        async for state in client.state_changes():
            if all(endpoint.is_healthy for endpoint in state.endpoints):
                return


@pytest.mark.parametrize("is_connected", [True, False])
async def test_a_member_that_swallows_everything_slows_few_reads_and_none_for_long(
    proxies: list[FaultProxy], is_connected: bool
) -> None:
    async with Client([proxy.endpoint for proxy in proxies]) as client, Client(proxies[1].endpoint) as other:
        await other.put("/k", "v")
        if is_connected:
            await asyncio.gather(*(client.get("/k") for _ in range(3 * TASKS)))
        proxies[0].blackhole()
        check_reads(await reads(client, 4.0))
        [aside] = [endpoint for endpoint in client.state.endpoints if not endpoint.is_healthy]
        assert aside.endpoint == proxies[0].endpoint
        assert aside.failing_since is not None
        assert "no answer" in aside.last_error or "no connection" in aside.last_error
        proxies[0].heal()
        await is_back(client)
        calls = await reads(client, 1.5)
        assert max(call.took for call in calls) < 0.5


async def test_a_member_that_is_stopped_slows_few_reads_and_none_for_long(cluster: EtcdCluster) -> None:
    leader = await cluster.leader()
    [stopped, *_] = [member for member in cluster if member is not leader]
    async with Client(cluster.endpoints) as client:
        await client.put("/k", "v")
        await asyncio.gather(*(client.get("/k") for _ in range(3 * TASKS)))
        await stopped.pause()
        try:
            check_reads(await reads(client, 4.0))
        finally:
            await stopped.resume()
        await is_back(client)


async def test_writes_avoid_a_member_that_swallows_everything(proxies: list[FaultProxy]) -> None:
    async with Client([proxy.endpoint for proxy in proxies]) as client:
        await asyncio.gather(*(client.put(f"/k/{number}", "v") for number in range(30)))
        proxies[0].blackhole()
        caught = await asyncio.gather(*(outcome(client.put(f"/k/{number}", "w")) for number in range(30)))
        unsure = [result for result in caught if isinstance(result, EtcdError)]
        assert 0 < len(unsure) < 20  # those that were on their way there
        assert all(error.maybe_applied for error in unsure)
        watch = Stopwatch()
        await asyncio.gather(*(client.put(f"/k/{number}", "x") for number in range(30)))
        assert watch.seconds < 1


async def test_with_all_members_silent_calls_fail_in_time_with_each_cause_and_recover_by_themselves(
    proxies: list[FaultProxy],
) -> None:
    async with Client([proxy.endpoint for proxy in proxies], timeout=3) as client:
        await client.put("/k", "v")
        await asyncio.gather(*(client.get("/k") for _ in range(3 * TASKS)))
        for proxy in proxies:
            proxy.blackhole()
        for _ in range(2):  # connections that were there, and then new ones
            watch = Stopwatch()
            failed = await asyncio.gather(*(outcome(client.get("/k")) for _ in range(TASKS)))
            assert watch.seconds < 4
            for error in failed:
                assert isinstance(error, DeadlineExceeded | Unavailable)
                assert {attempt.endpoint for attempt in error.attempts} == {proxy.endpoint for proxy in proxies}
                assert all(attempt.reason for attempt in error.attempts)
        assert not any(endpoint.is_healthy for endpoint in client.state.endpoints)
        for proxy in proxies:
            proxy.heal()
        watch = Stopwatch()
        assert await client.get("/k", timeout=3) is not None
        assert watch.seconds < 3


async def test_members_that_are_all_slow_make_neither_errors_nor_a_storm(proxies: list[FaultProxy]) -> None:
    async with Client([proxy.endpoint for proxy in proxies]) as client:
        await client.put("/k", "v")
        await asyncio.gather(*(client.get("/k") for _ in range(3 * TASKS)))
        for proxy in proxies:
            proxy.delay(1.5, direction="to_client")
        sent = sum(proxy.passed("to_server") for proxy in proxies)
        calls = await reads(client, 4.0)
        assert max(call.took for call in calls) < 2.5
        sent = sum(proxy.passed("to_server") for proxy in proxies) - sent
        assert sent < 3 * 400 * len(calls)  # bytes: at most one request to each
        assert (await client.put("/k", "w")).revision > 0
