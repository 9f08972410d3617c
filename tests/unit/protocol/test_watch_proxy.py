"""Watches through etcd's gRPC proxy: it gives ids of its own, from 0 on, and may answer in another order."""

from etcd_async._codec.responses import WatchResponse
from etcd_async._protocol.machine import AT_ONCE
from etcd_async._protocol.pulse import IDLE_INTERVAL
from etcd_async._protocol.watch import Watches
from etcd_async._protocol.watch_outputs import Created, Failed, Progress
from tests.unit.protocol.watching import (
    DENIED,
    add,
    answer,
    cancellations,
    creations,
    deliver,
    opened,
    refuse,
    reopened,
)


def through_proxy(number: int) -> tuple[Watches, list[int]]:
    """Return a machine with so many created watches, and their handles; the proxy calls them 0, 1, 2..."""
    machine = opened()
    handles = [add(machine, b"%d" % each) for each in range(number)]
    for name, handle in enumerate(handles):
        [creation] = creations(machine.to_send(0.0))
        assert creation.key == b"%d" % name
        assert answer(machine, name, 20, created=True) == [Created(handle, 20)]
    return machine, handles


def test_each_creation_waits_for_the_answer_to_the_one_before() -> None:
    machine, handles = through_proxy(3)
    for name, handle in enumerate(handles):
        assert deliver(machine, name, 30 + name) == [(handle, [30 + name])]
    again = add(machine, b"again")
    other = add(machine, b"other")
    [creation] = creations(machine.to_send(0.0))
    assert creation.key == b"again"
    assert machine.next_wakeup() not in (None, AT_ONCE)
    [failed] = refuse(machine, DENIED)
    assert isinstance(failed, Failed)
    assert failed.handle == again
    [_] = creations(machine.to_send(0.0))
    assert answer(machine, 3, 20, created=True) == [Created(other, 20)]


def test_a_watch_is_cancelled_by_the_proxys_name() -> None:
    machine, handles = through_proxy(2)
    machine.cancel(handles[1])
    assert cancellations(machine.to_send(0.0)) == [1]
    assert deliver(machine, 1, 30) == []
    assert answer(machine, 1, canceled=True) == []


def test_a_watch_that_the_server_has_ended_is_cancelled_lest_the_proxy_adds_others_to_it() -> None:
    machine, handles = through_proxy(1)
    [failed] = answer(machine, 0, canceled=True, compact_revision=15)
    assert isinstance(failed, Failed)
    assert failed.handle == handles[0]
    add(machine)
    cancellation, creation = machine.to_send(0.0)
    assert cancellations([cancellation]) == [0]
    assert len(creations([creation])) == 1


def test_a_watch_that_is_cancelled_before_it_has_a_name_is_cancelled_when_it_has() -> None:
    for machine, name in ((opened(), 0), (through_proxy(1)[0], 1)):
        unwanted = add(machine)
        machine.to_send(0.0)
        machine.cancel(unwanted)
        wanted = add(machine)
        assert machine.to_send(0.0) == []
        assert answer(machine, name, created=True) == []
        requests = machine.to_send(0.0)
        assert cancellations(requests) == [name]
        [_] = creations(requests)
        assert answer(machine, name + 1, 20, created=True) == [Created(wanted, 20)]
        assert deliver(machine, name, 30) == []


def test_cancelling_a_watch_that_is_yet_to_be_created_harms_no_other() -> None:
    machine, handles = through_proxy(1)
    machine.cancel(add(machine))
    assert deliver(machine, 0, 30) == [(handles[0], [30])]


def test_a_creation_confirmed_twice_is_not_the_next_one() -> None:
    machine, handles = through_proxy(1)
    later = add(machine, b"later")
    machine.to_send(0.0)
    assert answer(machine, 0, 20, created=True) == [Created(handles[0], 20)]
    assert answer(machine, 1, 20, created=True) == [Created(later, 20)]


def test_it_is_not_asked_for_progress_of_which_it_only_complains() -> None:
    machine, handles = through_proxy(2)
    deliver(machine, 0, 30)
    for handle in handles:
        machine.request_progress(handle)
    [request] = machine.to_send(IDLE_INTERVAL)
    assert request.create_request is not None
    add(machine, b"later")
    assert machine.to_send(IDLE_INTERVAL) == []  # two refusals could not be told apart
    refusal = WatchResponse(watch_id=-1, created=True, canceled=True)  # without a revision
    assert machine.receive(refusal, IDLE_INTERVAL) == [Progress(handles[0], 30), Progress(handles[1], 10)]
    [_] = creations(machine.to_send(IDLE_INTERVAL))


def test_the_next_stream_may_lead_to_a_server_that_keeps_our_ids() -> None:
    machine, handles = through_proxy(3)
    [first] = reopened(machine)
    answer(machine, first.watch_id, created=True)
    others = creations(machine.to_send(0.0))
    for creation, handle in zip(others, handles[1:], strict=True):
        assert answer(machine, creation.watch_id, 20, created=True) == [Created(handle, 20)]
