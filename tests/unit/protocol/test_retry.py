"""Which failed attempts are repeated, which writes never, and after how long."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcd_async._protocol.retry import (
    MAX_ATTEMPTS,
    MAX_DOWN_ROUNDS,
    MAX_STALE,
    Action,
    Outcome,
    Retries,
    classify,
    wait,
)
from etcd_async.errors import StatusCode, error_for
from etcd_async.options import Backoff

STEADY = Backoff(initial=1.0, factor=2.0, maximum=5.0, jitter=0.0)


def retries(*, repeatable: bool = True, endpoints: int = 1, has_credentials: bool = True) -> Retries:
    return Retries(repeatable, endpoints, has_credentials, STEADY, Random(1))


@pytest.mark.parametrize(
    ("code", "message", "outcome"),
    [
        (StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token", Outcome.STALE_TOKEN),
        (StatusCode.INVALID_ARGUMENT, "etcdserver: revision of auth store is old", Outcome.STALE_TOKEN),
        (StatusCode.INVALID_ARGUMENT, "etcdserver: user name is empty", Outcome.STALE_TOKEN),
        (StatusCode.UNAVAILABLE, "etcdserver: no leader", Outcome.NOT_SERVED),
        (StatusCode.FAILED_PRECONDITION, "etcdserver: rpc not supported for learner", Outcome.WRONG_MEMBER),
        (StatusCode.UNAVAILABLE, "etcdserver: request timed out", Outcome.UNSURE),
        (StatusCode.UNAVAILABLE, "etcdserver: request timed out, possibly due to connection lost", Outcome.UNSURE),
        (StatusCode.UNAVAILABLE, "etcdserver: server stopped", Outcome.UNSURE),
        (StatusCode.UNAVAILABLE, "etcdserver: leader changed", Outcome.UNSURE),
        (StatusCode.UNAVAILABLE, "upstream connect error", Outcome.UNSURE),
        (StatusCode.CANCELED, "etcdserver: request canceled", Outcome.UNSURE),
        (StatusCode.DEADLINE_EXCEEDED, "context deadline exceeded", Outcome.UNSURE),
        (StatusCode.UNAVAILABLE, "etcdserver: unhealthy cluster", Outcome.REFUSED),
        (StatusCode.RESOURCE_EXHAUSTED, "etcdserver: too many requests", Outcome.REFUSED),
        (StatusCode.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded", Outcome.REFUSED),
        (StatusCode.NOT_FOUND, "etcdserver: requested lease not found", Outcome.REFUSED),
        (StatusCode.PERMISSION_DENIED, "etcdserver: permission denied", Outcome.REFUSED),
        (StatusCode.UNIMPLEMENTED, "unknown method", Outcome.REFUSED),
        (StatusCode.UNKNOWN, "lease: not primary", Outcome.FAILED),
        (StatusCode.INTERNAL, "panic", Outcome.FAILED),
        (StatusCode.DATA_LOSS, "etcdserver: corrupt cluster", Outcome.FAILED),
    ],
)
def test_the_servers_words_say_what_became_of_the_request(code: StatusCode, message: str, outcome: Outcome) -> None:
    assert classify(error_for(code, message)) is outcome


@pytest.mark.parametrize(
    ("outcome", "read", "write", "maybe_applied"),
    [
        (Outcome.NOT_SENT, Action.RETRY, Action.RETRY, False),
        (Outcome.DOWN, Action.RETRY, Action.RETRY, False),
        (Outcome.NOT_SERVED, Action.RETRY, Action.RETRY, False),
        (Outcome.WRONG_MEMBER, Action.RETRY, Action.RETRY, False),
        (Outcome.STALE_TOKEN, Action.REFRESH_TOKEN, Action.REFRESH_TOKEN, False),
        (Outcome.LOST, Action.RETRY, Action.GIVE_UP, True),
        (Outcome.UNSURE, Action.RETRY, Action.GIVE_UP, True),
        (Outcome.FAILED, Action.GIVE_UP, Action.GIVE_UP, True),
        (Outcome.REFUSED, Action.GIVE_UP, Action.GIVE_UP, False),
    ],
)
def test_the_table_of_the_module_holds(outcome: Outcome, read: Action, write: Action, maybe_applied: bool) -> None:
    of_read, of_write = retries(endpoints=2), retries(endpoints=2, repeatable=False)
    assert of_read.decide(outcome).action is read
    assert of_write.decide(outcome).action is write
    assert of_write.maybe_applied is maybe_applied


def test_a_call_that_was_unsure_once_stays_so() -> None:
    call = retries()
    call.decide(Outcome.LOST)
    call.decide(Outcome.NOT_SENT)
    assert call.decide(Outcome.REFUSED).action is Action.GIVE_UP
    assert call.maybe_applied


def test_a_token_is_refreshed_at_once_and_a_few_times_more_ever_later() -> None:
    call = retries()
    decisions = [call.decide(Outcome.STALE_TOKEN) for _ in range(MAX_STALE)]
    assert [decision.action for decision in decisions] == [Action.REFRESH_TOKEN] * 3 + [Action.GIVE_UP]
    assert [decision.delay for decision in decisions[:3]] == [0.0, 1.0, 2.0]


def test_without_credentials_a_refused_call_is_made_again_a_few_times_since_a_member_may_lag_behind() -> None:
    call = retries(has_credentials=False)
    decisions = [call.decide(Outcome.STALE_TOKEN) for _ in range(MAX_STALE)]
    assert [decision.action for decision in decisions] == [Action.RETRY] * 3 + [Action.GIVE_UP]
    assert [decision.delay for decision in decisions[:3]] == [1.0, 2.0, 4.0]


def test_a_learner_is_left_for_another_member_until_all_were_tried() -> None:
    call = retries(endpoints=3)
    actions = [call.decide(Outcome.WRONG_MEMBER).action for _ in range(3)]
    assert actions == [Action.RETRY, Action.RETRY, Action.GIVE_UP]
    assert retries(endpoints=1).decide(Outcome.WRONG_MEMBER).action is Action.GIVE_UP


def test_the_other_endpoints_are_tried_before_any_wait() -> None:
    call = retries(endpoints=3)
    delays = [call.decide(Outcome.NOT_SERVED).delay for _ in range(9)]
    assert delays == [0, 0, 1.0, 0, 0, 2.0, 0, 0, 4.0]


def test_a_call_gives_up_when_every_endpoint_was_down_twice() -> None:
    call = retries(endpoints=2, repeatable=False)
    actions = [call.decide(Outcome.DOWN).action for _ in range(2 * MAX_DOWN_ROUNDS)]
    assert actions == [Action.RETRY] * (2 * MAX_DOWN_ROUNDS - 1) + [Action.GIVE_UP]
    assert not call.maybe_applied


def test_a_server_that_may_just_restart_is_waited_for() -> None:
    call = retries(repeatable=False)
    assert {call.decide(Outcome.NOT_SENT).action for _ in range(MAX_ATTEMPTS - 1)} == {Action.RETRY}


def test_a_missing_leader_is_waited_for_longer_but_not_for_ever() -> None:
    call = retries()
    actions = [call.decide(Outcome.NOT_SERVED).action for _ in range(MAX_ATTEMPTS)]
    assert actions == [Action.RETRY] * (MAX_ATTEMPTS - 1) + [Action.GIVE_UP]


@given(st.lists(st.sampled_from(Outcome), max_size=30), st.integers(1, 5))
def test_a_write_is_never_repeated_once_it_may_have_been_applied(outcomes: list[Outcome], endpoints: int) -> None:
    call = retries(repeatable=False, endpoints=endpoints)
    for outcome in outcomes:
        decision = call.decide(outcome)
        assert call.maybe_applied is outcome.is_ambiguous
        if decision.action is Action.GIVE_UP:
            return
        assert not outcome.is_ambiguous


def test_waits_grow_to_their_maximum() -> None:
    assert [wait(STEADY, failures, Random(1)) for failures in (0, 1, 2, 3, 10_000)] == [1.0, 2.0, 4.0, 5.0, 5.0]


@given(st.integers(0, 100), st.integers())
def test_jitter_stays_within_its_share(failures: int, seed: int) -> None:
    jittered = Backoff(initial=1.0, factor=2.0, maximum=5.0, jitter=0.2)
    plain = wait(STEADY, failures, Random(seed))
    assert 0.8 * plain - 1e-9 <= wait(jittered, failures, Random(seed)) <= 1.2 * plain + 1e-9


def test_jitter_spreads_clients() -> None:
    assert len({wait(Backoff(), 3, Random(seed)) for seed in range(20)}) == 20
