"""What the watch machine makes of words of progress, and when it asks for them."""

from etcd_async._protocol.machine import AT_ONCE
from etcd_async._protocol.pulse import PROGRESS_INTERVAL
from etcd_async._protocol.watch import Watches
from etcd_async._protocol.watch_outputs import Created, Progress
from tests.unit.protocol.watching import (
    active,
    add,
    answer,
    confirmed,
    created,
    creations,
    deliver,
    knocked,
    opened,
    reopened,
)


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
    machine.stream_lost(0.0)
    machine.stream_opened(0.0)
    assert [creation.start_revision for creation in confirmed(machine)] == [112, 112]


def test_progress_counts_for_a_watch_of_an_idle_store_if_nobody_asked_before_it() -> None:
    machine = opened()
    machine.orders_progress = True
    add(machine, start_revision=15)
    [creation] = creations(machine.to_send(0.0))
    answer(machine, creation.watch_id, 111, created=True)
    answer(machine, -1, 111)
    assert [creation.start_revision for creation in reopened(machine)] == [112]


def test_an_idle_watch_resumes_after_the_progress_of_the_stream_where_that_is_in_order() -> None:
    machine = opened()
    for key in (b"a", b"b"):
        add(machine, key)
    created(machine)
    machine.orders_progress = True
    assert answer(machine, -1, 70) == []
    machine.stream_lost(0.0)
    machine.stream_opened(0.0)
    assert [creation.start_revision for creation in confirmed(machine)] == [71, 71]


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
