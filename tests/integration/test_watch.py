"""Watches: every change, in order, each once, none missing."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from etcd_async import Client, ClientClosed, Compacted, Event, RequestTooLarge, put
from etcd_async.testing import EtcdServer, FaultProxy
from etcd_async.types import Batch
from tests.support.live import forever, running, streams_started, take, turns, until, watchers, within
from tests.support.versions import progress_interval

MIB = 1024 * 1024


@pytest.fixture
async def fresh() -> AsyncIterator[EtcdServer]:
    """A server whose counts tell of one test only."""
    async with EtcdServer() as server:
        yield server


def seen(events: list[Event]) -> list[tuple[str, bytes, bytes]]:
    return [(event.type, event.kv.key, event.kv.value) for event in events]


async def write(client: Client, number: int, *, prefix: str = "/w/") -> tuple[int, int]:
    """Write *number* keys, each at a revision of its own, and return the first and the last revision."""
    done = await asyncio.gather(*(client.put(f"{prefix}{each}", str(each), timeout=30) for each in range(number)))
    return min(result.revision for result in done), max(result.revision for result in done)


async def until_events(source: Any, number: int, seconds: float = 10.0) -> list[Batch]:
    """Return the batches of *source* until they hold *number* events."""
    batches: list[Batch] = []
    async with asyncio.timeout(seconds):
        while sum(len(batch.events) for batch in batches) < number:
            batches.append(await anext(source))
    return batches


async def test_a_watch_of_one_key_tells_its_changes_and_nobody_elses(client: Client) -> None:
    async with client.watch("/k") as watch:
        created = await client.put("/k", "1")
        await client.put("/k2", "other")
        changed = await client.put("/k", "2")
        deleted = await client.delete("/k")
        events = await take(watch, 3)
    assert seen(events) == [("put", b"/k", b"1"), ("put", b"/k", b"2"), ("delete", b"/k", b"")]
    assert [event.revision for event in events] == [created.revision, changed.revision, deleted.revision]
    assert [(event.is_create, event.is_modify) for event in events] == [(True, False), (False, True), (False, False)]
    assert [event.kv.version for event in events] == [1, 2, 0]


async def test_a_watch_of_a_prefix_tells_its_subtree(client: Client) -> None:
    async with client.watch(prefix="/demo/dir/") as watch:
        for key in ("/demo/dir/a", "/demo_dir_noise", "/demo/dir/b", "/demo/dir0"):
            await client.put(key, "v")
        await client.delete("/demo/dir/a")
        events = await take(watch, 3)
    assert seen(events) == [
        ("put", b"/demo/dir/a", b"v"),
        ("put", b"/demo/dir/b", b"v"),
        ("delete", b"/demo/dir/a", b""),
    ]


@pytest.mark.parametrize(
    ("target", "inside"),
    [
        ({"start": "b", "end": "d"}, [b"b", b"c"]),
        ({"start": "c", "from_key": True}, [b"c", b"d", b"\xff\xff", b"\xff\xffz"]),
        ({"prefix": b"\xff\xff"}, [b"\xff\xff", b"\xff\xffz"]),
        ({"prefix": b"a\xff"}, [b"a\xff", b"a\xff\xff"]),
        ({"prefix": ""}, [b"a\xff", b"a\xff\xff", b"b", b"c", b"d", b"\xff\xff", b"\xff\xffz"]),
    ],
    ids=["range", "from key", "prefix of 0xff", "prefix with 0xff", "everything"],
)
async def test_a_watch_covers_exactly_its_keys(client: Client, target: dict[str, Any], inside: list[bytes]) -> None:
    async with client.watch(**target) as watch:
        for key in (b"a\xff", b"a\xff\xff", b"b", b"c", b"d", b"\xff\xff", b"\xff\xffz"):
            await client.put(key, "v")
        await client.put(inside[-1], "last")
        events = await take(watch, len(inside) + 1)
    assert [event.kv.key for event in events] == [*inside, inside[-1]]


async def test_a_watch_decodes_json(client: Client) -> None:
    async with client.watch("/cfg/runtime") as watch:
        await client.put("/cfg/runtime", '{"feature": "x", "rate": 3}')
        (event,) = await take(watch, 1)
    assert event.kv.json() == {"feature": "x", "rate": 3}


async def test_a_watch_is_registered_when_its_body_starts(client: Client, etcd_server: EtcdServer) -> None:
    async with Client(etcd_server.endpoint) as other:
        for number in range(50):
            async with client.watch("/k") as watch:
                await watch.started()
                await other.put("/k", str(number))
                (event,) = await take(watch, 1)
            assert event.kv.value == str(number).encode()


async def test_a_watch_from_now_tells_nothing_of_before(client: Client) -> None:
    await client.put("/k", "before")
    async with client.watch("/k") as watch:
        await client.put("/k", "after")
        (event,) = await take(watch, 1)
    assert event.kv.value == b"after"


async def test_a_watch_from_the_past_brings_thousands_of_revisions_in_order(client: Client) -> None:
    first, last = await write(client, 2500)
    async with client.watch(prefix="/w/", start_revision=first) as watch:
        past = await take(watch, 2500, 20)
        now = await client.put("/w/now", "v")
        (event,) = await take(watch, 1)
    assert [each.revision for each in past] == list(range(first, last + 1))
    assert event.revision == now.revision


async def test_a_watch_from_the_future_waits_for_its_revision(client: Client) -> None:
    now = (await client.put("/k", "0")).revision
    async with client.watch("/k", start_revision=now + 3) as watch:
        await within(watch.started())
        for number in range(1, 5):
            await client.put("/k", str(number))
        events = await take(watch, 2)
    assert [(event.revision, event.kv.value) for event in events] == [(now + 3, b"3"), (now + 4, b"4")]


async def test_prev_kv_tells_what_was_before(client: Client) -> None:
    await client.put("/k", "1")
    async with client.watch("/k", prev_kv=True) as watch:
        await client.put("/k", "2")
        await client.delete("/k")
        await client.put("/k", "3")
        events = await take(watch, 3)
    assert [event.prev_kv and event.prev_kv.value for event in events] == [b"1", b"2", None]


async def test_two_watches_of_one_key_each_get_what_they_asked_for(client: Client) -> None:
    await client.put("/k", "1")
    async with client.watch("/k", prev_kv=True) as with_before, client.watch("/k") as without:
        await client.put("/k", "2")
        (full,), (bare,) = await take(with_before, 1), await take(without, 1)
    assert full.prev_kv is not None
    assert full.prev_kv.value == b"1"
    assert bare.prev_kv is None
    assert full.kv == bare.kv


async def test_filters_leave_out_puts_or_deletes(client: Client) -> None:
    async with client.watch("/k", filters=("no_put",)) as deletes, client.watch("/k", filters=("no_delete",)) as puts:
        for value in ("1", "2"):
            await client.put("/k", value)
            await client.delete("/k")
        assert [event.type for event in await take(deletes, 2)] == ["delete", "delete"]
        assert [event.kv.value for event in await take(puts, 2)] == [b"1", b"2"]


async def test_an_expired_lease_is_told_as_a_delete(client: Client) -> None:
    async with client.watch("/k") as watch:
        lease = await client.leases.grant(60)
        await client.put("/k", "v", lease=lease.id)
        await client.leases.revoke(lease.id)
        events = await take(watch, 2)
    assert [event.type for event in events] == ["put", "delete"]
    assert events[0].kv.lease == lease.id


@pytest.mark.parametrize("is_live", [True, False], ids=["live", "from the past"])
async def test_the_events_of_one_revision_come_in_one_batch(client: Client, is_live: bool) -> None:
    start = None if is_live else (await client.put("/other", "v")).revision
    if not is_live:
        await _write_transactions(client)
    async with client.watch(prefix="/t/", start_revision=start) as watch:
        if is_live:
            await _write_transactions(client)
        batches = await until_events(watch.batches(), 200)
    by_revision: dict[int, int] = {}
    for batch in batches:
        for revision in {event.revision for event in batch.events}:
            assert revision not in by_revision
            by_revision[revision] = sum(event.revision == revision for event in batch.events)
        assert batch.revision == batch.events[-1].revision
    assert set(by_revision.values()) == {5}
    assert len(by_revision) == 40


async def _write_transactions(client: Client) -> None:
    for number in range(40):
        await client.txn(then=[put(f"/t/{key}", str(number)) for key in range(5)])


async def test_ten_events_of_one_mebibyte_arrive_whole(client: Client) -> None:
    first = (await client.put("/first", "v")).revision
    values = [bytes([65 + number]) * MIB for number in range(10)]
    for number, value in enumerate(values):
        await client.put(f"/large/{number}", value)
    async with client.watch(prefix="/large/", start_revision=first) as watch:
        events = await take(watch, 10, 20)
    assert [event.kv.value for event in events] == values


async def test_a_revision_larger_than_any_message_is_not_split(client: Client) -> None:
    values = [bytes([65 + number]) * MIB for number in range(10)]
    for number, value in enumerate(values):
        await client.put(f"/large/{number}", value)
    async with client.watch(prefix="/large/", prev_kv=True) as watch:
        deleted = await client.delete(prefix="/large/")
        batch = await within(anext(watch.batches()), 20)
    assert batch.revision == deleted.revision
    assert [event.prev_kv and event.prev_kv.value for event in batch.events] == values


async def test_progress_is_told_on_request_and_never_ahead_of_events(client: Client) -> None:
    async with client.watch(prefix="/w/") as watch:
        batches = watch.batches()
        _, last = await write(client, 20)
        told = 0
        await watch.request_progress()
        while told < 20:
            batch = await within(anext(batches))
            told += len(batch.events)
            assert not batch.is_progress or told == 20 or batch.revision < last
        await watch.request_progress()
        progress = await within(anext(batches))
        while not progress.is_progress:
            progress = await within(anext(batches))
    assert progress.events == ()
    assert progress.revision >= last


async def test_progress_of_an_idle_watch_says_from_where_it_watches(client: Client) -> None:
    now = (await client.put("/k", "v")).revision
    async with client.watch("/idle") as watch:
        await watch.request_progress()
        progress = await within(anext(watch.batches()))
    assert (progress.is_progress, progress.revision) == (True, now)


async def test_progress_comes_by_itself_where_the_server_is_told_to() -> None:
    async with (
        EtcdServer(extra_args=[progress_interval("500ms")]) as server,
        Client(server.endpoint) as client,
        client.watch("/idle", progress=True) as watch,
    ):
        elsewhere = await client.put("/elsewhere", "v")
        batches = watch.batches()
        progress = await within(anext(batches))
        while progress.revision < elsewhere.revision:
            progress = await within(anext(batches))
    assert progress.is_progress
    assert progress.revision == elsewhere.revision


async def test_iterating_over_events_passes_over_progress(client: Client) -> None:
    async with client.watch("/k") as watch:
        await watch.request_progress()
        await within(anext(watch.batches()))
        await watch.request_progress()
        await client.put("/k", "v")
        (event,) = await take(watch, 1)
    assert event.kv.value == b"v"


async def test_a_watch_from_compacted_history_says_from_where_there_is_some(client: Client) -> None:
    first = (await client.put("/k", "1")).revision
    last = (await client.put("/k", "2")).revision
    await client.compact(last)
    with pytest.raises(Compacted) as caught:
        async with client.watch("/k", start_revision=first) as watch:
            await take(watch, 1)
    assert caught.value.compact_revision == last
    async with client.watch("/k", start_revision=caught.value.compact_revision) as watch:
        (event,) = await take(watch, 1)
    assert event.kv.value == b"2"


async def test_compaction_does_not_disturb_a_watch_that_is_up_to_date(client: Client) -> None:
    async with client.watch("/k") as watch:
        for number in range(3):
            await client.compact((await client.put("/k", str(number))).revision)
        events = await take(watch, 3)
    assert [event.kv.value for event in events] == [b"0", b"1", b"2"]


async def test_leaving_a_watch_leaves_none_on_the_server(fresh: EtcdServer) -> None:
    async def are(number: float) -> bool:
        return await watchers(fresh) == number

    async def fail() -> None:
        async with client.watch("/c"):
            await until(lambda: are(3))
            raise LookupError("mine")

    async with Client(fresh.endpoint) as client:
        async with client.watch("/a"), client.watch(prefix="/b/"):
            await until(lambda: are(2))
            with pytest.raises(LookupError, match="mine"):
                await fail()
            await until(lambda: are(2))
        await until(lambda: are(0))


async def cancel_on_the_way(client: Client, turns_of_the_loop: int) -> None:
    """Cancel a watch of ``/a`` so many turns after it was asked for."""

    async def hold() -> None:
        async with client.watch("/a"):
            await forever()

    async with running(hold()):
        await turns(turns_of_the_loop)


async def test_a_watch_cancelled_while_it_is_entered_leaves_none_on_the_server(fresh: EtcdServer) -> None:
    async def is_alone() -> bool:
        return await watchers(fresh) == 1

    async with Client(fresh.endpoint) as client:
        for number in range(40):
            await cancel_on_the_way(client, number)
        async with client.watch("/other"):  # alone, a watch ends with its stream
            for number in range(40):
                await cancel_on_the_way(client, number)
            async with client.watch("/behind"):  # all that was asked for before has been answered
                pass
            await until(is_alone)


async def test_a_watch_cancelled_while_pending_never_hands_its_events_to_the_next(client: Client) -> None:
    async with client.watch("/other"):  # on the stream of which all of them are
        for number in range(100):
            await cancel_on_the_way(client, number % 20)
            async with client.watch("/b") as watch:
                await client.put_many({"/a": str(number), "/b": str(number)})
                (event,) = await take(watch, 1)
            assert (event.kv.key, event.kv.value) == (b"/b", str(number).encode())


@pytest.mark.parametrize("buffer", [1, 2, 10])
async def test_a_slow_consumer_with_a_tiny_buffer_loses_nothing(client: Client, buffer: int) -> None:
    async with client.watch(prefix="/w/", buffer=buffer) as watch, client.watch("/done") as done:
        first, last = await write(client, 300)
        await client.put("/done", "v")
        await take(done, 1)
        assert await client.count(prefix="/w/") == 300
        events = await take(watch, 300, 20)
        assert [event.revision for event in events] == list(range(first, last + 1))
        after = await client.put("/w/after", "v")
        (event,) = await take(watch, 1)
    assert event.revision == after.revision


async def test_a_consumer_as_slow_as_the_writer_misses_nothing(client: Client) -> None:
    async with client.watch(prefix="/w/", buffer=2) as watch:
        for number in range(50):
            await asyncio.gather(*(client.put(f"/w/{each}", str(number)) for each in range(5)))
            await take(watch, 4)
        events = await take(watch, 50)
    revisions = [event.revision for event in events]
    assert revisions == list(range(revisions[0], revisions[0] + 50))


async def test_a_hundred_watches_share_one_stream_of_one_connection(fresh: EtcdServer) -> None:
    async with FaultProxy(fresh.endpoint) as proxy, Client(proxy.endpoint) as client:
        watches = [client.watch(f"/many/{number}") for number in range(100)]
        await asyncio.gather(*(watch.__aenter__() for watch in watches))
        await write(client, 100, prefix="/many/")
        for number, watch in enumerate(watches):
            (event,) = await take(watch, 1)
            assert event.kv.key == f"/many/{number}".encode()
        assert proxy.accepted == 1
        for watch in watches:
            await watch.__aexit__(None, None, None)
    assert await streams_started(fresh, "Watch", "Watch") == 1


async def test_an_iteration_ends_when_the_body_is_left(client: Client) -> None:
    async def consume() -> None:
        async for event in watch:
            consumed.put_nowait(event)

    consumed: asyncio.Queue[Event] = asyncio.Queue()
    async with client.watch("/k") as watch:
        task = asyncio.create_task(consume())
        await client.put("/k", "v")
        assert (await within(consumed.get())).kv.value == b"v"
    await within(task)


async def test_a_watch_is_entered_once(client: Client) -> None:
    watch = client.watch("/k")
    with pytest.raises(RuntimeError, match="enter"):
        await watch.request_progress()
    async with watch:
        with pytest.raises(RuntimeError, match="once"):
            await watch.__aenter__()


async def test_closing_the_client_ends_its_watches(etcd_server: EtcdServer) -> None:
    async with (
        Client(etcd_server.endpoint) as client,
        client.watch("/k") as watch,
        running(take(watch, 1)) as waiting,
    ):
        await client.aclose()
        with pytest.raises(ClientClosed):
            await within(waiting)


async def test_a_watch_is_cancelled_while_it_waits(client: Client) -> None:
    async with client.watch("/k") as watch:
        with pytest.raises(TimeoutError):
            await within(anext(aiter(watch)), 0.05)
        await client.put("/k", "v")
        (event,) = await take(watch, 1)
    assert event.kv.value == b"v"


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"key": b"k" * 3_000_000, "start_revision": 1}, RequestTooLarge),
        ({"key": "k", "start_revision": 2**70}, ValueError),
        ({"key": "k", "prev_kv": "yes"}, TypeError),
    ],
    ids=["too large", "out of range", "of a wrong type"],
)
async def test_a_watch_that_can_not_be_asked_for_leaves_the_others_alone(
    client: Client, wrong: dict[str, Any], error: type[Exception]
) -> None:
    async with client.watch("/other") as other:
        with pytest.raises(error):
            client.watch(**wrong)
        await client.put("/other", "1")
        assert [event.kv.value for event in await take(other, 1)] == [b"1"]
