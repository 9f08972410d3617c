"""Porcupine with our model: it accepts what an etcd may answer, and nothing else."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from etcd_async import KeyValue, ops
from tests.robustness import porcupine
from tests.robustness.attribution import Step, Vanish, attribute
from tests.robustness.history import Answer, Compact, Failure, Grant, History, Operation, Request, Revoke
from tests.robustness.judges import judge_history
from tests.robustness.samples import (
    ALL,
    DELETE,
    GET,
    READ,
    TXN,
    A,
    B,
    C,
    D,
    Tape,
    answer_of,
    sample,
    with_answer,
    with_more,
    with_operation,
    with_outcome,
)
from tests.robustness.simulation import simulate
from tests.support.golang import Unbuildable

# The program is built once, with all of Go's library where that is not in its cache.
pytestmark = pytest.mark.timeout(400)

LAST_PUT = 15
FUTURE = 18


@pytest.fixture(scope="module", autouse=True)
def program() -> Path:
    try:
        return porcupine.binary()
    except Unbuildable as error:
        pytest.skip(f"Porcupine: {error}")


def verdict(history: History) -> set[str]:
    return porcupine.judge(attribute(history).steps).rules


def stale_read(history: History) -> History:
    """Another client reads the past and says that it is now."""
    return with_more(history, ALL, answer_of(history.operations[READ]), client=9)


def other_branch(history: History) -> History:
    return with_answer(history, TXN, succeeded=False, answers=(Answer(kvs=(KeyValue(A, b"1", 2, 2, 1),)),))


def one_more(history: History, request: Request, outcome: Answer | Failure) -> set[str]:
    return verdict(with_more(history, request, outcome))


def read_late(history: History) -> History:
    """A read begins when all writes are over, and has not seen the last ones."""
    return with_operation(history, READ, lambda each: replace(each, call=1000, end=1001))


SPOILED: dict[str, Callable[[History], History]] = {
    "a stale read": stale_read,
    "an old read late": read_late,
    "a wrong version": lambda h: with_answer(h, GET, kvs=(replace(answer_of(h.operations[GET]).kvs[0], version=9),)),
    "a lost key": lambda h: with_answer(h, GET, kvs=()),
    "a wrong count": lambda h: with_answer(h, READ, count=9),
    "a read of a future revision": lambda h: with_answer(h, READ, revision=9),
    "a wrong deleted": lambda h: with_answer(h, DELETE, deleted=2),
    "a wrong prev_kv": lambda h: with_answer(h, LAST_PUT, prev_kvs=(KeyValue(A, b"3", 2, 4, 2),)),
    "a prev_kv not told": lambda h: with_answer(h, LAST_PUT, prev_kvs=()),
    "the wrong branch": other_branch,
    "a compaction that did not happen": lambda h: with_operation(
        h, 17, lambda each: replace(each, request=replace(ALL, revision=3))
    ),
    "a compaction that was forgotten": lambda h: with_outcome(h, 17, Answer(10)),
    "a future that is past": lambda h: with_operation(
        h, FUTURE, lambda each: replace(each, request=replace(ALL, revision=4))
    ),
    "a lease that exists": lambda h: with_outcome(h, 6, Failure("LeaseNotFound")),
    "a lease that is gone": lambda h: with_outcome(h, 8, Answer(9)),
    "a lease that can't exist": lambda h: with_outcome(h, 5, Failure("LeaseExists")),
    "a revoke of what is gone": lambda h: with_more(h, Revoke(7), Answer()),
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_a_spoiled_answer_is_not_linearizable(spoil: Callable[[History], History]) -> None:
    assert verdict(sample()) == set()
    assert verdict(spoil(sample())) == {"linearizable"}


def test_a_stale_read_is_rejected_by_porcupine_alone() -> None:
    assert judge_history(stale_read(sample())).rules == {"linearizable"}


def test_what_did_not_fit_is_named() -> None:
    [violation] = porcupine.judge(attribute(stale_read(sample())).steps).violations
    assert '"op": "range"' in violation.detail
    assert '"revision": 8' in violation.detail


def test_concurrent_operations_take_effect_in_either_order() -> None:
    write = Operation(1, ops.put(A, "1"), 10, 40, Answer(2))
    blind = Operation(2, ALL, 20, 30, Answer(1, count=0))
    seeing = replace(blind, outcome=Answer(2, kvs=(KeyValue(A, b"1", 2, 2, 1),), count=1))
    reference = Tape()
    reference.do(ops.put(A, "1"))
    for read in (blind, seeing):
        assert verdict(History((write, read), (), tuple(reference.store.log))) == set()


def test_an_unknown_write_takes_effect_when_the_log_says_it_did() -> None:
    for applied in (True, False):
        tape = Tape()
        tape.lose(ops.put(A, "1"), applied=applied)
        tape.do(ALL)
        tape.do(ops.put(A, "2"))
        assert verdict(tape.history()) == set()
        assert verdict(with_more(tape.history(), ALL, Answer(1, count=0))) == {"linearizable"}


def test_an_unknown_compare_and_swap_can_not_have_passed_a_compare_that_fails() -> None:
    tape = Tape()
    tape.do(ops.put(A, "1"))
    swap = ops.txn(when=[ops.value(A) == "1"], then=[ops.put(A, "2")])
    tape.lose(swap, applied=True)
    assert verdict(tape.history()) == set()
    wrong = replace(swap, compare=(ops.value(A) == "x",))
    assert verdict(with_operation(tape.history(), 1, lambda each: replace(each, request=wrong))) == {"linearizable"}


def test_one_of_several_unknown_deletes_did_it() -> None:
    tape = Tape()
    tape.do(ops.put(A, "1"))
    tape.lose(ops.delete(A), applied=True)
    tape.lose(ops.delete(A), applied=False)
    tape.do(ALL)
    steps = attribute(tape.history()).steps
    assert [step.request for step in steps if isinstance(step.request, Vanish)] == [Vanish((A,))]
    assert verdict(tape.history()) == set()
    assert verdict(with_more(tape.history(), ops.get(A), Answer(kvs=(KeyValue(A, b"1", 2, 2, 1),)))) == {"linearizable"}


def unknown(request: Request) -> Tape:
    """Return a tape with a lease of one key, and a request of unknown outcome."""
    tape = Tape()
    tape.do(Grant(1))
    tape.do(ops.put(A, "1"))
    tape.do(ops.put(A, "2"))
    tape.lose(request, applied=False)
    return tape


def test_an_unknown_grant_may_come_to_pass_at_any_time() -> None:
    tape = unknown(Grant(2))
    tape.do(ops.put(C, "3", lease=2))
    tape.store.do(Grant(2))
    tape.do(ops.put(C, "4", lease=2))
    tape.do(Grant(2))
    assert verdict(tape.history()) == set()
    assert one_more(tape.history(), ops.put(D, "5", lease=2), Failure("LeaseNotFound")) == {"linearizable"}


def test_an_unknown_revoke_may_come_to_pass_at_any_time_without_keys() -> None:
    tape = unknown(Revoke(1))
    tape.do(ops.put(C, "3", lease=1))
    with_keys = one_more(tape.history(), ops.put(D, "4", lease=1), Failure("LeaseNotFound"))
    assert with_keys == {"linearizable"}
    tape.do(ops.delete(C))
    tape.store.do(Revoke(1))
    tape.do(ops.put(D, "5", lease=1))
    assert verdict(tape.history()) == set()
    tape.store.do(Grant(1))
    tape.do(ops.put(D, "6", lease=1))
    assert verdict(tape.history()) == {"linearizable"}


def test_an_unknown_compaction_may_come_to_pass_at_any_time() -> None:
    old = replace(ALL, revision=2)
    tape = unknown(Compact(3))
    tape.do(old)
    tape.store.do(Compact(3))
    tape.do(old)
    tape.do(Compact(3))
    assert verdict(tape.history()) == set()
    kept = one_more(tape.history(), old, Answer(3))
    assert kept == {"linearizable"}
    assert one_more(tape.history(), replace(ALL, revision=3), Failure("Compacted")) == {"linearizable"}


def test_a_repeated_revoke_may_not_find_what_it_ended_itself() -> None:
    tape = Tape()
    tape.do(Grant(1))
    tape.do(ops.put(A, "1", lease=1))
    tape.do(Revoke(1))
    not_found = with_outcome(tape.history(), 2, Failure("LeaseNotFound"))
    assert verdict(not_found) == set()
    assert one_more(not_found, ops.put(A, "2", lease=1), Answer(4)) == {"linearizable"}


@pytest.mark.parametrize(
    ("compare", "holds"),
    [
        (ops.value(A) == "2", True),
        (ops.value(A) > "1", True),
        (ops.value(A) < "2", False),
        (ops.value(B) == "", False),
        (ops.value(B) != "x", False),
        (ops.version(A) == 2, True),
        (ops.version(B) == 0, True),
        (ops.create_revision(A) == 2, True),
        (ops.mod_revision(A) != 3, False),
        (ops.lease_of(A) == 0, True),
        (ops.lease_of(C) == 2**62 + 1, True),
        (ops.lease_of(C) == 2**62, False),
        (ops.version(prefix="") > 0, True),
        (ops.version(prefix="") > 1, False),
        (ops.version(prefix="z") > 0, False),
    ],
)
def test_compares_are_etcds(compare: ops.Compare, holds: bool) -> None:
    tape = Tape()
    tape.do(Grant(2**62 + 1))
    tape.do(ops.put(A, "1"))
    tape.do(ops.put(A, "2"))
    tape.do(ops.put(C, "3", lease=2**62 + 1))
    for succeeded in (True, False):
        rules = one_more(tape.history(), ops.txn(when=[compare]), Answer(4, succeeded=succeeded))
        assert rules == (set() if succeeded is holds else {"linearizable"})


def test_ranges_are_etcds() -> None:
    tape = Tape()
    for number, key in enumerate((A, B, C, D)):
        tape.do(ops.put(key, f"{number}"))
    for request in (
        ops.range(prefix="", limit=2),
        ops.range(prefix="", limit=4),
        ops.range(start=B, end=D, keys_only=True),
        ops.range(start=C, from_key=True),
        ops.range(prefix="", count_only=True),
        ops.range(prefix="x"),
        ops.delete(start=B, from_key=True, prev_kv=True),
        ops.delete(prefix=""),
        ops.delete(prefix=""),
    ):
        tape.do(request)
    assert verdict(tape.history()) == set()


def test_keys_only_may_come_without_their_lease() -> None:
    tape = Tape()
    tape.do(Grant(7))
    tape.do(ops.put(A, "1", lease=7))
    for lease, rules in ((7, set()), (0, set()), (8, {"linearizable"})):
        kv = KeyValue(A, create_revision=2, mod_revision=2, version=1, lease=lease)
        assert one_more(tape.history(), ops.get(A, keys_only=True), Answer(kvs=(kv,))) == rules


def test_a_txn_tells_each_operation_the_revision_of_its_turn() -> None:
    tape = Tape()
    tape.do(ops.txn(then=[ALL, ops.delete(A), ops.put(A, "1"), ALL, ops.delete(B)]))
    told = answer_of(tape.operations[0])
    assert [each.revision for each in told.answers] == [1, 1, 2, 2, 2]
    assert verdict(tape.history()) == set()
    for number in range(len(told.answers)):
        parts = [replace(each, revision=each.revision + (at == number)) for at, each in enumerate(told.answers)]
        assert verdict(with_answer(tape.history(), 0, answers=tuple(parts))) == {"linearizable"}


def test_what_the_model_does_not_know_is_refused_by_name() -> None:
    history = with_more(Tape().history(), ops.range(prefix="", sort_by="value"), Answer(1, count=0))
    [violation] = porcupine.judge(attribute(history).steps).violations
    assert violation.rule == "model"
    assert "sort_order" in violation.detail


def test_no_answer_in_time_is_a_rejection(program: Path) -> None:
    # One of forty reads at once saw what never was: that no order explains it is found by trying all.
    reads = [Step(0, 100, ops.get(A), Answer()) for _ in range(40)]
    never = Step(0, 100, ops.get(A), Answer(kvs=(KeyValue(A, b"x", 2, 2, 1),)))
    result = porcupine.ask(program, [*reads, never], timeout=0.2)
    assert result.rules == {"unknown"}


def test_without_go_only_porcupine_is_skipped_and_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(porcupine, "STORE", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    found = judge_history(sample())
    assert found.accepted
    assert found.skipped == {"porcupine": "go is not installed"}
    assert "porcupine: skipped, go is not installed" in found.report()
    assert not judge_history(with_outcome(sample(), 0, Failure("Unavailable"))).accepted


def test_a_failed_build_says_why_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for name in ("go.mod", "go.sum"):
        shutil.copy(porcupine.SOURCE / name, tmp_path / "source")
    (tmp_path / "source" / "main.go").write_text("package main\n\nfunc main() { undefined() }\n")
    monkeypatch.setattr(porcupine, "SOURCE", tmp_path / "source")
    monkeypatch.setattr(porcupine, "STORE", tmp_path / "build")
    with pytest.raises(Unbuildable, match="undefined"):
        porcupine.binary()
    assert list((tmp_path / "build").iterdir()) == []


def test_the_program_is_vetted() -> None:
    command = ["go", "vet", "-mod=readonly", "./..."]
    done = subprocess.run(command, cwd=porcupine.SOURCE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@given(st.integers(min_value=0))
def test_random_good_histories_are_accepted(seed: int) -> None:
    found = judge_history(simulate(seed, steps=300))
    assert found.accepted, found.report()


def changes(operation: Operation, random: Random) -> Iterator[Answer]:
    """Yield answers that etcd can't have given in place of this one, whatever else happened at the same time."""
    answer = operation.outcome
    if not isinstance(answer, Answer):
        return
    if isinstance(operation.request, ops.Range) and answer.revision:
        assert answer.count is not None
        yield replace(answer, count=answer.count + 1)
        yield replace(answer, more=not answer.more)
        if answer.kvs:
            yield replace(answer, kvs=answer.kvs[1:])
    if isinstance(operation.request, ops.Put):
        yield replace(answer, revision=answer.revision + random.choice([-1, 1]))
    if isinstance(operation.request, ops.Delete) and answer.deleted:
        yield replace(answer, deleted=answer.deleted + 1)
    if isinstance(operation.request, ops.Txn):
        yield replace(answer, succeeded=not answer.succeeded)
    if answer.kvs:
        yield replace(answer, kvs=_one_altered(answer.kvs, random))
    if answer.prev_kvs:
        yield replace(answer, prev_kvs=_one_altered(answer.prev_kvs, random))


def _one_altered(kvs: tuple[KeyValue, ...], random: Random) -> tuple[KeyValue, ...]:
    number = random.randrange(len(kvs))
    return (*kvs[:number], _altered(kvs[number], random), *kvs[number + 1 :])


def _altered(kv: KeyValue, random: Random) -> KeyValue:
    name = random.choice(["value", "create_revision", "mod_revision", "version", "lease"])
    if name == "value":
        return replace(kv, value=kv.value + b"0")
    # No lease is what etcd 3.7 tells of keys only.
    changed = {name: getattr(kv, name) + (1 if name == "lease" else random.choice([-1, 1]))}
    return replace(kv, **changed)


@given(st.integers(min_value=0))
def test_any_single_change_to_an_answer_is_rejected(seed: int) -> None:
    random = Random(seed)
    good = simulate(seed, steps=100)
    spoiled = [
        (number, each) for number, operation in enumerate(good.operations) for each in changes(operation, random)
    ]
    assume(spoiled)
    number, changed = random.choice(spoiled)
    found = judge_history(with_outcome(good, number, changed))
    assert not found.accepted, (good.operations[number], changed)
