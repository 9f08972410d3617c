"""
What can be judged read by read against the true event log, without asking in which order operations happened.

    past          a read of a revision found what was there, and that revision existed when it was answered
    serializable  a read that one member answered alone found what was there at the revision it says
    monotonic     the revisions that one client's other operations tell never decrease
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

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
    """Return what a range finds at *revision*, values and all."""
    found = replay.range(read.key, read.range_end, revision)
    kvs = [] if read.count_only else found[: read.limit or None]
    return Answer(kvs=tuple(kvs), count=len(found), more=not read.count_only and len(found) > len(kvs))


def without_value(kv: KeyValue) -> KeyValue:
    """Return a key as a read of keys only shows it."""
    return replace(kv, value=b"")


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
        true = expected(read, read.revision or answer.revision, replay)
        if not _matches(read, answer, true):
            yield Violation(rule, f"{operation} should have found {true}")
    elif not any(_is(read, answer.kvs, () if kv is None else (kv,)) for kv in replay.versions(read.key)):
        yield Violation(rule, f"{operation} found what never was")


def _matches(read: ops.Range, answer: Answer, true: Answer) -> bool:
    is_counted = answer.count is None or (answer.count, answer.more) == (true.count, true.more)
    return is_counted and _is(read, answer.kvs, true.kvs)


def _is(read: ops.Range, found: Sequence[KeyValue], true: Sequence[KeyValue]) -> bool:
    """Tell whether a read found what is true."""
    return len(found) == len(true) and all(each in _shown(read, kv) for each, kv in zip(found, true, strict=True))


def _shown(read: ops.Range, kv: KeyValue) -> list[KeyValue]:
    """Return how a read may show a key. etcd 3.7 takes keys only from its index, which knows no leases."""
    if not read.keys_only:
        return [kv]
    without = without_value(kv)
    return [without, replace(without, lease=0)]
