"""Many deadlines, one per key, of which the next is always at hand."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

_SPARE = 64  # entries of past settings that are not worth a rebuild


class Timers:
    """
    The times set for keys; setting, discarding and taking are O(log n).

    A heap keeps what was set; an entry whose time is no longer its key's is skipped when it surfaces, and the heap is
    rebuilt when most of it is such entries.
    """

    def __init__(self) -> None:
        self._times: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []

    def __contains__(self, key: int) -> bool:
        return key in self._times

    def set(self, key: int, time: float) -> None:
        """Set the time of *key*, in place of an earlier one."""
        self._times[key] = time
        heapq.heappush(self._heap, (time, key))
        if len(self._heap) > 2 * len(self._times) + _SPARE:
            self._heap = [(at, each) for each, at in self._times.items()]
            heapq.heapify(self._heap)

    def discard(self, key: int) -> None:
        """Forget the time of *key*, if it has one."""
        self._times.pop(key, None)

    def clear(self) -> None:
        """Forget all."""
        self._times.clear()
        self._heap.clear()

    def next(self) -> float | None:
        """Return the earliest time set, or None."""
        while self._heap and self._times.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: float) -> Iterator[int]:
        """Yield, earliest first, and forget the keys whose time has come."""
        while (time := self.next()) is not None and time <= now:
            key = heapq.heappop(self._heap)[1]
            del self._times[key]
            yield key
