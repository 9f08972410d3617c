"""Members that fall silent without a word: their leases live on, their watches move, and within which time."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import cycle
from typing import Any

import pytest

from etcd_async import Client, Lease, TransportOptions
from etcd_async._protocol.pulse import IDLE_INTERVAL, PATIENCE
from etcd_async._transport.callstream import CallStream
from etcd_async._transport.duplex import SECOND_LOOK, Duplex
from etcd_async._transport.timers import HURRY
from etcd_async.options import DEFAULT_TIMEOUT
from etcd_async.testing import EtcdServer, FaultProxy, Ports
from tests.faults.support import Stopwatch, cancelled, outcome, seen_until, start, written
from tests.robustness.cluster import Cluster, Member
from tests.support.live import running, take, until, within

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(120)]

TTLS = (3, 5, 10)
TTLS_OVER_ELECTIONS = (8, 10)  # an election takes up to 2 s, and is held again if two members ask for votes at once
LEASES = 50
LONGER_THAN_ANY_TERM = 11.0
BETWEEN_LOOKS = 0.5
SLACK = 5.0  # for a busy machine
WATCHES_MOVE_WITHIN = IDLE_INTERVAL + PATIENCE + SECOND_LOOK + SLACK


async def stop(cluster: Cluster, member: int) -> None:
    await cluster.servers[member].pause()


async def kill(cluster: Cluster, member: int) -> None:
    await cluster.servers[member].kill()


async def swallow(cluster: Cluster, member: int) -> None:
    """Cut the clients off, without a word to them; the member itself goes on."""
    cluster.proxies[member].blackhole()


async def part(cluster: Cluster, member: int) -> None:
    """Cut the member off from the others; its clients still reach it."""
    cluster.partition([member])


Fault = Callable[[Cluster, int], Awaitable[None]]
FAULTS = pytest.mark.parametrize("fault", [stop, kill, swallow, part], ids=lambda fault: fault.__name__)


class Direct(Cluster):
    """Members that reach one another without proxies, which would slow the election of a leader on a busy machine."""

    async def _build(self, stack: AsyncExitStack) -> None:
        ports = Ports.pick_many(3)
        initial = ",".join(f"m{member}=http://127.0.0.1:{each.peer}" for member, each in enumerate(ports))
        for member, each in enumerate(ports):
            server = Member(name=f"m{member}", ports=each, initial_cluster=initial)
            stack.push_async_exit(server.__aexit__)
            self.servers.append(server)
            self.proxies.append(await stack.enter_async_context(FaultProxy(server.endpoint)))


@pytest.fixture
def fault() -> Fault:
    """What happens to the member; tests have it by parameter."""
    return swallow


@pytest.fixture
async def cluster(fault: Fault) -> AsyncIterator[Cluster]:
    # Half a second without a word is nothing to a machine so busy, where all words between members pass this process.
    async with Cluster(elections=()) if fault is part else Direct() as cluster:
        yield cluster


async def member_of(cluster: Cluster, client: Client, duplex: Duplex[Any, Any, Any]) -> int:
    """Return the member that a stream runs on, once there is one."""

    async def is_open() -> bool:
        await client.get("/k", timeout=20)
        return duplex.stream is not None

    await until(is_open)
    assert duplex.stream is not None
    return cluster.endpoints.index(duplex.stream.endpoint.text)


async def lead(cluster: Cluster, member: int) -> None:
    """Make *member* the leader."""

    async def leads() -> bool:
        await cluster.move_leader(member)
        return await cluster.leader() == member

    await until(leads, 30)


async def dead(leases: list[Lease], other: Client) -> list[tuple[float, object]]:
    """Ask the server about each lease, and return the terms of those that are gone, here or there, and why."""
    found = await asyncio.gather(*(other.leases.time_to_live(lease, timeout=20) for lease in leases))
    lost = [(lease.ttl, lease.loss.reason or "its term is over") for lease in leases if lease.is_lost]
    return lost + [(lease.ttl, each) for lease, each in zip(leases, found, strict=True) if each.ttl < 0]


@FAULTS
@pytest.mark.parametrize("of_leader", [True, False], ids=["leader", "follower"])
async def test_no_lease_expires_while_a_majority_is_up(cluster: Cluster, fault: Fault, of_leader: bool) -> None:
    async with Client(cluster.endpoints) as client, AsyncExitStack() as stack:
        ttls = cycle(TTLS_OVER_ELECTIONS if of_leader else TTLS)
        leases = [client.lease(next(ttls), on_loss="signal") for _ in range(LEASES)]
        await asyncio.gather(*(stack.enter_async_context(lease) for lease in leases))
        member = await member_of(cluster, client, client._core.keeper._duplex)
        await lead(cluster, member if of_leader else (member + 1) % 3)
        others = [endpoint for index, endpoint in enumerate(cluster.direct) if index != member]
        async with Client(others) as other:
            await fault(cluster, member)
            watch = Stopwatch()
            losses = [start(lease.lost()) for lease in leases]
            while watch.seconds < LONGER_THAN_ANY_TERM:
                await asyncio.wait(losses, timeout=BETWEEN_LOOKS, return_when=asyncio.FIRST_COMPLETED)
                assert await dead(leases, other) == []
            await asyncio.gather(*map(cancelled, losses))
        assert await member_of(cluster, client, client._core.keeper._duplex) != member or fault is part
        await cluster.heal()


async def write_on(client: Client, stopped: asyncio.Event) -> int:
    """Write events until told to stop, and return the revision of the last one."""
    number = 0
    while not stopped.is_set():
        await outcome(client.put(f"/event/{number}", "v", timeout=3))
        number += 1
    return await written(client, "/event/last")


@FAULTS
async def test_watches_move_to_a_healthy_member_in_time_and_lose_no_event(cluster: Cluster, fault: Fault) -> None:
    async with Client(cluster.endpoints) as client:
        async with client.watch(prefix="/event/") as watch, client.watch("/idle") as idle:
            member = await member_of(cluster, client, client._core.watcher._duplex)
            others = [endpoint for index, endpoint in enumerate(cluster.direct) if index != member]
            stopped = asyncio.Event()
            async with Client(others) as other, running(write_on(other, stopped)) as writing:
                seen = [event.revision for event in await take(watch, 20)]
                await fault(cluster, member)
                since = Stopwatch()
                mark = await written(other, "/idle")
                [event] = await take(idle, 1, WATCHES_MOVE_WITHIN)
                assert since.seconds < WATCHES_MOVE_WITHIN
                assert event.revision <= mark
                stopped.set()
                last = await within(writing, 40)
                seen += await within(seen_until(watch, last), 20)
                async with other.watch(prefix="/event/", start_revision=1) as history:
                    assert seen == await within(seen_until(history, last), 20)
        await cluster.heal()


async def test_a_new_watch_does_not_wait_for_a_member_that_is_silent(cluster: Cluster) -> None:
    async with Client(cluster.endpoints) as client, client.watch("/other"):
        member = await member_of(cluster, client, client._core.watcher._duplex)
        await swallow(cluster, member)
        async with client.watch("/k", start_revision=1, timeout=5) as watch:
            others = [endpoint for index, endpoint in enumerate(cluster.direct) if index != member]
            async with Client(others) as other:
                await written(other, "/k")
                assert [event.kv.value for event in await take(watch, 1)] == [b"v"]


async def test_a_read_on_a_dead_connection_is_repeated_within_the_default_timeout(
    server: EtcdServer, proxy: FaultProxy, client: Client
) -> None:
    assert HURRY + TransportOptions().ping_timeout < DEFAULT_TIMEOUT
    await client.put("/k", "v")
    async with Client(proxy.endpoint) as distant:
        await distant.get("/k")
        proxy.blackhole()
        accepted = proxy.accepted
        reading = start(distant.get("/k", timeout=30))
        # Only this soon if the call itself has made the client ask: else its connection is asked after ten seconds.
        await within(proxy.until(lambda proxy: proxy.accepted > accepted), TransportOptions().ping_interval)
        proxy.heal()
        found = await reading
        assert found is not None
        assert found.value == b"v"


async def test_a_lone_member_that_stops_is_asked_again_without_a_storm_and_keeps_its_leases(
    server: EtcdServer, client: Client
) -> None:
    async with client.lease(8) as lease:
        await member_known(client)
        await server.pause()
        begin = time.monotonic()
        opened: list[float] = []
        again = asyncio.Event()

        def note(stream: CallStream) -> None:
            opened.append(time.monotonic() - begin)
            again.set()

        client._core.keeper._duplex._on_open = note
        await within(again.wait(), 20)
        await server.resume()
        before = lease.expires_at

        async def is_renewed() -> bool:
            await client.get("/k")
            return lease.expires_at > before

        await until(is_renewed)
        assert len(opened) <= 4
        assert not lease.is_lost


async def member_known(client: Client) -> None:
    """Wait until the keep-alive stream is open."""

    async def is_open() -> bool:
        await client.get("/k")
        return client._core.keeper._duplex.stream is not None

    await until(is_open)


async def test_pings_are_on_by_default_and_find_a_dead_connection(server: EtcdServer, proxy: FaultProxy) -> None:
    made = TransportOptions()
    async with Client(proxy.endpoint) as distant, distant.watch("/k"):
        connection = distant._core.watcher._duplex.stream
        assert connection is not None
        dead = connection.connection
        proxy.blackhole()
        await within(dead.closed, made.ping_interval + made.ping_timeout + SLACK)
        assert "no sign of life" in (dead.reason or "")
        proxy.heal()
