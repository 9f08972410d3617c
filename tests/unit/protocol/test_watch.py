"""What the watch machine says and how it reads each answer, one rule at a time."""

import pytest

from etcd_async._codec.responses import WatchResponse
from etcd_async._pb.etcdserverpb import WatchCreateRequest, WatchCreateRequestFilterType, WatchRequest
from etcd_async._protocol.machine import AT_ONCE, NEVER, NO_SIGNS, Reopen, Signs
from etcd_async._protocol.pulse import IDLE_INTERVAL, LOOK_INTERVAL, MAX_PATIENCE, PATIENCE, PROGRESS_INTERVAL
from etcd_async._protocol.watch import MAX_ANSWER, Watches
from etcd_async._protocol.watch_outputs import Batch, Created, Failed, Output, Progress
from etcd_async._protocol.watch_state import MAX_REFUSALS
from etcd_async.errors import (
    Compacted,
    InvalidAuthToken,
    NoLeader,
    PermissionDenied,
    ProtocolError,
    RpcError,
    StatusCode,
    WatchCanceled,
)
from etcd_async.types import Event, KeyValue

DENIED = "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
STALE = "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"
LEADERLESS = "rpc error: code = Unavailable desc = etcdserver: no leader"


def event(revision: int, key: bytes = b"k") -> Event:
    return Event("put", KeyValue(key, mod_revision=revision))


def answer(machine: Watches, wire_id: int, revision: int = 100, now: float = 0.0, **fields: object) -> list[object]:
    response = WatchResponse(revision=revision, watch_id=wire_id, **fields)  # type: ignore[arg-type]
    return list(machine.receive(response, now))


def deliver(machine: Watches, wire_id: int, *revisions: int, fragment: bool = False) -> list[tuple[int, list[int]]]:
    """Answer with events of these revisions; return the handles and revisions that come out."""
    events = tuple(event(revision) for revision in revisions)
    outputs = answer(machine, wire_id, events=events, fragment=fragment)
    assert all(isinstance(output, Batch) for output in outputs)
    batches = [output for output in outputs if isinstance(output, Batch)]
    assert all(batch.revision == batch.events[-1].revision for batch in batches)
    return [(batch.handle, [each.revision for each in batch.events]) for batch in batches]


def refuse(machine: Watches, reason: str) -> list[object]:
    return answer(machine, -1, created=True, canceled=True, cancel_reason=reason)


def add(machine: Watches, key: bytes = b"k", start_revision: int = 11) -> int:
    return machine.add(WatchCreateRequest(key=key, start_revision=start_revision))


def creations(requests: list[WatchRequest]) -> list[WatchCreateRequest]:
    return [request.create_request for request in requests if request.create_request]


def cancellations(requests: list[WatchRequest]) -> list[int]:
    return [request.cancel_request.watch_id for request in requests if request.cancel_request]


def created(machine: Watches) -> list[int]:
    """Send what is pending, confirm each creation, and return the ids on the wire."""
    wire_ids = [creation.watch_id for creation in creations(machine.to_send(0.0))]
    for wire_id in wire_ids:
        answer(machine, wire_id, 20, created=True)
    return wire_ids


def opened() -> Watches:
    machine = Watches()
    machine.stream_opened(0.0)
    return machine


def active(start_revision: int = 11) -> tuple[Watches, int, int]:
    """Return a machine with one created watch, its handle, and its id on the wire."""
    machine = opened()
    handle = add(machine, start_revision=start_revision)
    [wire_id] = created(machine)
    return machine, handle, wire_id


def reopened(machine: Watches) -> list[WatchCreateRequest]:
    machine.stream_lost(0.0)
    machine.stream_opened(0.0)
    return creations(machine.to_send(0.0))


def test_a_creation_says_all_that_was_asked_for_under_an_id_of_ours() -> None:
    machine = opened()
    no_put = WatchCreateRequestFilterType.NOPUT
    asked = WatchCreateRequest(
        key=b"a", range_end=b"b", start_revision=7, prev_kv=True, progress_notify=True, filters=[no_put]
    )
    machine.add(asked)
    [creation] = creations(machine.to_send(0.0))
    assert creation == WatchCreateRequest(
        key=b"a",
        range_end=b"b",
        start_revision=7,
        prev_kv=True,
        progress_notify=True,
        filters=[no_put],
        watch_id=1,
    )
    assert (asked.watch_id, asked.fragment) == (0, False)


def test_a_user_is_denied_a_watch_only_after_a_new_login() -> None:
    machine = Watches(has_user=True)
    handle = add(machine)
    machine.stream_opened(0.0)
    machine.to_send(0.0)
    [reopen] = refuse(machine, DENIED)
    assert isinstance(reopen, Reopen)
    assert isinstance(reopen.error, InvalidAuthToken)
    machine.stream_opened(0.0)
    machine.to_send(0.0)
    [failed] = refuse(machine, DENIED)
    assert isinstance(failed, Failed)
    assert (failed.handle, type(failed.error)) == (handle, PermissionDenied)


def test_fragments_are_asked_for_once_an_answer_was_too_large() -> None:
    machine, _, wire_id = active()
    limits = [machine.max_answer]
    deliver(machine, wire_id, 12)
    assert machine.ask_for_less()
    machine.stream_lost(0.0)
    machine.stream_opened(0.0)
    [creation] = creations(machine.to_send(0.0))
    assert (creation.fragment, creation.start_revision) == (True, 13)
    assert [*limits, machine.max_answer] == [MAX_ANSWER, None]
    assert not machine.ask_for_less()


@pytest.mark.parametrize("revision", [0, -1])
def test_the_start_must_be_pinned(revision: int) -> None:
    with pytest.raises(ValueError, match="start_revision"):
        add(Watches(), start_revision=revision)


def test_all_watches_are_created_at_once_and_in_order() -> None:
    machine = opened()
    handles = [add(machine, key) for key in (b"a", b"b", b"c")]
    assert machine.next_wakeup() == AT_ONCE
    sent = creations(machine.to_send(0.0))
    assert [creation.key for creation in sent] == [b"a", b"b", b"c"]
    assert machine.next_wakeup() == PATIENCE / 2
    outputs = [answer(machine, creation.watch_id, 40, created=True) for creation in sent]
    assert outputs == [[Created(handle, 40)] for handle in handles]


def test_nothing_is_said_without_a_stream() -> None:
    machine = Watches()
    add(machine)
    assert machine.wants_stream
    assert machine.next_wakeup() is None
    assert machine.to_send(0.0) == []
    machine.stream_opened(0.0)
    assert len(creations(machine.to_send(0.0))) == 1


def test_a_watch_resumes_after_its_last_event_not_after_the_stores_revision() -> None:
    machine, handle, wire_id = active()
    assert deliver(machine, wire_id, 12, 15) == [(handle, [12, 15])]  # the header says 100
    assert [creation.start_revision for creation in reopened(machine)] == [16]


def test_a_watch_created_again_has_a_fresh_id() -> None:
    machine, handle, wire_id = active()
    [creation] = reopened(machine)
    assert creation.watch_id != wire_id
    assert deliver(machine, creation.watch_id, 12) == [(handle, [12])]


def test_a_lost_stream_reported_twice_changes_nothing() -> None:
    machine, _, _ = active()
    machine.stream_lost(0.0)
    assert len(reopened(machine)) == 1


def test_an_event_delivered_before_is_dropped() -> None:
    machine, handle, wire_id = active()
    deliver(machine, wire_id, 12)
    assert deliver(machine, wire_id, 11, 12, 13) == [(handle, [13])]
    assert deliver(machine, wire_id, 13) == []


def test_a_start_in_the_future_is_kept_through_a_lost_stream() -> None:
    machine, _, _ = active(start_revision=500)
    assert [creation.start_revision for creation in reopened(machine)] == [500]


def test_fragments_of_a_revision_come_out_whole() -> None:
    machine, handle, wire_id = active()
    assert deliver(machine, wire_id, 12, fragment=True) == []
    assert deliver(machine, wire_id, 12, 12, fragment=True) == []
    assert deliver(machine, wire_id, 12) == [(handle, [12, 12, 12, 12])]


def test_whole_revisions_do_not_wait_for_the_last_fragment() -> None:
    machine, handle, wire_id = active()
    assert deliver(machine, wire_id, 12, 12, 13, fragment=True) == [(handle, [12, 12])]
    assert deliver(machine, wire_id, 13, 14, fragment=True) == [(handle, [13, 13])]
    assert deliver(machine, wire_id, 14, 15) == [(handle, [14, 14, 15])]


def test_an_empty_last_fragment_ends_the_revision() -> None:
    machine, handle, wire_id = active()
    deliver(machine, wire_id, 12, fragment=True)
    assert deliver(machine, wire_id) == [(handle, [12])]


def test_fragments_are_joined_per_watch() -> None:
    machine = opened()
    first, second = add(machine, b"a"), add(machine, b"b")
    wire_ids = created(machine)
    deliver(machine, wire_ids[0], 12, fragment=True)
    assert deliver(machine, wire_ids[1], 12) == [(second, [12])]
    assert deliver(machine, wire_ids[0], 12) == [(first, [12, 12])]


def test_a_stream_lost_between_fragments_replays_the_whole_revision() -> None:
    machine, handle, wire_id = active()
    deliver(machine, wire_id, 12, 13, fragment=True)
    [creation] = reopened(machine)
    assert creation.start_revision == 13
    assert deliver(machine, creation.watch_id, 13, 13) == [(handle, [13, 13])]


def test_progress_of_a_watch_advances_its_resume_point() -> None:
    machine, handle, wire_id = active()
    assert answer(machine, wire_id, 50) == [Progress(handle, 50)]
    assert [creation.start_revision for creation in reopened(machine)] == [51]


def test_progress_never_goes_back() -> None:
    machine, handle, wire_id = active()
    deliver(machine, wire_id, 60)
    assert answer(machine, wire_id, 50) == [Progress(handle, 60)]
    assert [creation.start_revision for creation in reopened(machine)] == [61]


def test_progress_before_a_start_in_the_future_does_not_move_the_start() -> None:
    machine, handle, wire_id = active(start_revision=500)
    assert answer(machine, wire_id, 50) == [Progress(handle, 50)]
    assert [creation.start_revision for creation in reopened(machine)] == [500]


def asks(machine: Watches, now: float) -> bool:
    return any(request.progress_request is not None for request in machine.to_send(now))


def test_progress_is_asked_for_again_until_it_is_answered() -> None:
    machine, handle, _ = active()
    machine.request_progress(handle)
    assert machine.next_wakeup() == AT_ONCE
    assert asks(machine, 1.0)
    assert machine.next_wakeup() == 1.0 + PROGRESS_INTERVAL
    assert not asks(machine, 1.0 + PROGRESS_INTERVAL / 2)
    assert asks(machine, 1.0 + PROGRESS_INTERVAL)
    assert answer(machine, -1, 10) == [Progress(handle, 10)]
    assert not asks(machine, 9.0)


def test_progress_is_asked_for_only_once_the_watch_is_created_and_again_on_a_new_stream() -> None:
    machine = opened()
    handle = add(machine)
    machine.request_progress(handle)
    [creation] = creations(requests := machine.to_send(0.0))
    assert len(requests) == 1
    answer(machine, creation.watch_id, created=True)
    assert asks(machine, 0.0)
    created_again = reopened(machine)
    assert answer(machine, -1, 10) == []
    answer(machine, created_again[0].watch_id, created=True)
    assert asks(machine, 0.0)


def test_progress_of_the_stream_is_not_believed_beyond_what_the_watch_has_seen_itself() -> None:
    machine, handle, wire_id = active(start_revision=11)
    machine.request_progress(handle)
    assert answer(machine, -1, 50) == [Progress(handle, 10)]
    assert deliver(machine, wire_id, 20) == [(handle, [20])]
    machine.request_progress(handle)
    assert answer(machine, -1, 50) == [Progress(handle, 20)]
    assert [creation.start_revision for creation in reopened(machine)] == [21]


def test_progress_of_the_stream_counts_where_the_server_orders_it_with_events() -> None:
    machine, handle, _ = active()
    machine.orders_progress = True
    machine.request_progress(handle)
    assert answer(machine, -1, 50) == [Progress(handle, 50)]
    assert [creation.start_revision for creation in reopened(machine)] == [51]
    assert not machine.orders_progress  # the next server may be an older one


def test_progress_from_before_a_watch_does_not_count_though_it_comes_after_the_confirmation() -> None:
    """What a server sends of creations and of progress goes through two queues: an answer may be older than a watch."""
    machine, handle, _ = active()
    machine.orders_progress = True
    machine.request_progress(handle)
    machine.to_send(0.0)
    late = add(machine, start_revision=15)
    [wire_id] = [creation.watch_id for creation in creations(machine.to_send(0.0)) if creation.start_revision == 15]
    assert answer(machine, wire_id, 111, created=True) == [Created(late, 111)]
    assert answer(machine, -1, 111) == [Progress(handle, 111)]
    assert deliver(machine, wire_id, 15, 111) == [(late, [15, 111])]
    machine.request_progress(late)
    assert answer(machine, -1, 112) == [Progress(late, 112)]


def test_progress_counts_for_a_watch_of_an_idle_store_once_no_older_answer_can_come() -> None:
    machine, handle, _ = active()
    machine.orders_progress = True
    machine.request_progress(handle)
    machine.to_send(0.0)
    add(machine, start_revision=15)
    [wire_id] = [creation.watch_id for creation in creations(machine.to_send(0.0)) if creation.start_revision == 15]
    answer(machine, wire_id, 111, created=True)
    answer(machine, -1, 111)  # to the question from before it
    answer(machine, -1, 111)
    assert 112 in [creation.start_revision for creation in reopened(machine)[1:]]


def test_progress_counts_for_a_watch_of_an_idle_store_if_nobody_asked_before_it() -> None:
    machine = opened()
    machine.orders_progress = True
    add(machine, start_revision=15)
    [creation] = creations(machine.to_send(0.0))
    answer(machine, creation.watch_id, 111, created=True)
    answer(machine, -1, 111)
    assert [creation.start_revision for creation in reopened(machine)] == [112]


def questions(requests: list[WatchRequest]) -> list[WatchCreateRequest]:
    """Return the knocks among *requests*, each of which goes with a request for progress."""
    asked = [request for request in requests if request.progress_request is not None]
    knocks = [creation for creation in creations(requests) if creation.range_end and creation.range_end < creation.key]
    assert len(asked) == len(knocks)
    return knocks


def knocked(machine: Watches, now: float, *, revision: int) -> list[object]:
    """Send the question that is due and let the server refuse the knock, as it must."""
    [_] = questions(machine.to_send(now))
    reason = "mvcc: watcher range is empty"
    return answer(machine, -1, revision, now, created=True, canceled=True, cancel_reason=reason)


def test_a_stream_is_asked_how_it_is_every_ten_seconds_though_nobody_waits() -> None:
    machine, _, wire_id = active()
    assert machine.next_wakeup() == IDLE_INTERVAL
    assert machine.to_send(IDLE_INTERVAL - 0.1) == []
    deliver(machine, wire_id, 12)  # what comes meanwhile does not count: it may be of other watches
    assert knocked(machine, IDLE_INTERVAL, revision=12) == []
    assert answer(machine, -1, 12) == []
    assert machine.next_wakeup() == 2 * IDLE_INTERVAL
    assert knocked(machine, 2 * IDLE_INTERVAL, revision=12) == []


def test_a_stream_without_a_watch_is_not_asked() -> None:
    machine, handle, _ = active()
    machine.cancel(handle)
    assert len(machine.to_send(0.0)) == 1  # the cancellation
    assert machine.to_send(10 * IDLE_INTERVAL) == []


def test_an_idle_watch_resumes_after_the_progress_of_the_stream_where_that_is_in_order() -> None:
    machine = opened()
    for key in (b"a", b"b"):
        add(machine, key)
    created(machine)
    machine.orders_progress = True
    assert answer(machine, -1, 70) == []
    assert [creation.start_revision for creation in reopened(machine)] == [71, 71]


def test_an_idle_watch_does_not_trust_the_progress_of_the_stream_where_that_is_not_in_order() -> None:
    machine, _, _ = active(start_revision=11)
    assert answer(machine, -1, 70) == []
    assert [creation.start_revision for creation in reopened(machine)] == [11]


def test_progress_that_the_server_can_not_tell_before_the_next_write_is_told_all_the_same() -> None:
    machine, handle, _ = active(start_revision=11)
    machine.orders_progress = True
    machine.request_progress(handle)
    assert knocked(machine, 0.0, revision=10) == [Progress(handle, 10)]


def test_a_watch_of_the_far_future_keeps_nobody_from_hearing_how_far_they_have_come() -> None:
    machine = opened()
    handles = [add(machine, b"a", 11), add(machine, b"b", 10**6)]
    wire_id, _ = created(machine)
    machine.orders_progress = True
    deliver(machine, wire_id, 15)
    for handle in handles:
        machine.request_progress(handle)
    assert knocked(machine, 0.0, revision=20) == [Progress(handles[0], 15), Progress(handles[1], 20)]


def test_the_answer_to_a_knock_is_not_taken_for_progress_of_a_watch_that_is_behind() -> None:
    machine, handle, _ = active(start_revision=11)
    machine.orders_progress = True
    machine.request_progress(handle)
    assert knocked(machine, 0.0, revision=30) == []
    assert answer(machine, -1, 30) == [Progress(handle, 30)]


def test_a_knock_keeps_its_place_in_the_line_of_creations() -> None:
    machine, handle, _ = active()
    machine.request_progress(handle)
    assert questions(machine.to_send(0.0))
    add(machine, b"secret")
    machine.to_send(0.0)
    assert refuse(machine, "mvcc: watcher range is empty") == []
    [failed] = refuse(machine, DENIED)
    assert isinstance(failed, Failed)


def test_a_creation_that_stays_unanswered_condemns_the_stream() -> None:
    machine = opened()
    add(machine)
    machine.to_send(1.0)
    assert machine.next_wakeup() == 1.0 + PATIENCE / 2
    assert machine.stalled(1.0 + PATIENCE / 2) is None
    assert machine.next_wakeup() == 1.0 + PATIENCE
    assert machine.stalled(0.9 + PATIENCE) is None
    reason = machine.stalled(1.0 + PATIENCE)
    assert reason is not None
    assert "2 s" in reason
    machine.stream_lost(3.0)
    assert machine.stalled(30.0) is None


def test_a_silent_stream_is_condemned_within_twelve_seconds() -> None:
    machine, _, _ = active()
    assert machine.stalled(IDLE_INTERVAL) is None
    machine.to_send(IDLE_INTERVAL)
    assert machine.stalled(IDLE_INTERVAL + PATIENCE - 0.1) is None
    assert machine.next_wakeup() == IDLE_INTERVAL + PATIENCE
    assert machine.stalled(IDLE_INTERVAL + PATIENCE)


def test_whatever_is_heard_on_a_stream_is_a_sign_of_life() -> None:
    machine, _, wire_id = active()
    machine.to_send(IDLE_INTERVAL)
    answer(machine, wire_id, now=IDLE_INTERVAL + 1, events=(event(12),))
    assert machine.stalled(IDLE_INTERVAL + PATIENCE) is None
    assert machine.stalled(IDLE_INTERVAL + 1 + PATIENCE)
    coming_in = Signs(stream=IDLE_INTERVAL + 2, connection=IDLE_INTERVAL + 2)
    assert machine.stalled(IDLE_INTERVAL + 1 + PATIENCE, coming_in) is None


def busy(now: float, *, asked: float = NEVER, answered: float = NEVER) -> Signs:
    """Others of the connection are being answered."""
    return Signs(connection=now, asked=asked, answered=answered)


def test_an_answer_that_may_be_behind_others_on_a_slow_link_is_waited_for_and_the_peer_pinged() -> None:
    machine, _, _ = active()
    machine.to_send(asked := IDLE_INTERVAL)
    assert not machine.doubts(asked + PATIENCE / 2 - 0.1, busy(asked))
    assert machine.doubts(asked + PATIENCE / 2, busy(asked))
    assert machine.doubts(asked + PATIENCE / 2, busy(asked, asked=asked - 1.0, answered=asked + 0.5))
    now = asked
    for _ in range(1000):
        now += 1.0
        assert machine.stalled(now, busy(now)) is None
        machine.to_send(now)
        assert now < (machine.next_wakeup() or 0.0) <= now + 1.0
    assert machine.stalled(now + PATIENCE - 0.1, busy(now)) is None
    assert machine.stalled(now + PATIENCE, busy(now)) is not None


def test_a_peer_that_answers_pings_and_others_but_not_the_stream_is_given_up_in_time() -> None:
    machine, _, _ = active()
    machine.to_send(asked := IDLE_INTERVAL)
    pinged = asked + PATIENCE / 2
    proof = {"asked": pinged, "answered": pinged + 0.01}
    now = pinged
    while not machine.stalled(now, busy(now, **proof)):
        assert not machine.doubts(now, busy(now, **proof))
        now = machine.next_wakeup() or 0.0
    assert now <= asked + PATIENCE + LOOK_INTERVAL


def test_the_slower_the_pings_the_longer_an_answer_is_waited_for() -> None:
    machine, _, _ = active()
    machine.to_send(asked := IDLE_INTERVAL)
    proof = {"asked": asked + 1.0, "answered": asked + 31.0}
    end = asked + 31.0 + 30.0 + PATIENCE / 2
    assert machine.stalled(end - 0.1, busy(end, **proof)) is None
    assert machine.stalled(end, busy(end, **proof)) is not None


def test_a_proof_is_good_for_one_silence_only() -> None:
    machine, _, wire_id = active()
    machine.to_send(asked := IDLE_INTERVAL)
    proof = {"asked": asked + 1.0, "answered": asked + 1.1}
    answer(machine, wire_id, now=asked + 1.5, events=(event(12),))
    now = asked + 1.5 + PATIENCE
    assert machine.stalled(now, busy(now, **proof)) is None
    assert machine.doubts(now, busy(now, **proof))


def test_a_stream_on_which_nothing_is_unanswered_raises_no_doubts() -> None:
    machine, _, _ = active()
    assert not machine.doubts(IDLE_INTERVAL - 1.0, NO_SIGNS)
    assert machine.stalled(IDLE_INTERVAL - 1.0) is None


def test_whoever_takes_long_for_every_answer_is_not_given_up_again_and_again() -> None:
    machine = opened()
    add(machine)
    machine.to_send(0.0)
    assert machine.stalled(PATIENCE)
    machine.stream_lost(PATIENCE)
    machine.stream_opened(now := PATIENCE)
    [creation] = creations(machine.to_send(now))
    now += 1.5 * PATIENCE
    answer(machine, creation.watch_id, now=now, created=True)
    now += IDLE_INTERVAL
    assert questions(machine.to_send(now))
    assert machine.stalled(now + 1.5 * PATIENCE) is None


def test_patience_doubles_until_a_stream_answers() -> None:
    machine = opened()
    add(machine)
    now, patiences = 0.0, []
    for _ in range(7):
        machine.stream_opened(now)
        opened_at = now
        while not machine.stalled(now):
            machine.to_send(now)
            now = machine.next_wakeup() or now
        patiences.append(now - opened_at)
        machine.stream_lost(now)
    assert patiences == [2, 4, 8, 16, 32, 64, MAX_PATIENCE]
    machine.stream_opened(now)
    [creation] = creations(machine.to_send(now))
    answer(machine, creation.watch_id, now=now, created=True)
    machine.stream_lost(now)
    machine.stream_opened(now)
    machine.to_send(now)
    assert machine.next_wakeup() == now + PATIENCE / 2


def test_a_server_that_is_slow_with_each_answer_is_granted_more_patience_until_it_has_given_all() -> None:
    machine = opened()
    for key in (b"a", b"b", b"c"):
        add(machine, key)
    machine.to_send(0.0)
    now = PATIENCE
    assert machine.stalled(now)
    machine.stream_lost(now)
    machine.stream_opened(now)
    machine.to_send(now)
    for creation in list(machine._creations._unanswered):
        now += 1.5 * PATIENCE
        assert machine.stalled(now) is None
        answer(machine, creation, now=now, created=True)


def test_a_service_that_is_silent_for_days_is_asked_all_the_same() -> None:
    machine = opened()
    add(machine)
    for number in range(2000):
        now = number * MAX_PATIENCE
        machine.stream_opened(now)
        machine.to_send(now)
        assert machine.stalled(now + MAX_PATIENCE)
        machine.stream_lost(now)


def test_progress_of_the_stream_goes_only_to_those_who_asked() -> None:
    machine = opened()
    handles = [add(machine, key) for key in (b"a", b"b")]
    created(machine)
    machine.request_progress(handles[1])
    assert answer(machine, -1, 50) == [Progress(handles[1], 10)]
    assert answer(machine, -1, 50) == []


def test_progress_waits_for_the_end_of_a_revision() -> None:
    machine, handle, wire_id = active()
    machine.orders_progress = True
    machine.request_progress(handle)
    deliver(machine, wire_id, 12, fragment=True)
    assert answer(machine, -1, 50) == []
    deliver(machine, wire_id, 12)
    assert answer(machine, -1, 50) == [Progress(handle, 50)]


def test_nobody_is_asked_for_the_progress_of_a_watch_that_is_no_more() -> None:
    machine, handle, _ = active()
    machine.request_progress(handle)
    machine.cancel(handle)
    machine.request_progress(handle)
    assert not asks(machine, 0.0)


def test_a_refusal_belongs_to_the_oldest_unanswered_creation() -> None:
    machine = opened()
    handles = [add(machine, key) for key in (b"a", b"b", b"c")]
    wire_ids = [creation.watch_id for creation in creations(machine.to_send(0.0))]
    answer(machine, wire_ids[0], created=True)
    [failed] = refuse(machine, DENIED)
    assert isinstance(failed, Failed)
    assert failed.handle == handles[1]
    assert isinstance(failed.error, PermissionDenied)
    assert answer(machine, wire_ids[2], created=True) == [Created(handles[2], 100)]


def test_a_refusal_without_the_created_mark_is_one_too() -> None:
    machine = opened()
    handle = add(machine)
    machine.to_send(0.0)
    assert [type(output) for output in answer(machine, -1, canceled=True, cancel_reason=DENIED)] == [Failed]
    assert not machine.wants_stream
    machine.resume(handle)


def test_a_creation_confirmed_twice_is_none_of_the_others() -> None:
    machine, handle, wire_id = active()
    other = add(machine, b"o")
    machine.to_send(0.0)
    assert answer(machine, wire_id, created=True) == [Created(handle, 100)]
    [failed] = refuse(machine, DENIED)
    assert isinstance(failed, Failed)
    assert failed.handle == other


def test_a_refusal_of_nothing_is_ignored() -> None:
    assert refuse(opened(), DENIED) == []


def test_a_creation_cancelled_before_its_answer_keeps_its_place_in_line() -> None:
    machine = opened()
    handles = [add(machine, key) for key in (b"a", b"b")]
    wire_ids = [creation.watch_id for creation in creations(machine.to_send(0.0))]
    machine.cancel(handles[0])
    assert cancellations(machine.to_send(0.0)) == [wire_ids[0]]
    assert refuse(machine, DENIED) == []  # of the cancelled one
    assert answer(machine, wire_ids[1], created=True) == [Created(handles[1], 100)]


def test_the_late_answer_and_events_of_a_cancelled_watch_reach_no_other() -> None:
    machine = opened()
    first = add(machine, b"a")
    [old] = [creation.watch_id for creation in creations(machine.to_send(0.0))]
    machine.cancel(first)
    second = add(machine, b"b")
    [creation] = creations(machine.to_send(0.0))
    assert answer(machine, old, created=True) == []
    assert deliver(machine, old, 12) == []
    assert answer(machine, old, canceled=True) == []
    assert answer(machine, creation.watch_id, created=True) == [Created(second, 100)]
    assert machine.to_send(0.0) == []


@pytest.mark.parametrize("is_confirmed", [True, False])
def test_a_watch_that_begins_before_the_history_fails_as_compacted(is_confirmed: bool) -> None:
    machine = opened()
    handle = add(machine, start_revision=2)
    [creation] = creations(machine.to_send(0.0))
    if is_confirmed:  # etcd 3.4 to 3.7
        answer(machine, creation.watch_id, created=True)
    [failed] = answer(machine, creation.watch_id, created=not is_confirmed, canceled=is_confirmed, compact_revision=8)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, Compacted)
    assert (failed.handle, failed.error.compact_revision) == (handle, 8)
    assert not machine.wants_stream


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("mvcc: watcher range is empty", WatchCanceled),
        ("", WatchCanceled),
        (DENIED, PermissionDenied),
        ("rpc error: code = Internal desc = panic", RpcError),
        ("etcdserver: mvcc: required revision has been compacted", Compacted),
    ],
)
def test_the_end_of_a_watch_is_a_typed_error(reason: str, kind: type[Exception]) -> None:
    machine, handle, wire_id = active()
    [failed] = answer(machine, wire_id, canceled=True, cancel_reason=reason)
    assert isinstance(failed, Failed)
    assert failed.handle == handle
    assert isinstance(failed.error, kind)
    assert machine.to_send(0.0) == []


@pytest.mark.parametrize(("reason", "kind"), [(STALE, InvalidAuthToken), (LEADERLESS, NoLeader)])
def test_a_refusal_that_another_stream_may_cure_reopens_instead_of_failing(reason: str, kind: type[RpcError]) -> None:
    machine = opened()
    handles = [add(machine, key) for key in (b"a", b"b")]
    wire_ids = [creation.watch_id for creation in creations(machine.to_send(0.0))]
    answer(machine, wire_ids[0], created=True)
    deliver(machine, wire_ids[0], 30)
    [reopen] = refuse(machine, reason)
    assert isinstance(reopen, Reopen)
    assert isinstance(reopen.error, kind)
    assert machine.to_send(0.0) == []
    assert sorted((each.key, each.start_revision) for each in reopened(machine)) == [(b"a", 31), (b"b", 11)]
    assert len(handles) == 2


def test_a_token_that_stays_refused_fails_its_watches_in_the_end() -> None:
    machine = opened()
    handles = [add(machine, key) for key in (b"a", b"b", b"c")]
    for _ in range(MAX_REFUSALS):
        machine.to_send(0.0)
        assert [type(output) for output in refuse(machine, STALE)] == [Reopen]
        machine.stream_opened(0.0)
    machine.to_send(0.0)
    failures = [output for _ in handles for output in refuse(machine, STALE)]
    assert [(type(each), getattr(each, "handle", 0)) for each in failures] == [(Failed, handle) for handle in handles]


def test_a_watch_that_was_created_in_between_has_its_refusals_forgiven() -> None:
    machine = opened()
    add(machine)
    for _ in range(3 * MAX_REFUSALS):
        machine.to_send(0.0)
        assert [type(output) for output in refuse(machine, STALE)] == [Reopen]
        machine.stream_opened(0.0)
        created(machine)
        machine.stream_lost(0.0)
        machine.stream_opened(0.0)


def test_cancelling_tells_the_server_what_it_may_know() -> None:
    machine, handle, wire_id = active()
    machine.cancel(handle)
    machine.cancel(handle)
    assert not machine.wants_stream
    assert machine.next_wakeup() == AT_ONCE
    assert cancellations(machine.to_send(0.0)) == [wire_id]
    assert machine.to_send(0.0) == []


def test_cancelling_a_watch_the_server_never_saw_says_nothing() -> None:
    machine = opened()
    machine.cancel(add(machine))
    assert machine.to_send(0.0) == []


def test_events_for_an_unknown_id_are_cancelled_once() -> None:
    machine = opened()
    assert deliver(machine, 77, 12) == []
    assert deliver(machine, 77, 13) == []
    assert cancellations(machine.to_send(0.0)) == [77]
    assert deliver(machine, 77, 14) == []
    assert answer(machine, 77, canceled=True) == []
    assert machine.to_send(0.0) == []


def test_a_cancellation_is_not_sent_on_a_stream_that_never_saw_the_watch() -> None:
    machine, handle, _ = active()
    machine.cancel(handle)
    machine.stream_lost(0.0)
    machine.stream_opened(0.0)
    assert machine.to_send(0.0) == []


def test_an_unknown_id_is_cancelled_again_on_a_new_stream() -> None:
    machine = opened()
    for _ in range(2):
        deliver(machine, 77, 12)
        assert cancellations(machine.to_send(0.0)) == [77]
        machine.stream_lost(0.0)
        machine.stream_opened(0.0)


def test_cancelled_watches_leave_nothing_behind() -> None:
    machine = opened()
    for _ in range(10):
        machine.cancel(add(machine))
        for reason in (DENIED, ""):
            handle = add(machine)
            [creation] = creations(machine.to_send(0.0))
            machine.cancel(handle)
            if reason:
                refuse(machine, reason)
            else:
                answer(machine, creation.watch_id, created=True)
                answer(machine, creation.watch_id, canceled=True)
            machine.to_send(0.0)
    line = machine._creations
    assert not any([line._cancelled, line._unanswered, line._cancels, line._live])
    assert not machine._watches


def test_a_paused_watch_is_cancelled_on_the_server_and_resumed_where_it_stopped() -> None:
    machine, handle, wire_id = active()
    deliver(machine, wire_id, 12)
    machine.pause(handle)
    machine.pause(handle)
    assert not machine.wants_stream
    assert cancellations(machine.to_send(0.0)) == [wire_id]
    assert deliver(machine, wire_id, 13) == []
    assert answer(machine, wire_id, canceled=True) == []
    machine.resume(handle)
    machine.resume(handle)
    [creation] = creations(machine.to_send(0.0))
    assert creation.start_revision == 13
    assert deliver(machine, creation.watch_id, 13) == [(handle, [13])]


def test_a_pause_between_fragments_replays_the_whole_revision() -> None:
    machine, handle, wire_id = active()
    deliver(machine, wire_id, 12, fragment=True)
    machine.pause(handle)
    machine.resume(handle)
    requests = machine.to_send(0.0)
    assert cancellations(requests) == [wire_id]
    [creation] = creations(requests)
    assert deliver(machine, wire_id, 12) == []
    assert deliver(machine, creation.watch_id, 12, 12) == [(handle, [12, 12])]


def test_pausing_works_in_every_state() -> None:
    machine = opened()
    handle = add(machine)
    machine.pause(handle)
    assert machine.to_send(0.0) == []
    machine.resume(handle)
    [creation] = creations(machine.to_send(0.0))
    machine.pause(handle)
    assert cancellations(machine.to_send(0.0)) == [creation.watch_id]
    assert answer(machine, creation.watch_id, created=True) == []
    machine.stream_lost(0.0)
    assert not machine.wants_stream
    machine.stream_opened(0.0)
    machine.resume(handle)
    assert len(creations(machine.to_send(0.0))) == 1
    machine.pause(handle)
    machine.cancel(handle)
    machine.pause(handle)
    machine.resume(handle)
    assert not machine.wants_stream


def test_giving_up_fails_every_watch_the_paused_ones_too() -> None:
    machine = opened()
    handles = [add(machine, key) for key in (b"a", b"b", b"c")]
    machine.pause(handles[0])
    machine.to_send(0.0)
    add(machine, b"d")
    error = ProtocolError("not etcd")
    outputs: list[Output] = machine.fail_all(error)
    assert outputs == [Failed(handle, error) for handle in [*handles, handles[-1] + 1]]
    assert not machine.wants_stream


def test_time_alone_ends_no_watch() -> None:
    machine, _, _ = active()
    assert machine.expire(1e9) == []


def test_a_handle_is_never_used_again() -> None:
    machine = Watches()
    first = add(machine)
    machine.cancel(first)
    assert add(machine) != first


def test_a_status_of_no_interest_here_is_not_taken_for_a_token_problem() -> None:
    machine = opened()
    add(machine)
    machine.to_send(0.0)
    [failed] = refuse(machine, "rpc error: code = NotFound desc = what")
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, RpcError)
    assert failed.error.code is StatusCode.NOT_FOUND
