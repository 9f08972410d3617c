"""Which endpoint a call goes to next, and when those that are set aside are probed."""

from random import Random

import pytest

from etcd_async._protocol.endpoints import Endpoint, parse
from etcd_async._protocol.pool import MEMORY, Health, Pool
from etcd_async.options import Backoff

STEADY = Backoff(initial=1.0, factor=2.0, maximum=5.0, jitter=0.0)
A, B, C = (parse(f"http://{name}:1") for name in "abc")


def pool(*endpoints: Endpoint, seed: int = 0) -> Pool:
    return Pool(endpoints or (A, B, C), backoff=STEADY, random=Random(seed))


def turns(of: Pool, number: int = 6) -> set[Endpoint]:
    return {of.choose() for _ in range(number)}


def test_endpoints_are_taken_in_turn() -> None:
    of = pool()
    chosen = [of.choose() for _ in range(6)]
    assert chosen[:3] == chosen[3:]
    assert set(chosen) == {A, B, C}


def test_clients_with_one_list_start_at_different_members() -> None:
    assert {pool(seed=seed).choose() for seed in range(30)} == {A, B, C}


def test_the_same_endpoint_twice_counts_once() -> None:
    assert len(pool(A, B, A)) == 2


def test_no_endpoint_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Pool([], backoff=STEADY, random=Random(0))


def test_a_failed_endpoint_gets_no_calls_until_something_has_come_from_it() -> None:
    of = pool(A, B)
    seen = [(of.has_aside, turns(of))]
    of.failed(A, 10.0, "refused")
    seen.append((of.has_aside, turns(of)))
    of.succeeded(A, started=11.0, now=11.1)
    seen.append((of.has_aside, turns(of)))
    assert seen == [(False, {A, B}), (True, {B}), (False, {A, B})]


def test_the_others_go_on_in_turn() -> None:
    of = pool()
    of.failed(B, 0.0, "refused")
    chosen = [of.choose() for _ in range(4)]
    assert chosen[:2] == chosen[2:]
    assert set(chosen) == {A, C}


def test_what_was_started_before_an_endpoint_failed_proves_nothing_when_it_is_answered() -> None:
    of = pool(A, B)
    of.failed(A, 10.0, "no answer")
    of.succeeded(A, started=9.9, now=12.0)
    assert of.is_aside(A)


def test_excluded_endpoints_are_left_out_while_others_are_left() -> None:
    of = pool()
    assert {of.choose([A, B]) for _ in range(4)} == {C}
    of.failed(C, 0.0, "refused")
    assert {of.choose([A, B]) for _ in range(4)} == {C}
    assert {of.choose([A, B, C]) for _ in range(4)} == {A, B}


def test_if_all_are_set_aside_the_one_to_be_probed_first_is_taken() -> None:
    of = pool()
    for endpoint, at in ((B, 0.0), (C, 0.1), (A, 0.2)):
        of.failed(endpoint, at, "refused")
    assert turns(of) == {B}
    assert of.choose([B]) == C


def test_a_probe_is_due_after_a_wait_that_grows_with_failures_in_a_row_up_to_its_maximum() -> None:
    of = pool(A, B)
    assert of.probe_at(A) is None
    now, waits = 0.0, []
    for _ in range(5):
        of.failed(A, now, "refused")
        due = of.probe_at(A)
        assert due is not None
        waits.append(due - now)
        now = due
    assert waits == [1, 2, 4, 5, 5]


def test_many_calls_failing_at_once_count_as_one_failure() -> None:
    of = pool(A, B)
    for _ in range(64):
        of.failed(A, 5.0, "connection lost")
    of.failed(A, 5.5, "refused")
    assert of.health()[0] == Health(A, False, 1, 5.0, "refused")
    assert of.probe_at(A) == 6.0


def test_an_endpoint_that_comes_and_goes_is_probed_less_and_less() -> None:
    of = pool(A, B)
    waits = []
    for now in (0.0, 10.0, 20.0, 30.0):
        of.failed(A, now, "no answer")
        waits.append((of.probe_at(A) or 0.0) - now)
        of.succeeded(A, now + 5, now + 5)
    assert waits == [1, 2, 4, 5]


def test_what_is_long_ago_is_forgotten() -> None:
    of = pool(A, B)
    of.failed(A, 0.0, "no answer")
    of.failed(A, 1.0, "no answer")
    of.succeeded(A, 5.0, 5.0)
    of.failed(A, 5.1 + MEMORY, "no answer")
    assert of.health()[0].failures == 1


def test_the_state_tells_since_when_and_why_and_its_version_that_it_has_changed() -> None:
    of = pool(A, B)
    versions = [of.version]
    of.failed(B, 3.0, "refused")
    versions.append(of.version)
    of.failed(B, 9.0, "timed out")
    versions.append(of.version)
    assert of.health() == (Health(A), Health(B, False, 2, 3.0, "timed out"))
    of.succeeded(B, 10.0, 10.0)
    versions.append(of.version)
    assert of.health() == (Health(A), Health(B))
    assert len(set(versions)) == 4
    of.succeeded(B, 11.0, 11.0)
    of.failed(C, 12.0, "none of ours")
    assert of.version == versions[-1]


def test_a_new_list_keeps_what_is_known_of_those_that_stay() -> None:
    of = pool(A, B)
    of.failed(A, 1.0, "refused")
    of.failed(B, 1.0, "refused")
    of.replace([C, B])
    assert of.health() == (Health(C), Health(B, False, 1, 1.0, "refused"))
    assert turns(of) == {C}
    of.replace([A, C])
    assert turns(of) == {A, C}
    with pytest.raises(ValueError, match="at least one"):
        of.replace([])
