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
    Budget,
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
        (StatusCode.UNKNOWN, "raft proposal dropped", Outcome.NOT_SERVED),
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
        (StatusCode.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded", Outcome.FAILED),
        (StatusCode.NOT_FOUND, "etcdserver: requested lease not found", Outcome.REFUSED),
        (StatusCode.PERMISSION_DENIED, "etcdserver: permission denied", Outcome.REFUSED),
        (StatusCode.UNIMPLEMENTED, "unknown method", Outcome.REFUSED),
        (StatusCode.UNKNOWN, "lease: not primary", Outcome.FAILED),
        (StatusCode.INTERNAL, "panic", Outcome.FAILED),
        (StatusCode.DATA_LOSS, "etcdserver: corrupt cluster", Outcome.REFUSED),
        (StatusCode.DATA_LOSS, "something else", Outcome.FAILED),
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
    assert [decision.action for decision in decisions] == [Action.REFRESH_TOKEN] * 5 + [Action.GIVE_UP]
    assert [decision.delay for decision in decisions[:5]] == [0.0, 1.0, 2.0, 4.0, 5.0]


def test_without_credentials_a_refused_call_is_made_again_a_few_times_since_a_member_may_lag_behind() -> None:
    call = retries(has_credentials=False)
    decisions = [call.decide(Outcome.STALE_TOKEN) for _ in range(MAX_STALE)]
    assert [decision.action for decision in decisions] == [Action.RETRY] * 5 + [Action.GIVE_UP]
    assert [decision.delay for decision in decisions[:5]] == [1.0, 2.0, 4.0, 5.0, 5.0]


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


# Every error of etcd (api/v3rpc/rpctypes/error.go) that may answer a write, and what it proves: those of requests that
# were refused before they were proposed, or that found when they were applied that they could not be; and those after
# which nobody knows (server/etcdserver/v3_server.go, processInternalRaftRequestOnce).
NOT_APPLIED = [
    ("INVALID_ARGUMENT", "etcdserver: key is not provided"),
    ("INVALID_ARGUMENT", "etcdserver: key not found"),
    ("INVALID_ARGUMENT", "etcdserver: value is provided"),
    ("INVALID_ARGUMENT", "etcdserver: lease is provided"),
    ("INVALID_ARGUMENT", "etcdserver: too many operations in txn request"),
    ("INVALID_ARGUMENT", "etcdserver: duplicate key given in txn request"),
    ("INVALID_ARGUMENT", "etcdserver: invalid client api version"),
    ("INVALID_ARGUMENT", "etcdserver: invalid sort option"),
    ("OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted"),
    ("OUT_OF_RANGE", "etcdserver: mvcc: required revision is a future revision"),
    ("NOT_FOUND", "etcdserver: requested lease not found"),
    ("FAILED_PRECONDITION", "etcdserver: lease already exists"),
    ("OUT_OF_RANGE", "etcdserver: too large lease TTL"),
    ("FAILED_PRECONDITION", "etcdserver: member ID already exist"),
    ("FAILED_PRECONDITION", "etcdserver: Peer URLs already exists"),
    ("FAILED_PRECONDITION", "etcdserver: re-configuration failed due to not enough started members"),
    ("INVALID_ARGUMENT", "etcdserver: given member URLs are invalid"),
    ("NOT_FOUND", "etcdserver: member not found"),
    ("FAILED_PRECONDITION", "etcdserver: can only promote a learner member"),
    ("FAILED_PRECONDITION", "etcdserver: can only promote a learner member which is in sync with leader"),
    ("FAILED_PRECONDITION", "etcdserver: too many learner members in cluster"),
    ("FAILED_PRECONDITION", "etcdserver: cluster ID mismatch"),
    ("INVALID_ARGUMENT", "etcdserver: request is too large"),
    ("RESOURCE_EXHAUSTED", "etcdserver: too many requests"),
    ("FAILED_PRECONDITION", "etcdserver: root user does not exist"),
    ("FAILED_PRECONDITION", "etcdserver: root user does not have root role"),
    ("FAILED_PRECONDITION", "etcdserver: user name already exists"),
    ("INVALID_ARGUMENT", "etcdserver: user name is empty"),
    ("FAILED_PRECONDITION", "etcdserver: user name not found"),
    ("FAILED_PRECONDITION", "etcdserver: role name already exists"),
    ("FAILED_PRECONDITION", "etcdserver: role name not found"),
    ("INVALID_ARGUMENT", "etcdserver: role name is empty"),
    ("INVALID_ARGUMENT", "etcdserver: authentication failed, invalid user ID or password"),
    ("INVALID_ARGUMENT", "etcdserver: permission not given"),
    ("PERMISSION_DENIED", "etcdserver: permission denied"),
    ("FAILED_PRECONDITION", "etcdserver: role is not granted to the user"),
    ("FAILED_PRECONDITION", "etcdserver: permission is not granted to the role"),
    ("FAILED_PRECONDITION", "etcdserver: authentication is not enabled"),
    ("UNAUTHENTICATED", "etcdserver: invalid auth token"),
    ("INVALID_ARGUMENT", "etcdserver: invalid auth management"),
    ("INVALID_ARGUMENT", "etcdserver: revision of auth store is old"),
    ("UNAVAILABLE", "etcdserver: no leader"),
    ("FAILED_PRECONDITION", "etcdserver: not leader"),
    ("FAILED_PRECONDITION", "etcdserver: not capable"),
    ("UNAVAILABLE", "etcdserver: unhealthy cluster"),
    ("DATA_LOSS", "etcdserver: corrupt cluster"),
    ("FAILED_PRECONDITION", "etcdserver: rpc not supported for learner"),
    ("FAILED_PRECONDITION", "etcdserver: bad leader transferee"),
    ("INVALID_ARGUMENT", "etcdserver: wrong downgrade target version format"),
    ("INVALID_ARGUMENT", "etcdserver: invalid downgrade target version"),
    ("FAILED_PRECONDITION", "etcdserver: cluster version not found during downgrade"),
    ("FAILED_PRECONDITION", "etcdserver: cluster has a downgrade job in progress"),
    ("FAILED_PRECONDITION", "etcdserver: no inflight downgrade job"),
]
UNKNOWN = [
    ("UNAVAILABLE", "etcdserver: leader changed"),
    ("UNAVAILABLE", "etcdserver: server stopped"),
    ("UNAVAILABLE", "etcdserver: request timed out"),
    ("UNAVAILABLE", "etcdserver: request timed out, possibly due to previous leader failure"),
    ("UNAVAILABLE", "etcdserver: request timed out, possibly due to connection lost"),
    ("UNAVAILABLE", "etcdserver: request timed out, waiting for the applied index took too long"),
    ("CANCELED", "etcdserver: request canceled"),
    ("DEADLINE_EXCEEDED", "etcdserver: context deadline exceeded"),
]


@pytest.mark.parametrize(("code", "message"), NOT_APPLIED)
def test_an_error_that_proves_that_nothing_was_applied_says_so(code: str, message: str) -> None:
    assert not classify(error_for(StatusCode[code], message)).is_ambiguous


@pytest.mark.parametrize(("code", "message"), UNKNOWN)
def test_after_an_error_that_proves_nothing_a_write_may_have_been_applied_and_is_not_repeated(
    code: str, message: str
) -> None:
    writes = retries(repeatable=False)
    assert writes.decide(classify(error_for(StatusCode[code], message))).action is Action.GIVE_UP
    assert writes.maybe_applied
    assert retries().decide(classify(error_for(StatusCode[code], message))).action is Action.RETRY


@pytest.mark.parametrize("outcome", Outcome)
def test_only_what_has_reached_a_server_costs_something(outcome: Outcome) -> None:
    assert outcome.has_cost is (outcome not in (Outcome.NOT_SENT, Outcome.DOWN))
    decision = retries(endpoints=3).decide(outcome)
    if decision.action is Action.RETRY:
        assert decision.has_cost is outcome.has_cost


def test_rounds_are_counted_over_all_endpoints() -> None:
    several = retries(endpoints=3)
    rounds = []
    for _ in range(6):
        several.decide(Outcome.NOT_SENT)
        rounds.append(several.rounds)
    assert rounds == [0, 0, 1, 1, 1, 2]


# The budget.


def test_a_budget_is_full_at_first_and_pays_until_it_is_empty() -> None:
    budget = Budget(size=3, rate=1, share=0.5)
    assert not budget.is_short
    assert [budget.spend(10.0) for _ in range(5)] == [True, True, True, False, False]
    assert budget.is_short


def test_time_fills_a_budget_up_to_its_size() -> None:
    budget = Budget(size=3, rate=2, share=0.5)
    for _ in range(3):
        budget.spend(10.0)
    assert budget.spend(10.5)
    assert not budget.spend(10.9)
    assert [budget.spend(1000.0) for _ in range(4)] == [True, True, True, False]


def test_answers_fill_a_budget_a_little_and_what_was_worth_it_costs_nothing() -> None:
    budget = Budget(size=2, rate=1, share=0.5)
    for _ in range(2):
        budget.spend(10.0)
    budget.earn()
    assert not budget.spend(10.0)
    budget.earn()
    assert budget.spend(10.0)
    budget.refund()
    assert budget.spend(10.0)
    for _ in range(4):
        budget.earn()
    assert not budget.is_short


@given(st.lists(st.tuples(st.floats(0, 2), st.booleans()), max_size=200))
def test_a_failure_that_lasts_is_not_multiplied(steps: list[tuple[float, bool]]) -> None:
    budget = Budget(size=5, rate=2, share=0.1)
    now, spent, answers = 0.0, 0, 0
    for passed, is_answer in steps:
        now += passed
        if is_answer:
            budget.earn()
            answers += 1
        else:
            spent += budget.spend(now)
    assert spent <= 5 + 2 * now + 0.1 * answers + 1e-6


def test_calls_that_wait_for_their_turn_do_not_ask_all_at_once() -> None:
    budget = Budget(rate=50)
    pauses = {budget.pause(Random(seed)) for seed in range(20)}
    assert len(pauses) == 20
    assert all(0.1 <= pause <= 0.2 for pause in pauses)
