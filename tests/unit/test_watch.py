"""The consumer's side of a watch: its buffer, its ends, and what it asks of the watcher."""

import asyncio
from typing import Any

import pytest

from etcd_async._keyspace import Keyspace
from etcd_async._protocol import watch_outputs as machine
from etcd_async.errors import Compacted, DeadlineExceeded, PermissionDenied, RequestTooLarge, StatusCode
from etcd_async.options import WATCH_BUFFER_BYTES
from etcd_async.types import Batch, Event, KeyValue
from etcd_async.watch import Watch, check_filters, check_request
from etcd_async.wire import WatchCreateRequest, WatchCreateRequestFilterType

NOW = 10


class Hub:
    """Stands where the watcher stands; the test is the server."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.requests: list[WatchCreateRequest] = []
        self.answers: list[Any] = []

    def add(self, watch: Watch, request: WatchCreateRequest) -> int:
        self.requests.append(request)
        handle = len(self.requests)
        answer = self.answers.pop(0) if self.answers else machine.Created(handle, NOW)
        if answer is not None:
            asyncio.get_running_loop().call_soon(watch.receive, answer)
        return handle

    def __getattr__(self, name: str) -> Any:
        return lambda handle: self.asked.append((name, handle))


async def now() -> int:
    return NOW


def watch_of(hub: Hub, *, start_revision: int = 0, buffer: int = 4, prefix: bytes = b"", timeout: float = 5.0) -> Watch:
    request = WatchCreateRequest(key=b"k", start_revision=start_revision)
    made: Any = hub
    return Watch(made, request, space=Keyspace(prefix), now=now, buffer=buffer, timeout=timeout)


def events(*revisions: int, key: bytes = b"k", value: bytes = b"v") -> machine.Batch:
    made = tuple(Event("put", KeyValue(key, value, 1, revision, revision)) for revision in revisions)
    return machine.Batch(1, revisions[-1], made)


async def test_from_now_is_pinned_by_a_read() -> None:
    hub = Hub()
    async with watch_of(hub):
        assert [request.start_revision for request in hub.requests] == [NOW + 1]
    assert hub.asked == [("cancel", 1)]


async def test_a_start_revision_is_taken_as_it_is() -> None:
    hub = Hub()
    async with watch_of(hub, start_revision=3):
        assert [request.start_revision for request in hub.requests] == [3]


async def test_a_start_now_that_was_compacted_at_once_is_pinned_again() -> None:
    hub = Hub()
    hub.answers = [machine.Failed(1, Compacted.at(NOW + 5))]
    async with watch_of(hub) as watch:
        assert len(hub.requests) == 2
        await watch.started()


async def test_a_start_in_the_past_that_was_compacted_is_an_error() -> None:
    hub = Hub()
    hub.answers = [machine.Failed(1, Compacted.at(7))]
    with pytest.raises(Compacted):
        await watch_of(hub, start_revision=3).__aenter__()


async def test_a_refusal_is_raised_on_entering() -> None:
    hub = Hub()
    hub.answers = [machine.Failed(1, PermissionDenied(StatusCode.PERMISSION_DENIED, "etcdserver: permission denied"))]
    with pytest.raises(PermissionDenied):
        await watch_of(hub).__aenter__()


async def test_a_watch_that_is_not_registered_in_time_is_given_up() -> None:
    hub = Hub()
    hub.answers = [None]
    with pytest.raises(DeadlineExceeded, match=r"not registered within 0\.01 s"):
        await watch_of(hub, timeout=0.01).__aenter__()
    assert hub.asked == [("cancel", 1)]


async def test_events_come_one_by_one_and_progress_only_as_batches() -> None:
    async with watch_of(Hub()) as watch:
        for output in (events(11, 12), machine.Progress(1, 15), events(16)):
            watch.receive(output)
        assert [(await anext(watch)).revision for _ in range(3)] == [11, 12, 16]
        for output in (machine.Progress(1, 17), machine.Progress(1, 18), events(19)):
            watch.receive(output)
        batches = aiter(watch.batches())
        assert await anext(batches) == Batch(18)
        assert (await anext(batches)).revision == 19


async def test_the_namespace_comes_off() -> None:
    async with watch_of(Hub(), prefix=b"/app/") as watch:
        watch.receive(events(11, key=b"/app/k"))
        assert (await anext(watch)).kv.key == b"k"


async def test_a_full_buffer_stops_the_watch_until_half_of_it_is_read() -> None:
    hub = Hub()
    async with watch_of(hub, buffer=4) as watch:
        for revision in (11, 12, 13):
            watch.receive(events(revision))
        assert hub.asked == []
        watch.receive(events(14))
        assert hub.asked == [("pause", 1)]
        await watch.next_batch()
        assert hub.asked == [("pause", 1)]
        await watch.next_batch()
        assert hub.asked == [("pause", 1), ("resume", 1)]


async def test_few_large_events_fill_the_buffer_too() -> None:
    hub = Hub()
    async with watch_of(hub, buffer=1000) as watch:
        for revision in (11, 12):
            watch.receive(events(revision, value=b"x" * (WATCH_BUFFER_BYTES // 2)))
        assert hub.asked == [("pause", 1)]
        for _ in range(2):
            assert hub.asked == [("pause", 1)]
            await watch.next_batch()
        assert hub.asked == [("pause", 1), ("resume", 1)]


async def test_what_was_there_before_a_change_fills_the_buffer_too() -> None:
    hub = Hub()
    before = KeyValue(b"k", b"x" * WATCH_BUFFER_BYTES)
    deleted = Event("delete", KeyValue(b"k", b"", 0, 11), before)
    async with watch_of(hub, buffer=1000) as watch:
        watch.receive(machine.Batch(1, 11, (deleted,)))
        watch.receive(events(12))
        assert hub.asked == [("pause", 1)]


@pytest.mark.parametrize(("buffer", "size"), [(1000, WATCH_BUFFER_BYTES), (1, 1)])
async def test_a_lone_batch_does_not_stop_the_watch_but_a_second_one_does(buffer: int, size: int) -> None:
    hub = Hub()
    async with watch_of(hub, buffer=buffer) as watch:
        for revision in (11, 12, 13):
            watch.receive(events(revision, value=b"x" * size))
            await watch.next_batch()
        assert hub.asked == []
        watch.receive(events(14, value=b"x" * size))
        watch.receive(events(15))
        assert hub.asked == [("pause", 1)]


async def test_what_came_before_an_error_is_delivered_before_it() -> None:
    async with watch_of(Hub()) as watch:
        watch.receive(events(11))
        watch.receive(machine.Failed(1, Compacted.at(20)))
        assert (await anext(watch)).revision == 11
        for _ in range(2):
            with pytest.raises(Compacted) as caught:
                await anext(watch)
            assert caught.value.compact_revision == 20
        with pytest.raises(Compacted):
            await watch.started()


async def test_several_tasks_may_share_a_watch() -> None:
    async with watch_of(Hub()) as watch:
        readers = [asyncio.create_task(watch.next_batch()) for _ in range(2)]
        await asyncio.sleep(0)
        watch.receive(events(11))
        watch.receive(events(12))
        assert sorted([(await reader).revision for reader in readers]) == [11, 12]


async def test_leaving_the_body_ends_the_iteration_of_others() -> None:
    watch = watch_of(Hub())
    async with watch:
        reader = asyncio.create_task(anext(watch, None))
        await asyncio.sleep(0)
    assert await reader is None


async def test_a_watch_is_entered_once_and_used_inside() -> None:
    watch = watch_of(Hub())
    with pytest.raises(RuntimeError, match="enter the watch first"):
        await watch.request_progress()
    async with watch:
        await watch.request_progress()
        with pytest.raises(RuntimeError, match="can be entered once"):
            await watch.__aenter__()
    with pytest.raises(RuntimeError, match="can be entered once"):
        await watch.__aenter__()
    with pytest.raises(RuntimeError, match="was left"):
        await watch.request_progress()


async def test_a_watch_that_was_not_entered_neither_ends_at_once_nor_waits_for_ever() -> None:
    watch = watch_of(Hub())
    with pytest.raises(RuntimeError, match="enter the watch first"):
        await anext(watch)
    with pytest.raises(RuntimeError, match="enter the watch first"):
        await anext(watch.batches())
    with pytest.raises(RuntimeError, match="enter the watch first"):
        await watch.started()


async def test_what_a_stopped_watch_holds_can_be_taken_after_the_body_was_left() -> None:
    hub = Hub()
    async with watch_of(hub, buffer=2) as watch:
        watch.receive(events(11))
        watch.receive(events(12))
    assert [event.revision async for event in watch] == [11, 12]
    assert hub.asked == [("pause", 1), ("cancel", 1)]


def test_a_request_that_can_not_be_sent_is_refused_before_it_meets_others() -> None:
    wrong: Any = "yes"
    with pytest.raises(TypeError, match="progress_notify"):
        check_request(WatchCreateRequest(key=b"k", progress_notify=wrong), 1000)
    with pytest.raises(ValueError, match="start_revision"):
        check_request(WatchCreateRequest(key=b"k", start_revision=2**63), 1000)
    with pytest.raises(RequestTooLarge):
        check_request(WatchCreateRequest(key=b"k" * 980), 1000)
    check_request(WatchCreateRequest(key=b"k" * 900), 1000)


def test_filters_are_named_as_etcd_names_them() -> None:
    assert check_filters(["no_put", "no_delete"]) == [
        WatchCreateRequestFilterType.NOPUT,
        WatchCreateRequestFilterType.NODELETE,
    ]
    for wrong in ("no_put", ["nothing"]):
        with pytest.raises(ValueError, match="filters must be a sequence of 'no_put', 'no_delete'"):
            check_filters(wrong)
    nothing: Any = None
    with pytest.raises(TypeError, match="filters must be a sequence"):
        check_filters(nothing)
