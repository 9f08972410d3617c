"""
Who wrote what: each revision of the true event log is traced to the one request that made it.

Answers tell their revision. What is left over was written by requests whose outcome is unknown: such a request is a
candidate for a revision if, carried out on the store as it was before, it would have written exactly this. What
Porcupine is to judge has hardly an open end then (``tests/robustness/validate/patch_history.go`` of etcd is there for
the same reason):

* An unknown request that left no trace in the log changed nothing, and is dropped.
* The only candidate for a revision was carried out at that revision: not before its call, and not after
  somebody was told of this revision or a later one.
* Where several deletes could have done it, one did, it is not known which: they become one `Vanish`.
* Leases without keys and compactions leave no trace: without an answer they stay possible from their call on.

    answered     what was answered to a write is not what the log has at its revision
    twice        a request was carried out at two revisions
    not_applied  a request was carried out although the client said that it was not
    unexplained  nobody asked for what a revision has
    values       several requests would have written the same value: the traffic must write each once
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from etcd_async import ops
from tests.robustness.history import Answer, Compact, Failure, Grant, History, Operation, Request, Revoke
from tests.robustness.replay import FIRST_WRITE, Replay
from tests.robustness.result import Violation
from tests.robustness.serializable import as_range, is_unordered

# Errors that tell of the store's state, and that nothing was done.
TELLING = {"LeaseNotFound", "LeaseExists", "Compacted", "FutureRevision"}

Changes = Mapping[bytes, tuple[bytes, int] | None]
"""What a revision has for each key: value and lease, or None for a delete."""


@dataclass(frozen=True, slots=True)
class Vanish:
    """These keys were deleted at one revision, by one of several requests."""

    keys: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """
    One operation as Porcupine is to see it.

    Attributes:
        end: None if nobody was told of it.
        outcome: An answer, the name of an error that was the answer, the revision it was carried out at, or None: it
            may be carried out at any time from its call on, or never.
    """

    call: int
    end: int | None
    request: Request | Vanish
    outcome: Answer | str | int | None


@dataclass(slots=True)
class Attribution:
    """The steps for Porcupine, and what is wrong already."""

    steps: list[Step] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)


def attribute(history: History) -> Attribution:
    """Trace each revision to its request."""
    return _Tracer(history).trace()


def changes_at(replay: Replay, revision: int) -> Changes:
    """Return what the log has at *revision*."""
    return {
        event.kv.key: (event.kv.value, event.kv.lease) if event.type == "put" else None for event in replay.at(revision)
    }


def changes_by(requests: Sequence[Request], replay: Replay, before: int) -> Changes:
    """Return what *requests*, carried out as one on the store as of revision *before*, change."""
    changes: dict[bytes, tuple[bytes, int] | None] = {**puts_by(requests)}
    for request in requests:
        if isinstance(request, ops.Delete):
            changes |= {kv.key: None for kv in replay.range(request.key, request.range_end, before)}
        elif isinstance(request, Revoke):
            kvs = replay.range(b"\0", b"\0", before)
            changes |= {kv.key: None for kv in kvs if kv.lease == request.lease}
    return changes


def puts_by(requests: Sequence[Request]) -> Changes:
    """Return what *requests* write, whatever is there before."""
    return {each.key: (each.value, each.lease) for each in requests if isinstance(each, ops.Put)}


def branches(request: Request) -> list[Sequence[Request]]:
    """Return what may be carried out: both branches of a transaction."""
    return [request.success, request.failure] if isinstance(request, ops.Txn) else [[request]]


class _Tracer:
    def __init__(self, history: History) -> None:
        self._history = history
        self._replay = Replay(history.reference)
        self._seen, self._seen_at = _evidence(history.operations)
        self._claims: dict[int, Operation] = {}
        self._candidates: dict[int, list[Operation]] = {}
        self._found = Attribution()

    def trace(self) -> Attribution:
        """Do it all."""
        for operation in self._history.operations:
            self._claim(operation)
        unknown = [each for each in self._history.operations if _may_write_unnoticed(each)]
        revisions = [each for each in range(FIRST_WRITE, self._replay.last + 1) if each not in self._claims]
        for revision in revisions:
            self._candidates[revision] = [each for each in unknown if self._could_write(each, revision)]
        self._check_candidates()
        self._add_steps()
        return self._found

    def _blame(self, rule: str, detail: str) -> None:
        self._found.violations.append(Violation(rule, detail))

    def _claim(self, operation: Operation) -> None:
        answer = operation.outcome
        if not isinstance(answer, Answer) or not _wrote(operation.request, answer):
            return
        if answer.revision in self._claims:
            self._blame("answered", f"{operation} and {self._claims[answer.revision]} tell the same revision")
        self._claims[answer.revision] = operation
        branch = _branch(operation.request, answer)
        expected = changes_by(branch, self._replay, answer.revision - 1)
        if expected != changes_at(self._replay, answer.revision):
            self._blame("answered", f"{operation}, but the log has {self._replay.at(answer.revision)}")

    def _could_write(self, operation: Operation, revision: int) -> bool:
        told = self._told_of(revision)
        if told is not None and operation.call > told:
            return False
        changes = changes_at(self._replay, revision)
        puts = {key: change for key, change in changes.items() if change is not None}
        return any(
            puts_by(each) == puts and changes_by(each, self._replay, revision - 1) == changes
            for each in branches(operation.request)
        )

    def _told_of(self, revision: int) -> int | None:
        """Return when somebody was first told of *revision* or a later one."""
        position = bisect_left(self._seen, revision)
        return self._seen_at[position] if position < len(self._seen) else None

    def _check_candidates(self) -> None:
        for revision, candidates in self._candidates.items():
            if not candidates:
                self._blame(*self._unexplained(revision))
            elif len(candidates) > 1 and any(changes_at(self._replay, revision).values()):
                self._blame("values", f"{_listed(candidates)} would all have written {revision}")
        for revision in _unmatched(self._candidates):
            self._blame("twice", f"{_listed(self._candidates[revision])} wrote {revision} and something else")

    def _unexplained(self, revision: int) -> tuple[str, str]:
        events = self._replay.at(revision)
        for operation in self._history.operations:
            if as_range(operation.request) is None and self._could_write(operation, revision):
                is_refused = isinstance(operation.outcome, Failure)
                return "not_applied" if is_refused else "twice", f"{operation} also wrote {events}"
        return "unexplained", f"nobody wrote {events}"

    def _add_steps(self) -> None:
        done = {id(each): revision for revision, (each, *more) in self._traced() if not more}
        for operation in self._history.operations:
            self._found.steps += self._steps(operation, done.get(id(operation)))
        for revision, candidates in self._traced():
            if len(candidates) > 1:
                call = min(each.call for each in candidates)
                keys = tuple(changes_at(self._replay, revision))
                self._found.steps.append(Step(call, self._told_of(revision), Vanish(keys), revision))

    def _traced(self) -> Iterator[tuple[int, list[Operation]]]:
        return ((revision, candidates) for revision, candidates in self._candidates.items() if candidates)

    def _steps(self, operation: Operation, revision: int | None) -> Iterator[Step]:
        call, end, request, outcome = operation.call, operation.end, operation.request, operation.outcome
        read = as_range(request)
        if read is not None and read.serializable:
            return
        if isinstance(outcome, Answer):
            # Of a read of the past, only when it was possible.
            shown = Answer(outcome.revision) if is_unordered(operation) else outcome
            yield Step(call, end, _with_id(request, outcome), replace(shown, revision=shown.revision or revision or 0))
        elif not outcome.maybe_applied and outcome.error in TELLING:
            yield Step(call, end, request, outcome.error)
        elif outcome.maybe_applied and revision is not None:
            yield Step(call, self._told_of(revision), request, revision)
        elif outcome.maybe_applied and isinstance(request, Grant | Revoke | Compact):
            yield Step(call, call, request, None)


def _evidence(operations: Sequence[Operation]) -> tuple[list[int], list[int]]:
    """Return revisions, ascending, and when somebody was first told of each or of a later one."""
    told = sorted(
        (each.outcome.revision, each.end)
        for each in operations
        if isinstance(each.outcome, Answer) and each.outcome.revision
    )
    times: list[int] = []
    for _, time in reversed(told):
        times.append(min(time, times[-1]) if times else time)
    return [revision for revision, _ in told], times[::-1]


def _branch(request: Request, answer: Answer) -> Sequence[Request]:
    both = branches(request)
    return both[0] if answer.succeeded else both[-1]


def _wrote(request: Request, answer: Answer) -> bool:
    """Tell whether an answer says that a revision was made. That of a revoke does not say it."""
    if isinstance(request, ops.Txn):
        return any(_wrote(*each) for each in zip(_branch(request, answer), answer.answers, strict=False))
    return isinstance(request, ops.Put) or (isinstance(request, ops.Delete) and answer.deleted > 0)


def _may_write_unnoticed(operation: Operation) -> bool:
    outcome = operation.outcome
    if isinstance(outcome, Failure) and outcome.maybe_applied:
        return as_range(operation.request) is None
    # Not even its answer tells its revision; "not found" may be the answer to a repeated one.
    return isinstance(operation.request, Revoke) and (isinstance(outcome, Answer) or outcome.error == "LeaseNotFound")


def _unmatched(candidates: Mapping[int, Sequence[Operation]]) -> Iterator[int]:
    """Yield revisions left over if each operation writes one at most (Kuhn's algorithm: augmenting paths)."""
    revision_of: dict[int, int] = {}

    def place(revision: int, tried: set[int]) -> bool:
        for operation in candidates[revision]:
            if id(operation) in tried:
                continue
            tried.add(id(operation))
            if id(operation) not in revision_of or place(revision_of[id(operation)], tried):
                revision_of[id(operation)] = revision
                return True
        return False

    for revision, those in candidates.items():
        if those and not place(revision, set()):
            yield revision


def _listed(operations: Sequence[Operation]) -> str:
    return " and ".join(map(str, operations))


def _with_id(request: Request, answer: Answer) -> Request:
    if isinstance(request, Grant) and not request.lease:
        return replace(request, lease=answer.lease)
    return request
