"""What a watch holds for its consumer, and whether that is too much."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from etcd_async.options import WATCH_BUFFER_BYTES
from etcd_async.types import Batch, Event

__all__ = ["Inbox", "size_of"]

_OBJECTS = 400  # what an event's Python objects weigh besides its bytes, roughly


class Inbox:
    """The batches that wait for a consumer, and whether they are too many."""

    __slots__ = ("_batches", "_bytes", "_limit")

    def __init__(self, limit: int) -> None:
        self._batches: deque[tuple[Batch, int]] = deque()
        self._bytes = 0
        self._limit = limit

    def __bool__(self) -> bool:
        return bool(self._batches)

    @property
    def is_full(self) -> bool:
        """True while no more should come; a lone batch, however large, is what a quick consumer is about to take."""
        return len(self._batches) > 1 and (len(self._batches) >= self._limit or self._bytes >= WATCH_BUFFER_BYTES)

    @property
    def has_room_again(self) -> bool:
        """True once it is at most half full, so that stopping and going on does not flutter."""
        return len(self._batches) <= self._limit // 2 and self._bytes <= WATCH_BUFFER_BYTES // 2

    def put(self, batch: Batch) -> None:
        """Add a batch; of several words of progress in a row only the last is kept."""
        if batch.is_progress and self._batches and self._batches[-1][0].is_progress:
            self._batches.pop()
        size = size_of(batch.events)
        self._batches.append((batch, size))
        self._bytes += size

    def take(self) -> Batch:
        """Remove and return the oldest batch."""
        batch, size = self._batches.popleft()
        self._bytes -= size
        return batch

    def put_back(self, batch: Batch) -> None:
        """Have a batch that was taken be the oldest again."""
        size = size_of(batch.events)
        self._batches.appendleft((batch, size))
        self._bytes += size


def size_of(events: Sequence[Event]) -> int:
    """Return roughly how many bytes of memory *events* take."""
    # A loop, for a call or a step of a generator for each event would take as long as the sizes themselves.
    size = _OBJECTS * len(events)
    for event in events:
        kv, before = event.kv, event.prev_kv
        size += len(kv.key) + len(kv.value)
        if before is not None:
            size += len(before.value)
    return size
