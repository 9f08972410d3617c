"""
What a history must be for the other judges to mean anything.

    reference  the true event log begins at the beginning, has no gap, follows from itself, and reaches all answers
    overlap    a client does one thing at a time, and gets its answer after it asked
    modelled   nothing was asked that the judges do not know
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from etcd_async import ops
from tests.robustness.history import Answer, Got, History, Operation, Request
from tests.robustness.replay import Replay
from tests.robustness.result import Result, Violation
from tests.robustness.serializable import as_range


def judge(history: History) -> Result:
    """Judge the history as such."""
    violations = [Violation("reference", fault) for fault in reference(history)]
    violations += [Violation("overlap", fault) for fault in overlap(history.operations)]
    violations += [Violation("modelled", fault) for fault in modelled(history.operations)]
    return Result("assumptions", tuple(violations), detail=f"{len(history.reference)} events in the log")


def reference(history: History) -> Iterator[str]:
    """Yield what is wrong with the true event log."""
    replay = Replay(history.reference)
    yield from replay.faults()
    told = max((each.outcome.revision for each in history.operations if isinstance(each.outcome, Answer)), default=0)
    events = (event for log in history.watches for got in log.words if isinstance(got, Got) for event in got.events)
    told = max(told, max((event.revision for event in events), default=0))
    if told > replay.last:
        yield f"it ends at {replay.last}, but {told} was told of"


def overlap(operations: Sequence[Operation]) -> Iterator[str]:
    """Yield operations that a client began before its last had ended, or that ended before they began."""
    clients: dict[int, list[Operation]] = defaultdict(list)
    for operation in operations:
        clients[operation.client].append(operation)
        if operation.end < operation.call:
            yield f"{operation} ended before it began"
    for own in clients.values():
        for before, after in pairwise(sorted(own, key=lambda each: each.call)):
            if after.call < before.end:
                yield f"{after} began before the end of {before}"


def modelled(operations: Sequence[Operation]) -> Iterator[str]:
    """Yield requests that the judges can't judge."""
    for operation in operations:
        if not all(_is_modelled(each) for each in _parts(operation.request)):
            yield f"{operation.request}"


def _parts(request: Request) -> Iterator[Request]:
    yield request
    if isinstance(request, ops.Txn):
        for part in request.success + request.failure:
            # A transaction in a transaction, and a read of another time, are none of its parts.
            read = as_range(part)
            is_plain = not isinstance(part, ops.Txn) and (read is None or not (read.revision or read.serializable))
            yield part if is_plain else ops.Range(b"", sort_target=ops.SortTarget.VALUE)


def _is_modelled(request: Request) -> bool:
    if isinstance(request, ops.Put):
        return not (request.ignore_value or request.ignore_lease)
    if isinstance(request, ops.Range):
        known = ops.Range(
            request.key,
            request.range_end,
            limit=request.limit,
            revision=request.revision,
            serializable=request.serializable,
            keys_only=request.keys_only,
            count_only=request.count_only,
        )
        return request == known
    return True
