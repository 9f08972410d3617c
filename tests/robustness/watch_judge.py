"""
What etcd promises of a watch (https://etcd.io/docs/v3.6/learning/api_guarantees/#watch-apis), and our client on top.

One function per rule, each of which yields what it found wrong with one watch. The rules don't overlap: whatever
is wrong breaks one of them where that is possible. etcd's own judge (``tests/robustness/validate/watch.go``) has nine:

    ordered       the revisions of events never decrease
    unique        no event comes twice
    atomic        no revision is split between two batches
    bookmarkable  after word that all up to a revision has come, nothing up to it comes; and the word never goes back
    resumable     a watch from a revision begins with the first event from there on
    reliable      between two events that came, none is missing
    filter        only what was asked for comes
    is_create     an event says that it creates exactly if the key was not there before
    prev_kv       what an event says of before is what was before

and ours:

    truthful      an event is the one that the store holds at that revision
    batch         a batch's revision is not behind its events, and not beyond all that was ever written
    started       a watch from now on brings all that was written after its body began, and nothing from before it
    ended         a watch ends because its body was left, or its history compacted; anything else was to be survived
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from etcd_async.types import Event, KeyValue
from tests.robustness.history import Answer, Asked, Compact, Ended, Got, History, Operation, Started, WatchLog
from tests.robustness.replay import Replay, in_range
from tests.robustness.result import Result, Violation

# What may end the attempt to begin a watch in the midst of faults.
UNSTARTED = {"DeadlineExceeded", "Unavailable", "NoLeader", "LeaderChanged", "ServerTimeout", "ServerStopped"}


@dataclass(frozen=True, slots=True)
class Case:
    """
    One watch and all that is needed to judge it.

    Attributes:
        compacted: The highest revision that history may have been compacted to.
    """

    asked: Asked
    got: tuple[Got, ...]
    started: Started | None
    ended: Ended | None
    replay: Replay
    compacted: int

    @property
    def events(self) -> Iterator[Event]:
        """Every event that came, in order."""
        return (event for each in self.got for event in each.events)

    @property
    def told(self) -> int:
        """Up to where everything has come, by what the watch said itself."""
        return max((max(each.revision, _last(each)) for each in self.got), default=0)

    def wanted(self, first: int, last: int) -> list[Event]:
        """Return what the store holds for this watch between two revisions, both included."""
        return [event for event in self.replay.between(first, last) if matches(self.asked, event)]

    def missing(self, first: int, last: int) -> Iterator[str]:
        """Say which events between two revisions did not come."""
        came = {identity(event) for event in self.events}
        lost = [identity(event) for event in self.wanted(first, last) if identity(event) not in came]
        if lost:
            yield f"{len(lost)} events from {first} to {last} did not come, {lost[0]} the first of them"


def judge(history: History) -> Result:
    """Judge every watch of a history."""
    replay = Replay(history.reference)
    compacted = highest_compaction(history.operations)
    violations: list[Violation] = []
    for log in history.watches:
        watch = case(log, replay, compacted)
        violations += [
            Violation(rule, f"watch {log.watch}: {detail}") for rule, check in RULES.items() for detail in check(watch)
        ]
    events = sum(len(word.events) for log in history.watches for word in log.words if isinstance(word, Got))
    return Result("watches", tuple(violations), detail=f"{len(history.watches)} watches, {events} events")


def case(log: WatchLog, replay: Replay, compacted: int = 0) -> Case:
    """Sort the words of a watch."""
    return Case(
        asked=log.asked,
        got=tuple(word for word in log.words if isinstance(word, Got)),
        started=next((word for word in log.words if isinstance(word, Started)), None),
        ended=next((word for word in log.words if isinstance(word, Ended)), None),
        replay=replay,
        compacted=compacted,
    )


def highest_compaction(operations: Sequence[Operation]) -> int:
    """Return the highest revision that a compaction was, or may have been, carried out for."""
    return max(
        (each.request.revision for each in operations if isinstance(each.request, Compact) and _may_count(each)),
        default=0,
    )


def matches(asked: Asked, event: Event) -> bool:
    """Tell whether a watch asked for an event."""
    is_wanted = f"no_{event.type}" not in asked.filters
    return is_wanted and in_range(event.kv.key, asked.key, asked.range_end)


def identity(event: Event) -> tuple[int, bytes]:
    """Return what tells an event from every other: etcd writes a key once per revision."""
    return event.revision, event.kv.key


def ordered(case: Case) -> Iterator[str]:
    """Yield events of a lower revision than the one before."""
    for before, after in pairwise(event.revision for event in case.events):
        if after < before:
            yield f"{after} came after {before}"


def unique(case: Case) -> Iterator[str]:
    """Yield events that came before."""
    came: set[tuple[int, bytes]] = set()
    for event in case.events:
        if identity(event) in came:
            yield f"{identity(event)} came twice"
        came.add(identity(event))


def atomic(case: Case) -> Iterator[str]:
    """Yield revisions that are in two batches."""
    for before, after in pairwise(each for each in case.got if each.events):
        if _last(before) == after.events[0].revision:
            yield f"{_last(before)} is split"


def bookmarkable(case: Case) -> Iterator[str]:
    """Yield events and bookmarks that a bookmark from before rules out."""
    bookmark = seen = 0
    for each in case.got:
        for event in each.events:
            if event.revision <= bookmark:
                yield f"{event.revision} came after word of {bookmark}"
        if not each.events and each.revision < max(bookmark, seen):
            yield f"word of {each.revision} came after {max(bookmark, seen)}"
        seen = max(seen, _last(each))
        if each.revision > _last(each):
            bookmark = max(bookmark, each.revision)


def resumable(case: Case) -> Iterator[str]:
    """Yield what lies between the start asked for and the first event."""
    start = case.asked.start_revision
    if start:
        yield from _beginning(case, start, start)


def started(case: Case) -> Iterator[str]:
    """Yield what a watch from now on missed at its beginning, or brought from before it."""
    if not case.asked.start_revision:
        known = case.started.revision if case.started is not None else 0
        yield from _beginning(case, case.asked.known_revision + 1, known + 1 if known else case.told + 1)


def reliable(case: Case) -> Iterator[str]:
    """Yield what is missing after the first event, up to the last revision told of."""
    first = next(case.events, None)
    if first is not None:
        yield from case.missing(first.revision, case.told)


def filtered(case: Case) -> Iterator[str]:
    """Yield events that were not asked for."""
    for event in case.events:
        if not matches(case.asked, event):
            yield f"{event.type} of {identity(event)} was not asked for"


def is_create(case: Case) -> Iterator[str]:
    """Yield events that are wrong about who created the key."""
    for event, true in _pairs(case):
        if event.type == "put" and event.kv.create_revision != true.kv.create_revision:
            yield f"{identity(event)} was created at {true.kv.create_revision}, not {event.kv.create_revision}"


def prev_kv(case: Case) -> Iterator[str]:
    """Yield events that are wrong about what was before. What was compacted away may be left out."""
    for event, true in _pairs(case):
        expected = true.prev_kv if case.asked.prev_kv else None
        may_be_left_out = event.prev_kv is None and event.revision - 1 < case.compacted
        if event.prev_kv != expected and not may_be_left_out:
            yield f"{identity(event)} came with {event.prev_kv}, before was {expected}"


def truthful(case: Case) -> Iterator[str]:
    """Yield events that the store does not hold, or holds otherwise; `is_create` looks after the create revision."""
    for event in case.events:
        true = _true(case.replay, event)
        if true is None:
            yield f"{identity(event)} was never written"
        elif (event.type, *_content(event.kv)) != (true.type, *_content(true.kv)):
            yield f"{event} should be {true}"


def batch(case: Case) -> Iterator[str]:
    """Yield batches whose revision is behind their events, or above all that was ever written."""
    for each in case.got:
        if each.revision < max((event.revision for event in each.events), default=0):
            yield f"a batch of {each.revision} holds {_last(each)}"
        if each.revision > case.replay.last and each.revision > _last(each):
            yield f"word of {each.revision}, but the last revision is {case.replay.last}"


def ended(case: Case) -> Iterator[str]:
    """Yield an end that should have been survived, and a compaction that did not concern the watch."""
    end = case.ended
    if end is None or not end.error:
        return
    if end.error == "Compacted":
        if end.compact_revision > case.compacted:
            yield f"compacted at {end.compact_revision}, but no compaction was beyond {case.compacted}"
        if max(case.told, case.asked.start_revision - 1, case.asked.known_revision) + 1 >= end.compact_revision:
            yield f"compacted at {end.compact_revision}, but the history after {case.told} was there"
    elif case.got or case.started is not None or end.error not in UNSTARTED:
        yield f"{end.error}: {end.message}"


RULES: dict[str, Callable[[Case], Iterator[str]]] = {
    "ordered": ordered,
    "unique": unique,
    "atomic": atomic,
    "bookmarkable": bookmarkable,
    "resumable": resumable,
    "reliable": reliable,
    "filter": filtered,
    "is_create": is_create,
    "prev_kv": prev_kv,
    "truthful": truthful,
    "batch": batch,
    "started": started,
    "ended": ended,
}


def _beginning(case: Case, earliest: int, start: int) -> Iterator[str]:
    """Yield events from before *earliest*, and what is missing from *start* up to the first event."""
    first = next(case.events, None)
    if first is not None and first.revision < earliest:
        yield f"{first.revision} came, but the watch began at {earliest}"
    yield from case.missing(start, case.told if first is None else first.revision - 1)


def _last(got: Got) -> int:
    return got.events[-1].revision if got.events else 0


def _pairs(case: Case) -> Iterator[tuple[Event, Event]]:
    for event in case.events:
        true = _true(case.replay, event)
        if true is not None and true.type == event.type:
            yield event, true


def _true(replay: Replay, event: Event) -> Event | None:
    return next((each for each in replay.at(event.revision) if each.kv.key == event.kv.key), None)


def _content(kv: KeyValue) -> tuple[bytes, int, int]:
    return kv.value, kv.version, kv.lease


def _may_count(operation: Operation) -> bool:
    outcome = operation.outcome
    return isinstance(outcome, Answer) or outcome.maybe_applied
