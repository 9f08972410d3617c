"""The true event log, made ready for questions: what happened at a revision, and what a range held as of one."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from etcd_async.types import Event, KeyValue

FIRST_WRITE = 2  # an empty etcd stands at revision 1


class Replay:
    """
    The store as the reference log tells it, from an empty one on.

    Attributes:
        events: Every event, in order.
        last: The last revision.
    """

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = events
        self.last = events[-1].revision if events else FIRST_WRITE - 1
        self._revisions = [event.revision for event in events]
        self._states: dict[bytes, tuple[list[int], list[KeyValue | None]]] = {}
        for event in events:
            revisions, states = self._states.setdefault(event.kv.key, ([], []))
            revisions.append(event.revision)
            states.append(event.kv if event.type == "put" else None)
        self._keys = sorted(self._states)

    def at(self, revision: int) -> Sequence[Event]:
        """Return the events of one revision."""
        return self.between(revision, revision)

    def between(self, first: int, last: int) -> Sequence[Event]:
        """Return the events from revision *first* to *last*, both included."""
        return self.events[bisect_left(self._revisions, first) : bisect_right(self._revisions, last)]

    def get(self, key: bytes, revision: int) -> KeyValue | None:
        """Return a key as it was at *revision*."""
        revisions, states = self._states.get(key, ([], []))
        position = bisect_right(revisions, revision)
        return states[position - 1] if position else None

    def range(self, key: bytes, range_end: bytes, revision: int) -> list[KeyValue]:
        """Return the keys of a range as they were at *revision*, in order."""
        keys = [key] if not range_end else [each for each in self._keys if in_range(each, key, range_end)]
        return [found for each in keys if (found := self.get(each, revision)) is not None]

    def versions(self, key: bytes) -> list[KeyValue | None]:
        """Return all that a key has ever been, None for absent."""
        return [None, *self._states.get(key, ([], []))[1]]

    def faults(self) -> Iterator[str]:
        """Say where the log contradicts itself: a gap, or an event that does not follow from those before."""
        expected = FIRST_WRITE
        for event in self.events:
            if event.revision not in {expected, expected - 1} or (event.revision < expected == FIRST_WRITE):
                yield f"revision {event.revision} follows {expected - 1}"
            expected = event.revision + 1
            before = self.get(event.kv.key, event.revision - 1)
            if event.prev_kv != before:
                yield f"prev_kv of {event} should be {before}"
            if event.type == "put" and not _follows(event.kv, before):
                yield f"{event} does not follow {before}"
            if event.type == "delete" and before is None:
                yield f"{event} deletes what was not there"


def in_range(key: bytes, start: bytes, range_end: bytes) -> bool:
    """Tell whether *key* is in a range as etcd writes it: no end is one key, an end of one zero byte is no end."""
    if not range_end:
        return key == start
    return start <= key and (range_end == b"\0" or key < range_end)


def _follows(kv: KeyValue, before: KeyValue | None) -> bool:
    if before is None:
        return (kv.version, kv.create_revision) == (1, kv.mod_revision)
    return (kv.version, kv.create_revision) == (before.version + 1, before.create_revision)
