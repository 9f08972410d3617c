"""What the watch machine says and how it reads each answer, one rule at a time."""

import time

import pytest

from etcd_async._pb.etcdserverpb import WatchCreateRequest, WatchCreateRequestFilterType
from etcd_async._protocol.machine import AT_ONCE
from etcd_async._protocol.pulse import PATIENCE
from etcd_async._protocol.watch import MAX_ANSWER, Watches
from etcd_async._protocol.watch_outputs import Created, Failed, Output
from etcd_async.errors import (
    ProtocolError,
)
from tests.unit.protocol.watching import (
    DENIED,
    active,
    add,
    answer,
    cancellations,
    created,
    creations,
    deliver,
    known,
    opened,
    refuse,
    reopened,
)


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


def test_all_watches_are_created_at_once_and_in_order_after_the_first_one() -> None:
    machine = opened()
    handles = [add(machine, key) for key in (b"a", b"b", b"c")]
    assert machine.next_wakeup() == AT_ONCE
    [first] = creations(machine.to_send(0.0))
    assert machine.next_wakeup() == PATIENCE / 2
    assert answer(machine, first.watch_id, 40, created=True) == [Created(handles[0], 40)]
    assert machine.next_wakeup() == AT_ONCE
    others = creations(machine.to_send(0.0))
    assert [creation.key for creation in (first, *others)] == [b"a", b"b", b"c"]
    assert machine.next_wakeup() == PATIENCE / 2
    outputs = [answer(machine, creation.watch_id, 40, created=True) for creation in others]
    assert outputs == [[Created(handle, 40)] for handle in handles[1:]]


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
    machine = known()
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


def test_the_time_for_very_many_watches_grows_with_their_number_only() -> None:
    machine, many = known(), 40_000
    handles = [add(machine) for _ in range(many)]
    began = time.process_time()
    assert len(creations(machine.to_send(0.0))) == many
    for handle in handles:
        machine.cancel(handle)
    assert len(cancellations(machine.to_send(0.0))) == many
    assert time.process_time() - began < 4.0  # of which a tenth is needed; a look at all for each would take twice that
