"""The judges that need no Go accept what is good, and reject each kind of spoiled history by the rule it breaks."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etcd_async import Event, KeyValue, ops
from tests.robustness import history as histories
from tests.robustness.history import Answer, Failure, Grant, History, Operation, Revoke, answer, failure
from tests.robustness.judges import Rejected, judge_without_go
from tests.robustness.samples import (
    ALL,
    LOST,
    PAST,
    PUT,
    READ,
    REFUSED,
    STALE,
    A,
    B,
    D,
    Tape,
    answer_of,
    sample,
    with_answer,
    with_event,
    with_more,
    with_operation,
    with_outcome,
)
from tests.robustness.simulation import simulate

LAST = 11  # revision of the sample
LATER = LAST + 1


def spoiled_kvs(history: History, number: int) -> History:
    """Change the version of the first key that a read found."""
    first, *others = answer_of(history.operations[number]).kvs
    return with_answer(history, number, kvs=(replace(first, version=first.version + 1), *others))


def overlapping(history: History) -> History:
    return with_operation(history, PUT, lambda operation: replace(operation, end=operation.end + 5))


def ended_early(history: History) -> History:
    return with_operation(history, PUT, lambda operation: replace(operation, end=operation.call - 1))


def another_value(history: History) -> History:
    return with_operation(history, PUT, lambda operation: replace(operation, request=ops.put(A, "other")))


def lost_write(history: History) -> History:
    """Etcd answered a put, and the log knows nothing of it."""
    return with_more(history, ops.put(D, "lost"), Answer(LAST))


def read_only_of_itself(history: History) -> History:
    """A client reads an older revision than it has seen."""
    return with_more(history, ALL, answer_of(history.operations[READ]), client=1)


def event_of(operation: Operation, *, version: int = 1, before: KeyValue | None = None) -> Event:
    """Return the event that a put would make as the next revision."""
    request = operation.request
    assert isinstance(request, ops.Put)
    created = before.create_revision if before else LATER
    return Event("put", KeyValue(request.key, request.value, created, LATER, version), before)


def written_twice(history: History) -> History:
    """An answered put is in the log a second time."""
    return with_event(history, event_of(history.operations[PUT]))


def lost_written_twice(history: History) -> History:
    """A put with unknown outcome is in the log twice."""
    before = next(each.kv for each in history.reference if each.kv.key == D)
    return with_event(history, event_of(history.operations[LOST], version=2, before=before))


def refused_but_written(history: History) -> History:
    """A put that was certainly not carried out is in the log."""
    before = next(each.kv for each in history.reference if each.kv.key == D)
    return with_event(history, event_of(history.operations[REFUSED], version=2, before=before))


def unexplained(history: History) -> History:
    return with_event(history, Event("put", KeyValue(b"e", b"alien", LATER, LATER, 1)))


def same_value_twice(history: History) -> History:
    lost = history.operations[LOST]
    return with_operation(history, REFUSED, lambda each: replace(each, request=lost.request, outcome=lost.outcome))


def never_was(history: History) -> History:
    never = Answer(kvs=(KeyValue(A, b"never", 2, 2, 1),))
    return with_more(history, ops.get(A, serializable=True), never)


SPOILED: dict[str, tuple[str, Callable[[History], History]]] = {
    "an operation begins before the last": ("overlap", overlapping),
    "an end before the call": ("overlap", ended_early),
    "a sorted range": ("modelled", lambda h: with_more(h, ops.range(prefix="", sort_by="value"), Failure("x"))),
    "a txn in a txn": ("modelled", lambda h: with_more(h, ops.txn(then=[ops.txn()]), Failure("x"))),
    "a put that keeps the lease": ("modelled", lambda h: with_more(h, ops.put(A, ignore_lease=True), Failure("x"))),
    "an old read in a txn": ("modelled", lambda h: with_more(h, ops.txn(then=[ops.get(A, revision=2)]), Failure("x"))),
    "the log has another value": ("answered", another_value),
    "a lost write": ("answered", lost_write),
    "a write applied twice": ("twice", written_twice),
    "an unknown write applied twice": ("twice", lost_written_twice),
    "a refused write that shows up": ("not_applied", refused_but_written),
    "a revision of nobody": ("unexplained", unexplained),
    "a value that two may have written": ("values", same_value_twice),
    "a wrong read of the past": ("past", lambda h: spoiled_kvs(h, PAST)),
    "a wrong count in the past": ("past", lambda h: with_answer(h, PAST, count=7)),
    "a read of a future revision": (
        "past",
        lambda h: with_more(h, replace(ALL, revision=LATER), Answer(LAST, count=0)),
    ),
    "a header older than what was read": ("past", lambda h: with_answer(h, PAST, revision=3)),
    "a wrong serializable read": ("serializable", lambda h: spoiled_kvs(h, STALE)),
    "a serializable read of what never was": ("serializable", never_was),
    "a client that goes back in time": ("monotonic", read_only_of_itself),
}


@pytest.mark.parametrize(("rule", "spoil"), SPOILED.values(), ids=SPOILED)
def test_a_spoiled_history_is_rejected_by_the_rule_it_breaks(rule: str, spoil: Callable[[History], History]) -> None:
    good = sample()
    assert judge_without_go(good).rules == set()
    assert judge_without_go(spoil(good)).rules == {rule}


def log_without_its_end(history: History) -> History:
    return replace(history, reference=history.reference[:-1])


def log_without_its_beginning(history: History) -> History:
    return replace(history, reference=history.reference[1:])


def log_with_a_gap(history: History) -> History:
    return replace(history, reference=(*history.reference[:5], *history.reference[6:]))


def log_without_what_was_before(history: History) -> History:
    return replace(history, reference=(*history.reference[:-1], replace(history.reference[-1], prev_kv=None)))


def log_with_a_wrong_version(history: History) -> History:
    first = history.reference[0]
    return replace(history, reference=(replace(first, kv=replace(first.kv, version=2)), *history.reference[1:]))


@pytest.mark.parametrize(
    "spoil",
    [
        log_without_its_end,
        log_without_its_beginning,
        log_with_a_gap,
        log_without_what_was_before,
        log_with_a_wrong_version,
        lambda h: with_event(h, Event("delete", KeyValue(b"e", mod_revision=LATER))),
    ],
)
def test_a_log_that_can_not_be_true_is_no_reference(spoil: Callable[[History], History]) -> None:
    verdict = judge_without_go(spoil(sample()))
    assert "reference" in verdict.rules
    assert not verdict.accepted


@pytest.mark.parametrize("request_", [ops.get(A, keys_only=True), ops.range(prefix=A, keys_only=True)])
def test_keys_only_may_come_without_their_lease(request_: ops.Get | ops.Range) -> None:
    for request, rule in (
        (replace(request_, revision=2), "past"),
        (replace(request_, serializable=True), "serializable"),
    ):
        for lease, rules in ((7, set()), (0, set()), (8, {rule})):
            tape = Tape()
            tape.do(Grant(7))
            tape.do(ops.put(A, "1", lease=7))
            kv = KeyValue(A, create_revision=2, mod_revision=2, version=1, lease=lease)
            found = Answer(0 if isinstance(request, ops.Get) else 2, kvs=(kv,))
            assert judge_without_go(with_more(tape.history(), request, found)).rules == rules


def test_an_unknown_delete_that_several_may_have_done_is_accepted_once_only() -> None:
    tape = Tape()
    tape.do(ops.put(A, "1"))
    tape.lose(ops.delete(A), applied=True)
    tape.lose(ops.delete(A), applied=False)
    tape.do(ops.put(A, "2"))
    tape.lose(ops.delete(A), applied=True)
    assert judge_without_go(tape.history()).accepted
    tape.do(ops.put(A, "3"))
    tape.store.do(ops.delete(A))
    tape.do(ops.put(A, "4"))
    tape.store.do(ops.delete(A))
    assert judge_without_go(tape.history()).rules == {"twice"}


def test_a_lost_txn_is_traced_by_either_branch() -> None:
    for operand in (0, 1):
        tape = Tape()
        txn = ops.txn(when=[ops.version(A) == operand], then=[ops.put(A, "1")], otherwise=[ops.put(B, "2")])
        tape.lose(txn, applied=True)
        assert judge_without_go(tape.history()).accepted


def test_a_revoke_that_deletes_keys_explains_their_revision() -> None:
    tape = Tape()
    tape.do(Grant(1))
    tape.do(ops.put(A, "1", lease=1))
    tape.do(ops.put(B, "2", lease=1))
    tape.lose(Revoke(1), applied=True)
    assert judge_without_go(tape.history()).accepted
    assert judge_without_go(replace(tape.history(), operations=tuple(tape.operations[:3]))).rules == {"unexplained"}


@given(st.integers(min_value=0))
@settings(max_examples=50)
def test_random_good_histories_are_accepted(seed: int) -> None:
    verdict = judge_without_go(simulate(seed, steps=200))
    assert verdict.accepted, verdict.report()


@given(st.integers(min_value=0))
@settings(max_examples=20)
def test_a_history_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    history = replace(simulate(seed, steps=60), run={"seed": seed})
    folder = tmp_path_factory.mktemp("history")
    histories.write(folder, history)
    assert histories.read(folder) == history


def test_every_byte_survives_the_file(tmp_path: Path) -> None:
    tape = Tape()
    every = bytes(range(256))
    tape.do(ops.put(every, every))
    tape.do(ops.txn(when=[ops.value(every) == every], then=[ops.get(every)]))
    histories.write(tmp_path, tape.history())
    assert histories.read(tmp_path) == tape.history()


def test_what_the_client_returned_or_raised_is_recorded() -> None:
    kv = KeyValue(A, b"1", 2, 2, 1)
    assert answer(None) == Answer()
    assert answer(kv, revision=3) == Answer(3, kvs=(kv,))
    assert failure(TimeoutError("late")) == Failure("TimeoutError", "late", maybe_applied=True)
    with pytest.raises(TypeError, match="no answer of etcd"):
        answer(1)


def test_a_rejection_says_what_is_wrong() -> None:
    verdict = judge_without_go(with_outcome(sample(), PUT, Failure("Unavailable")))
    assert verdict.rules == {"not_applied"}
    with pytest.raises(Rejected, match="writes: REJECTED"):
        verdict.raise_if_rejected()
    judge_without_go(sample()).raise_if_rejected()
