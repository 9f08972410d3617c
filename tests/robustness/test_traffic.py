"""What clients choose to do: from their seed and what they saw, within what the judges know."""

from random import Random

import pytest

from etcd_async import ops
from etcd_async.types import KeyValue
from tests.robustness.history import Answer, Grant, Request, Revoke
from tests.robustness.recorder import kind_of
from tests.robustness.traffic import KEYS, Choices, Supplies, is_fuzzy, is_write


def requests(seed: int, number: int = 2000, *, has_safe_reads: bool = True) -> list[Request]:
    """Return what a client chooses whose leases are all granted and who has seen one key."""
    choices = Choices(Random(seed), Supplies(has_safe_reads=has_safe_reads))
    choices.learn(ops.get(KEYS[0]), Answer(kvs=(KeyValue(KEYS[0], b"x", 3, 4, 2),)))
    chosen = []
    for _ in range(number):
        request = choices.next(revision=100)
        chosen.append(request)
        if isinstance(request, Grant):
            choices.learn(request, Answer(lease=request.lease))
    return chosen


def writes(request: Request) -> list[ops.Put | ops.Delete]:
    """Return the single writes of a request, of both branches if it is a transaction."""
    parts = request.success + request.failure if isinstance(request, ops.Txn) else (request,)
    return [part for part in parts if isinstance(part, ops.Put | ops.Delete)]


def test_a_seed_is_a_sequence_of_choices() -> None:
    assert requests(1) == requests(1)
    assert requests(1) != requests(2)


def test_everything_is_done() -> None:
    assert {kind_of(request) for request in requests(1)} == {"get", "range", "put", "txn", "delete", "grant", "revoke"}


def test_no_value_and_no_lease_occurs_twice() -> None:
    chosen = requests(1)
    values = [part.value for request in chosen for part in writes(request) if isinstance(part, ops.Put)]
    leases = [request.lease for request in chosen if isinstance(request, Grant)]
    assert len(set(values)) == len(values) > 0
    assert len(set(leases)) == len(leases) > 0


def test_a_lease_is_used_after_its_grant_and_not_after_its_end() -> None:
    held = 0
    for request in requests(1):
        if isinstance(request, Grant):
            assert held == 0
            held = request.lease
        elif isinstance(request, Revoke):
            assert request.lease == held
            held = 0
        elif isinstance(request, ops.Put) and request.lease:
            assert request.lease == held


@pytest.mark.parametrize("seed", range(3))
def test_no_branch_writes_a_key_twice(seed: int) -> None:
    for request in requests(seed):
        if isinstance(request, ops.Txn):
            for branch in (request.success, request.failure):
                keys = [part.key for part in branch if isinstance(part, ops.Put | ops.Delete)]
                assert len(set(keys)) == len(keys)


def test_read_only_transactions_are_left_out_where_they_kill_the_server() -> None:
    def reads(*, has_safe_reads: bool) -> int:
        chosen = requests(1, has_safe_reads=has_safe_reads)
        return sum(isinstance(request, ops.Txn) and request.is_read_only for request in chosen)

    assert reads(has_safe_reads=True) > 0
    assert reads(has_safe_reads=False) == 0


def test_what_can_not_be_told_from_another_is_a_write_and_rare() -> None:
    chosen = requests(1)
    fuzzy = [request for request in chosen if is_fuzzy(request)]
    assert all(is_write(request) for request in fuzzy)
    assert 0 < len(fuzzy) < len(chosen) / 5
    assert not is_fuzzy(Choices(Random(1), Supplies()).instead())


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (ops.get("/a"), False),
        (ops.Range(b"/a"), False),
        (ops.txn([], [ops.get("/a")]), False),
        (ops.txn([], [ops.get("/a")], [ops.put("/a")]), True),
        (ops.delete("/a"), True),
        (Revoke(1), True),
    ],
)
def test_reads_are_told_from_writes(request_: Request, expected: bool) -> None:
    assert is_write(request_) is expected
