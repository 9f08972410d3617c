"""When the watch machine asks a silent stream how it is, and when it gives it up."""

from etcd_async._protocol.machine import NEVER, NO_SIGNS, Signs
from etcd_async._protocol.pulse import IDLE_INTERVAL, LOOK_INTERVAL, MAX_PATIENCE, PATIENCE
from etcd_async._protocol.watch_outputs import Failed, Progress
from tests.unit.protocol.watching import (
    DENIED,
    active,
    add,
    answer,
    creations,
    deliver,
    event,
    knocked,
    opened,
    questions,
    refuse,
)


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
    while now < asked + MAX_PATIENCE / 2:
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


def test_a_peer_that_answers_others_but_no_ping_is_given_up_in_the_end() -> None:
    machine, _, _ = active()
    machine.to_send(asked := IDLE_INTERVAL)
    now = asked
    while not machine.stalled(now, busy(now)):
        machine.to_send(now)
        now = machine.next_wakeup() or 0.0
    assert asked + MAX_PATIENCE <= now <= asked + MAX_PATIENCE + LOOK_INTERVAL


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
