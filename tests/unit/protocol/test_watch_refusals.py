"""Whose a refusal is, and what becomes of the watch that was refused."""

import pytest

from etcd_async._protocol.machine import Reopen
from etcd_async._protocol.watch import Watches
from etcd_async._protocol.watch_outputs import Created, Failed
from etcd_async._protocol.watch_state import MAX_REFUSALS
from etcd_async.errors import (
    Compacted,
    InvalidAuthToken,
    NoLeader,
    PermissionDenied,
    RpcError,
    StatusCode,
    WatchCanceled,
)
from tests.unit.protocol.watching import (
    DENIED,
    active,
    add,
    answer,
    cancellations,
    confirmed,
    created,
    creations,
    deliver,
    known,
    opened,
    refuse,
)

STALE = "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"
LEADERLESS = "rpc error: code = Unavailable desc = etcdserver: no leader"


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


def test_a_denial_on_a_server_that_may_have_restarted_since_the_login_is_not_final() -> None:
    machine = Watches(has_user=True)
    add(machine)
    machine.stream_opened(0.0)
    machine.to_send(0.0)
    assert [type(output) for output in refuse(machine, DENIED)] == [Reopen]
    machine.stream_lost(0.0)  # as the driver says once more
    machine.stream_opened(0.0)
    machine.to_send(0.0)
    machine.stream_lost(0.0)  # unanswered
    for expected in (Reopen, Failed):
        machine.stream_opened(0.0)
        machine.to_send(0.0)
        assert [type(output) for output in refuse(machine, DENIED)] == [expected]


def test_a_refusal_belongs_to_the_oldest_unanswered_creation() -> None:
    machine = known()
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
    machine = known()
    handles = [add(machine, key) for key in (b"a", b"b")]
    wire_ids = [creation.watch_id for creation in creations(machine.to_send(0.0))]
    machine.cancel(handles[0])
    assert cancellations(machine.to_send(0.0)) == [wire_ids[0]]
    assert refuse(machine, DENIED) == []  # of the cancelled one
    assert answer(machine, wire_ids[1], created=True) == [Created(handles[1], 100)]


def test_the_late_answer_and_events_of_a_cancelled_watch_reach_no_other() -> None:
    machine = known()
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
    machine = known()
    handles = [add(machine, key) for key in (b"a", b"b")]
    wire_ids = [creation.watch_id for creation in creations(machine.to_send(0.0))]
    answer(machine, wire_ids[0], created=True)
    deliver(machine, wire_ids[0], 30)
    [reopen] = refuse(machine, reason)
    assert isinstance(reopen, Reopen)
    assert isinstance(reopen.error, kind)
    assert machine.to_send(0.0) == []
    machine.stream_opened(0.0)
    assert sorted((each.key, each.start_revision) for each in confirmed(machine)) == [(b"a", 31), (b"b", 11)]
    assert len(handles) == 2


def test_a_token_that_stays_refused_fails_its_watches_in_the_end() -> None:
    machine = opened()
    handles = [add(machine, key) for key in (b"a", b"b", b"c")]
    for _ in range(MAX_REFUSALS):
        machine.to_send(0.0)
        assert [type(output) for output in refuse(machine, STALE)] == [Reopen]
        machine.stream_opened(0.0)
    failures = []
    while machine.to_send(0.0):
        failures += refuse(machine, STALE)
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


def test_a_status_of_no_interest_here_is_not_taken_for_a_token_problem() -> None:
    machine = opened()
    add(machine)
    machine.to_send(0.0)
    [failed] = refuse(machine, "rpc error: code = NotFound desc = what")
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, RpcError)
    assert failed.error.code is StatusCode.NOT_FOUND
