"""Long histories through cut connections, a killed server, and to a consumer who sleeps."""

import asyncio
import statistics
import time
import tracemalloc

import pytest

from etcd_async import Client, Event, Watch, put
from etcd_async.testing import EtcdServer, FaultProxy
from tests.faults.support import KIB, MIB, in_turn, start
from tests.support.live import running, within

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(300)]

REVISIONS = 20_000
PILE = 100_000
PUTS_PER_TXN = 20


async def write_history(client: Client) -> list[tuple[int, bytes]]:
    """Write 20,000 revisions, every hundredth with three keys; return revision and key of each event, in order."""

    async def write(number: int) -> list[tuple[int, bytes]]:
        keys = [f"/history/{number}/{part}".encode() for part in range(3 if number % 100 == 0 else 1)]
        result = await client.txn(then=[put(key, b"x" * 100) for key in keys], timeout=30)
        return [(result.revision, key) for key in keys]

    written = await in_turn(write, range(REVISIONS), workers=128)
    return sorted((event for events in written for event in events), key=lambda event: event[0])


async def read(watch: Watch, number: int) -> list[tuple[int, bytes]]:
    """Read *number* events, and check that no revision is split between batches."""
    seen: list[tuple[int, bytes]] = []
    async for batch in watch.batches():
        assert not (batch.events and seen) or batch.events[0].revision > seen[-1][0]
        seen += [(event.revision, event.kv.key) for event in batch.events]
        if len(seen) >= number:
            break
    return seen


async def cut_thrice_then_kill(proxy: FaultProxy, server: EtcdServer) -> None:
    """Cut the connection three times in the midst of the replay, and kill the server in the midst of the fourth."""
    for _ in range(3):
        accepted = proxy.accepted
        proxy.cut_after(400 * KIB, "to_client")
        await proxy.until(lambda proxy, before=accepted: proxy.accepted > before)  # type: ignore[misc]
    proxy.throttle(4 * MIB, "to_client")
    passed = proxy.passed("to_client")
    await proxy.until(lambda proxy: proxy.passed("to_client") > passed + 400 * KIB)
    await server.kill()
    proxy.heal()
    await server.start()


async def test_a_replay_of_20_000_revisions_survives_three_cuts_and_a_killed_server(
    server: EtcdServer, proxy: FaultProxy, client: Client, distant: Client
) -> None:
    expected = await write_history(client)
    await distant.get("/warm")
    faults = start(cut_thrice_then_kill(proxy, server))
    async with distant.watch(prefix="/history/", start_revision=1) as watch:
        seen = await within(read(watch, len(expected)), 60)
        await within(faults)  # also when the server is back, a look at its health may take a second
        last = await distant.put("/history/last", "")
        seen += await within(read(watch, 1))
    assert proxy.accepted >= 5
    assert seen == [*expected, (last.revision, b"/history/last")]


async def pile_up(writer: Client) -> None:
    """Write 100,000 keys of 1 KiB."""

    async def write(first: int) -> None:
        keys = [f"/pile/{number:06}" for number in range(first, first + PUTS_PER_TXN)]
        await writer.txn(then=[put(key, b"x" * KIB) for key in keys], timeout=30)

    await in_turn(write, range(0, PILE, PUTS_PER_TXN), workers=16)


async def gets(*clients: Client, while_running: asyncio.Task[None] | None = None) -> list[float]:
    """Return the median of each client's time for a get: of a hundred in turn, and for as long as something goes on."""
    times: list[list[float]] = [[] for _ in clients]
    while len(times[0]) < 100 or (while_running is not None and not while_running.done()):
        for client, own in zip(clients, times, strict=True):
            begin = time.perf_counter()
            await client.get("/other", timeout=30)
            own.append(time.perf_counter() - begin)
    return [statistics.median(own) for own in times]


async def test_a_sleeping_consumer_costs_bounded_memory_and_slows_no_get(server: EtcdServer, client: Client) -> None:
    awake = asyncio.Event()

    async def consume(watch: Watch) -> list[Event]:
        await awake.wait()
        events: list[Event] = []
        while len(events) < PILE:
            batch = await watch.next_batch()
            # Without the values, which the test would otherwise hold in memory itself.
            events += [
                Event(each.type, type(each.kv)(each.kv.key, mod_revision=each.revision)) for each in batch.events
            ]
            assert all(len(each.kv.value) == KIB for each in batch.events)
        return events

    async with (
        Client(server.endpoint) as writer,
        Client(server.endpoint) as bystander,
        client.watch(prefix="/pile/") as watch,
        running(consume(watch)) as consumer,
    ):
        await gets(client, bystander)
        tracemalloc.start()
        try:
            writing = start(pile_up(writer))
            during, normal_then = await gets(client, bystander, while_running=writing)
            await within(writing, 1)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        after, normal = await gets(client, bystander)
        awake.set()
        events = await within(consumer, 120)
    assert peak < 64 * MIB
    # The writer keeps the same etcd and the same loop busy, for both alike; a get behind the pile would take seconds.
    assert during < 3 * normal_then + 0.02
    assert after < 3 * normal + 0.02
    assert sorted(event.kv.key for event in events) == [f"/pile/{number:06}".encode() for number in range(PILE)]
    assert [event.revision for event in events] == sorted(event.revision for event in events)
