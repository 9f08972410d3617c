"""
What can be judged read by read against the true event log, without asking in which order operations happened.

    past          a read of a revision found what was there, and that revision existed when it was answered
    serializable  a read that one member answered alone found what was there at the revision it says
    monotonic     the revisions that one client's other operations tell never decrease
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from etcd_async import ops
from etcd_async.types import KeyValue
from tests.robustness.history import Answer, History, Operation
from tests.robustness.replay import Replay
from tests.robustness.result import Result, Violation


def judge(history: History) -> Result:
    """Judge every read of a history that has a revision of its own, and the revisions that each client saw."""
    replay = Replay(history.reference)
    violations = list(monotonic(history.operations))
    reads = 0
    for operation in history.operations:
        read = as_range(operation.request)
        if read is not None and is_unordered(operation) and isinstance(operation.outcome, Answer):
            reads += 1
            violations += _judge_read(operation, read, operation.outcome, replay)
    return Result("serializable", tuple(violations), detail=f"{reads} reads")


def is_unordered(operation: Operation) -> bool:
    """True for a read that need not see what was written before it began: Porcupine can't judge what it found."""
    read = as_range(operation.request)
    return read is not None and bool(read.serializable or read.revision)


def as_range(request: object) -> ops.Range | None:
    """Return a read as a range; None for what is no read."""
    if isinstance(request, ops.Get):
        return ops.Range(
            request.key, revision=request.revision, serializable=request.serializable, keys_only=request.keys_only
        )
    return request if isinstance(request, ops.Range) else None


def expected(read: ops.Range, revision: int, replay: Replay) -> Answer:
    """Return what a range finds at *revision*."""
    found = replay.range(read.key, read.range_end, revision)
    kvs = [] if read.count_only else found[: read.limit or None]
    shown = tuple(without_value(kv) if read.keys_only else kv for kv in kvs)
    return Answer(kvs=shown, count=len(found), more=not read.count_only and len(found) > len(kvs))


def without_value(kv: KeyValue) -> KeyValue:
    """Return a key as a read of keys only shows it."""
    return KeyValue(kv.key, b"", kv.create_revision, kv.mod_revision, kv.version, kv.lease)


def monotonic(operations: Sequence[Operation]) -> Iterator[Violation]:
    """Yield answers of a lower revision than the same client had seen before it asked."""
    seen: dict[int, int] = {}
    for operation in sorted(operations, key=lambda each: each.call):
        outcome = operation.outcome
        if not isinstance(outcome, Answer) or not outcome.revision or is_unordered(operation):
            continue
        before = seen.get(operation.client, 0)
        if outcome.revision < before:
            yield Violation("monotonic", f"{operation} by a client that had seen {before}")
        seen[operation.client] = max(before, outcome.revision)


def _judge_read(operation: Operation, read: ops.Range, answer: Answer, replay: Replay) -> Iterator[Violation]:
    rule = "past" if read.revision else "serializable"
    newest = answer.revision or replay.last
    if max(read.revision, newest) > replay.last or read.revision > newest:
        yield Violation(rule, f"{operation} is of the future, the last revision is {replay.last}")
    elif read.revision or answer.revision:
        yield from _compared(rule, operation, answer, expected(read, read.revision or answer.revision, replay))
    elif (answer.kvs[0] if answer.kvs else None) not in _ever(read, replay):
        yield Violation(rule, f"{operation} found what never was")


def _compared(rule: str, operation: Operation, answer: Answer, true: Answer) -> Iterator[Violation]:
    is_told = answer.count is not None
    found = (answer.kvs, answer.count, answer.more) if is_told else (answer.kvs, true.count, true.more)
    if found != (true.kvs, true.count, true.more):
        yield Violation(rule, f"{operation} should have found {true}")


def _ever(read: ops.Range, replay: Replay) -> list[KeyValue | None]:
    """Return all that a key ever was: a get does not say of which revision it tells."""
    return [kv if kv is None or not read.keys_only else without_value(kv) for kv in replay.versions(read.key)]
