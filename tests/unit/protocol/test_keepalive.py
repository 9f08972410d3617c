"""Which leases are renewed and when, and that none is believed alive for longer than the server promised."""

from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from etcd_async._codec.responses import KeepAliveResponse
from etcd_async._protocol.keepalive import KeepAlive, Lost, Renewed
from etcd_async._protocol.machine import Signs
from etcd_async.errors import DeadlineExceeded, LeaseNotFound, PermissionDenied, StatusCode


def opened(*leases: tuple[int, float], now: float = 0.0) -> KeepAlive:
    machine = KeepAlive()
    for lease_id, ttl in leases:
        machine.add(lease_id, ttl=ttl, granted_at=now)
    machine.stream_opened(now)
    return machine


def sent(machine: KeepAlive, now: float) -> list[int]:
    return [request.id for request in machine.to_send(now)]


def answer(machine: KeepAlive, lease_id: int, ttl: int, now: float) -> list[object]:
    return list(machine.receive(KeepAliveResponse(id=lease_id, ttl=ttl), now))


def test_a_lease_is_renewed_at_a_third_of_its_term() -> None:
    machine = opened((7, 9.0), now=100.0)
    assert machine.next_wakeup() == 103.0
    assert sent(machine, 102.9) == []
    assert sent(machine, 103.0) == [7]


def test_term_counts_from_the_send_not_the_answer() -> None:
    machine = opened((7, 9.0))
    machine.to_send(3.0)
    assert answer(machine, 7, 9, now=8.0) == [Renewed(7, 9.0, 12.0)]
    assert machine.expires_at(7) == 12.0
    assert machine.expire(11.9) == []
    [lost] = machine.expire(12.0)
    assert isinstance(lost, Lost)
    assert isinstance(lost.reason, DeadlineExceeded)
    assert lost.lease_id == 7
    assert machine.expires_at(7) is None


def test_the_servers_new_term_is_taken_over() -> None:
    machine = opened((7, 9.0))
    machine.to_send(3.0)
    assert answer(machine, 7, 30, now=3.1) == [Renewed(7, 30.0, 33.0)]
    assert machine.next_wakeup() == 13.0


def test_an_unanswered_renewal_is_repeated_after_a_ninth_of_the_term_not_at_each_look() -> None:
    machine = opened((7, 9.0))
    sends = [now / 10 for now in range(30, 60) if sent(machine, now / 10)]
    assert sends == [3.0, 4.0, 5.0]


def test_repeats_of_short_terms_are_half_a_second_apart() -> None:
    machine = opened((7, 2.0))
    sends = [now / 100 for now in range(200) if sent(machine, now / 100)]
    assert sends == [0.5, 1.0, 1.5]


@pytest.mark.parametrize(
    ("ttl", "renewed_after"), [(1, 1 / 3), (2, 0.5), (3, 0.5), (4, 1.0), (6, 2.0), (9, 3.0), (60, 20.0)]
)
def test_short_terms_are_renewed_so_early_that_a_leader_can_be_elected_in_what_is_left(
    ttl: float, renewed_after: float
) -> None:
    machine = opened((7, ttl))
    assert machine.next_wakeup() == pytest.approx(renewed_after)
    machine.to_send(renewed_after)
    assert answer(machine, 7, int(ttl), renewed_after)
    assert machine.next_wakeup() == pytest.approx(2 * renewed_after)


def silent_until(machine: KeepAlive, now: float) -> float:
    """Return when the stream is given up of which nothing is heard any more."""
    while machine.stalled(now) is None:
        machine.to_send(now)
        now = machine.next_wakeup() or now
    return now


def test_a_stream_that_leaves_a_renewal_unanswered_is_given_up_after_a_quarter_of_what_is_left() -> None:
    machine = opened((7, 9.0))
    assert silent_until(machine, 0.0) == 4.5  # sent at 3, over at 9
    reason = machine.stalled(4.5)
    assert reason is not None
    assert "not answered within 1.5 s" in reason
    machine.stream_lost(4.5)
    assert machine.stalled(8.0) is None


@pytest.mark.parametrize("ttl", [2, 3, 5, 10, 60])
def test_several_streams_have_their_chance_before_a_term_is_over(ttl: int) -> None:
    machine, now, streams = KeepAlive(), 0.0, 0
    machine.add(7, ttl=float(ttl), granted_at=0.0)
    while machine.expires_at(7) is not None:
        machine.stream_opened(now)
        streams += 1
        while machine.stalled(now) is None and not machine.expire(now):
            machine.to_send(now)
            now = machine.next_wakeup() or now
        machine.stream_lost(now)
        now += 0.05
    assert 3 <= streams <= 15


def test_a_stream_is_judged_by_the_most_urgent_of_its_leases() -> None:
    machine = opened((1, 60.0), (2, 6.0))
    assert silent_until(machine, 0.0) == pytest.approx(2.0 + 4.0 / 4)


def test_any_answer_is_a_sign_of_life_for_all_leases_of_the_stream() -> None:
    machine = opened((1, 9.0), (2, 9.0))
    machine.to_send(3.0)
    answer(machine, 1, 9, now=4.0)
    assert machine.stalled(4.6) is None
    assert machine.stalled(4.0 + 5.0 / 4 - 0.01) is None
    assert machine.stalled(4.0 + 5.0 / 4) is not None


def test_half_an_answer_is_a_sign_of_life_too() -> None:
    machine = opened((7, 9.0))
    machine.to_send(3.0)
    assert machine.stalled(4.6, Signs(stream=4.4)) is None


def test_news_of_others_are_no_renewal() -> None:
    machine = opened((7, 9.0))
    machine.to_send(3.0)
    assert machine.stalled(4.5, Signs(connection=4.4, asked=4.0, answered=4.4)) is not None
    assert not machine.doubts(4.0, Signs(connection=4.4))


def test_nothing_in_flight_condemns_no_stream() -> None:
    machine = opened((7, 9.0))
    assert machine.stalled(100.0) is None
    machine.to_send(3.0)
    answer(machine, 7, 9, now=3.1)
    assert machine.stalled(100.0) is None
    machine.to_send(6.0)
    machine.remove(7)
    assert machine.stalled(100.0) is None


DENIED = PermissionDenied(StatusCode.PERMISSION_DENIED, "etcdserver: permission denied")


def test_the_lease_whose_renewal_is_denied_is_lost_and_no_other() -> None:
    machine = opened((1, 9.0), (2, 9.0))
    machine.to_send(3.0)
    answer(machine, 1, 9, now=3.1)
    assert machine.blame(DENIED) == [Lost(2, DENIED)]
    assert machine.expires_at(1) == 12.0


def test_who_can_log_in_again_does_so_before_a_lease_is_lost_to_a_denial() -> None:
    machine = KeepAlive(has_user=True)
    machine.add(7, ttl=9.0, granted_at=0.0)
    machine.stream_opened(0.0)
    machine.to_send(3.0)
    assert machine.blame(DENIED) == []
    machine.stream_lost(3.1)
    machine.stream_opened(3.2)
    assert sent(machine, 3.2) == [7]
    assert machine.blame(DENIED) == [Lost(7, DENIED)]


def test_a_renewal_that_was_granted_forgives_earlier_denials() -> None:
    machine = KeepAlive(has_user=True)
    machine.add(7, ttl=9.0, granted_at=0.0)
    machine.stream_opened(0.0)
    machine.to_send(3.0)
    assert machine.blame(DENIED) == []
    answer(machine, 7, 9, now=3.1)
    machine.to_send(6.0)
    assert machine.blame(DENIED) == []


def test_no_lease_is_to_blame_for_the_end_of_a_stream_that_is_not_its_own() -> None:
    machine = opened((7, 9.0))
    assert machine.blame(DENIED) == []  # nothing was in flight
    machine.to_send(3.0)
    assert machine.blame(DeadlineExceeded("too late")) == []
    machine.remove(7)
    assert machine.blame(DENIED) == []


def test_answers_belong_to_sends_in_order() -> None:
    machine = opened((7, 9.0))
    assert [sent(machine, now) for now in (3.0, 4.0)] == [[7], [7]]
    assert answer(machine, 7, 9, now=4.5) == [Renewed(7, 9.0, 12.0)]
    assert answer(machine, 7, 9, now=4.6) == [Renewed(7, 9.0, 13.0)]
    assert answer(machine, 7, 9, now=4.7) == []  # to nothing we asked
    assert machine.expires_at(7) == 13.0


def test_a_renewal_still_in_flight_keeps_a_late_answer_from_causing_another_at_once() -> None:
    machine = opened((7, 9.0))
    machine.to_send(3.0)
    machine.to_send(6.9)
    answer(machine, 7, 9, now=7.0)  # to the first: a third of that term is past already
    assert sent(machine, 7.0) == []
    assert sent(machine, 7.9) == [7]


def test_an_answer_whose_term_is_over_already_renews_nothing() -> None:
    machine = opened((7, 9.0))
    machine.to_send(3.0)
    assert answer(machine, 7, 2, now=5.5) == []
    assert machine.expires_at(7) == 9.0


@pytest.mark.parametrize("ttl", [0, -1])
def test_a_term_of_nothing_means_the_lease_is_gone(ttl: int) -> None:
    machine = opened((7, 9.0))
    machine.to_send(3.0)
    [lost] = answer(machine, 7, ttl, now=3.1)
    assert isinstance(lost, Lost)
    assert isinstance(lost.reason, LeaseNotFound)
    assert machine.next_wakeup() is None
    assert not machine.wants_stream


def test_a_new_stream_renews_at_once_what_was_in_flight() -> None:
    machine = opened((7, 9.0), (8, 30.0))
    machine.to_send(3.0)
    machine.stream_lost(3.5)
    machine.stream_opened(3.6)
    assert sent(machine, 3.6) == [7]
    assert answer(machine, 7, 9, now=4.0) == [Renewed(7, 9.0, 12.6)]


def test_without_a_stream_only_the_end_of_terms_is_waited_for() -> None:
    machine = opened((7, 9.0))
    machine.to_send(3.0)
    machine.stream_lost(3.5)
    assert machine.next_wakeup() == 9.0
    assert machine.expire(9.0)


def test_an_answer_for_a_removed_lease_is_ignored() -> None:
    machine = opened((7, 9.0))
    machine.to_send(3.0)
    machine.remove(7)
    machine.remove(7)
    assert answer(machine, 7, 9, now=3.1) == []
    assert machine.next_wakeup() is None


def test_a_lease_added_again_does_not_inherit_the_answers_of_the_old_one() -> None:
    machine = opened((7, 9.0))
    machine.to_send(3.0)
    machine.remove(7)
    machine.add(7, ttl=9.0, granted_at=3.5)
    assert answer(machine, 7, 0, now=4.0) == []  # the old one had been revoked
    assert sent(machine, 6.5) == [7]
    assert answer(machine, 7, 9, now=6.6) == [Renewed(7, 9.0, 15.5)]


def test_giving_up_loses_every_lease_with_the_reason() -> None:
    machine = opened((7, 9.0), (8, 9.0))
    error = PermissionDenied(StatusCode.PERMISSION_DENIED, "etcdserver: permission denied")
    assert machine.fail_all(error) == [Lost(7, error), Lost(8, error)]
    assert not machine.wants_stream


def test_a_stream_is_wanted_while_there_is_a_lease() -> None:
    machine = KeepAlive()
    assert not machine.wants_stream
    machine.add(7, ttl=9.0, granted_at=0.0)
    assert machine.wants_stream


def test_the_most_urgent_lease_is_renewed_first() -> None:
    machine = opened((1, 60.0), (2, 9.0), (3, 30.0))
    assert sent(machine, 25.0) == [2, 3, 1]


@dataclass
class Server:
    """What etcd does with the renewals of one stream: it begins a term when it handles one, and answers in order."""

    terms: dict[int, float] = field(default_factory=dict)  # when each lease ends
    ttls: dict[int, int] = field(default_factory=dict)
    requests: deque[int] = field(default_factory=deque)
    answers: deque[KeepAliveResponse] = field(default_factory=deque)

    def grant(self, lease_id: int, ttl: int, now: float) -> None:
        self.ttls[lease_id] = ttl
        self.terms[lease_id] = now + ttl

    def handle(self, now: float) -> None:
        lease_id = self.requests.popleft()
        ttl = self.ttls[lease_id]
        is_alive = self.terms.get(lease_id, 0.0) > now
        if is_alive:
            self.terms[lease_id] = now + ttl
        self.answers.append(KeepAliveResponse(id=lease_id, ttl=ttl if is_alive else 0))


class Renewals(RuleBasedStateMachine):
    """Requests and answers are late by any time, streams are cut, leases are revoked and granted again."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.machine = KeepAlive()
        self.server = Server()
        self.is_open = False
        self.believed: set[int] = set()

    def take(self, outputs: list[Renewed | Lost]) -> None:
        for output in outputs:
            if isinstance(output, Lost):
                self.believed.remove(output.lease_id)
            else:
                assert output.expires_at == self.machine.expires_at(output.lease_id)

    @rule(lease_id=st.integers(1, 3), ttl=st.integers(2, 20), delay=st.floats(0, 1))
    def grant(self, lease_id: int, ttl: int, delay: float) -> None:
        if self.server.terms.get(lease_id, 0.0) > self.now:
            return
        asked_at = self.now
        self.now += delay
        self.server.grant(lease_id, ttl, self.now)
        self.machine.add(lease_id, ttl=float(ttl), granted_at=asked_at)
        self.believed.add(lease_id)

    @rule(lease_id=st.integers(1, 3))
    def release(self, lease_id: int) -> None:
        self.machine.remove(lease_id)
        self.server.terms.pop(lease_id, None)
        self.believed.discard(lease_id)

    @rule(delay=st.floats(0, 5))
    def wait(self, delay: float) -> None:
        self.now += delay

    @rule()
    def wait_until_asked(self) -> None:
        self.now = max(self.now, self.machine.next_wakeup() or 0.0)

    @precondition(lambda self: not self.is_open)
    @rule()
    def open(self) -> None:
        self.machine.stream_opened(self.now)
        self.is_open = True

    @precondition(lambda self: self.is_open)
    @rule()
    def cut(self) -> None:
        self.machine.stream_lost(self.now)
        self.server.requests.clear()
        self.server.answers.clear()
        self.is_open = False

    @precondition(lambda self: self.is_open)
    @rule()
    def send(self) -> None:
        self.server.requests += [request.id for request in self.machine.to_send(self.now)]
        assert sent(self.machine, self.now) == []

    @precondition(lambda self: self.server.requests)
    @rule()
    def handle(self) -> None:
        self.server.handle(self.now)

    @precondition(lambda self: self.server.answers)
    @rule()
    def receive(self) -> None:
        outputs = self.machine.receive(self.server.answers.popleft(), self.now)
        self.take([output for output in outputs if isinstance(output, Renewed | Lost)])

    @rule()
    def expire(self) -> None:
        self.take(self.machine.expire(self.now))

    @invariant()
    def no_lease_is_believed_alive_after_its_end_on_the_server(self) -> None:
        for lease_id in self.believed:
            expires_at = self.machine.expires_at(lease_id)
            assert expires_at is not None
            assert expires_at <= self.server.terms.get(lease_id, 0.0)

    @invariant()
    def the_machine_wakes_no_later_than_a_term_ends(self) -> None:
        ends = [self.machine.expires_at(lease_id) for lease_id in self.believed]
        wakeup = self.machine.next_wakeup()
        assert (wakeup is None) is (not ends)
        assert wakeup is None or wakeup <= min(end for end in ends if end is not None)


TestRenewals = Renewals.TestCase
TestRenewals.settings = settings(max_examples=100, stateful_step_count=50)


@pytest.mark.parametrize("ttl", [2, 5, 10, 60])
def test_a_lease_lives_as_long_as_answers_come_within_a_third_of_its_term(ttl: int) -> None:
    machine, now = opened((7, float(ttl))), 0.0
    for step in range(300):
        now = machine.next_wakeup() or 0.0
        assert machine.expire(now) == []
        count = len(sent(machine, now))
        delay = (step % 7) / 7 * ttl / 3
        for _ in range(count):
            assert answer(machine, 7, ttl, now + delay) == [Renewed(7, float(ttl), now + ttl)]


def test_a_thousand_leases_are_renewed_without_looking_at_each_every_time() -> None:
    machine = opened(*((lease_id, 30.0 + lease_id / 100) for lease_id in range(1, 1001)))
    looks, now = 0, 0.0
    while now < 100.0:
        now = machine.next_wakeup() or 0.0
        for lease_id in sent(machine, now):
            answer(machine, lease_id, 30, now)
        looks += 1
    assert all(machine.expires_at(lease_id) for lease_id in range(1, 1001))
    assert looks < 12_000
