"""A short history with a bit of everything, and how to spoil it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from etcd_async import ops
from etcd_async.types import Event
from tests.robustness.history import (
    Answer,
    Asked,
    Compact,
    Failure,
    Got,
    Grant,
    History,
    Operation,
    Request,
    Revoke,
    Started,
    WatchLog,
)
from tests.robustness.store import Refused, Store

ALL = ops.Range(b"\0", b"\0")
A, B, C, D = b"a", b"b", b"c", b"d"
LEASE = 7
TICK = 10


@dataclass(slots=True)
class Tape:
    """Carries out requests one after another and records them."""

    store: Store = field(default_factory=Store)
    operations: list[Operation] = field(default_factory=list)

    def do(self, request: Request, client: int = 1) -> None:
        """Carry out a request."""
        try:
            self._add(request, client, self.store.do(request))
        except Refused as error:
            self._add(request, client, Failure(str(error)))

    def lose(self, request: Request, *, applied: bool) -> None:
        """Carry out a request, or not; the client never learns."""
        if applied:
            self.store.do(request)
        self._add(request, 1, Failure("DeadlineExceeded", maybe_applied=True))

    def refuse(self, request: Request) -> None:
        """Don't carry out a request, and say so."""
        self._add(request, 1, Failure("Unavailable"))

    def history(self, *watches: Asked) -> History:
        """Return what happened, seen by *watches*, in batches of one revision with a word of progress at the end."""
        logs = tuple(WatchLog(number, asked, self._words(asked)) for number, asked in enumerate(watches))
        return History(tuple(self.operations), logs, tuple(self.store.log))

    def _add(self, request: Request, client: int, outcome: Answer | Failure) -> None:
        time = TICK * (len(self.operations) + 1)
        self.operations.append(Operation(client, request, time, time + TICK - 1, outcome))

    def _words(self, asked: Asked) -> tuple[Started | Got, ...]:
        begin = asked.start_revision or asked.known_revision + 1
        words: list[Started | Got] = [Started(0 if asked.start_revision else asked.known_revision)]
        for revision in range(begin, self.store.revision + 1):
            seen = [each for each in self.store.log if each.revision == revision]
            shown = tuple(each if asked.prev_kv else replace(each, prev_kv=None) for each in seen)
            words.append(Got(revision, shown))
        return (*words, Got(self.store.revision))


PUT, TXN, LOST, REFUSED, PAST, STALE, READ, DELETE, GET = 0, 2, 13, 14, 10, 11, 9, 3, 16
"""Where in `sample` is what."""


def sample() -> History:
    """Return a good history: eleven revisions, and two watches, from revision 2 on and from now at revision 4."""
    tape = Tape()
    tape.do(ops.put(A, "1"))
    tape.do(ops.put(B, "2"))
    tape.do(ops.txn(when=[ops.value(A) == "1"], then=[ops.put(A, "3"), ops.put(B, "4")], otherwise=[ops.get(A)]))
    tape.do(ops.delete(A, prev_kv=True))
    tape.do(ops.put(A, "5"))
    tape.do(Grant(LEASE))
    tape.do(ops.put(C, "6", lease=LEASE))
    tape.do(Revoke(LEASE))
    tape.do(ops.put(C, "7", lease=LEASE))
    tape.do(ALL)
    tape.do(replace(ALL, revision=4), client=2)
    tape.do(replace(ALL, serializable=True), client=2)
    tape.do(Compact(3))
    tape.lose(ops.put(D, "8"), applied=True)
    tape.refuse(ops.put(D, "9"))
    tape.do(ops.put(A, "10", prev_kv=True))
    tape.do(ops.get(A), client=2)
    tape.do(replace(ALL, revision=2), client=2)
    tape.do(replace(ALL, revision=99), client=2)
    tape.do(ops.delete(A), client=2)
    return tape.history(
        Asked(b"\0", b"\0", start_revision=2, prev_kv=True), Asked(b"\0", b"\0", known_revision=4, prev_kv=True)
    )


def with_outcome(history: History, number: int, outcome: Answer | Failure) -> History:
    """Return the history with another outcome of one operation."""
    return with_operation(history, number, lambda operation: replace(operation, outcome=outcome))


def with_answer(history: History, number: int, **changed: Any) -> History:
    """Return the history with one operation's answer changed."""
    return with_operation(
        history, number, lambda operation: replace(operation, outcome=replace(answer_of(operation), **changed))
    )


def with_operation(history: History, number: int, change: Callable[[Operation], Operation]) -> History:
    """Return the history with one operation changed."""
    operations = list(history.operations)
    operations[number] = change(operations[number])
    return replace(history, operations=tuple(operations))


def with_more(history: History, request: Request, outcome: Answer | Failure, *, client: int = 3) -> History:
    """Return the history with one more operation at its end."""
    time = TICK * (len(history.operations) + 1)
    added = Operation(client, request, time, time + TICK - 1, outcome)
    return replace(history, operations=(*history.operations, added))


def with_event(history: History, event: Event) -> History:
    """Return the history with one more event in the true log."""
    return replace(history, reference=(*history.reference, event))


def with_words(history: History, number: int, words: Sequence[Any]) -> History:
    """Return the history with one watch having received something else."""
    watches = list(history.watches)
    watches[number] = replace(watches[number], words=tuple(words))
    return replace(history, watches=tuple(watches))


def answer_of(operation: Operation) -> Answer:
    """Return an operation's answer, which it must have."""
    assert isinstance(operation.outcome, Answer)
    return operation.outcome
