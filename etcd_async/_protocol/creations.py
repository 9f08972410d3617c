"""The creations of watches on one stream: their ids on the wire, the line of unanswered ones, and cancellations."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

NO_ID = -1  # of a refused creation, and of progress of the whole stream: clientv3.InvalidWatchID

T = TypeVar("T")


class Creations(Generic[T]):
    """
    What the server may know by which id.

    An id is used for one creation only, on all streams, so that late news of an earlier creation can't reach another
    watch. A refused creation comes back without id but in order (server ``v3rpc/watch.go``), so each keeps its place
    in the line of unanswered ones even if it is cancelled.
    """

    def __init__(self) -> None:
        self._last_id = 0
        self._live: dict[int, T] = {}
        self._unanswered: deque[int] = deque()
        self._cancels: list[int] = []  # to be sent
        self._cancelled: set[int] = set()  # whose end the server has not confirmed

    def __bool__(self) -> bool:
        return bool(self._live)

    @property
    def has_cancels(self) -> bool:
        """True while there are cancellations to send."""
        return bool(self._cancels)

    def create(self, watch: T) -> int:
        """Return a fresh id for *watch* and put it at the end of the line."""
        self._last_id += 1
        self._live[self._last_id] = watch
        self._unanswered.append(self._last_id)
        return self._last_id

    def get(self, wire_id: int) -> T | None:
        """Return the watch the server means by *wire_id*."""
        return self._live.get(wire_id)

    def answered(self, wire_id: int) -> T | None:
        """Strike a creation from the line, the oldest if *wire_id* is `NO_ID`, and return its watch if still wanted."""
        if wire_id == NO_ID:
            wire_id = self._unanswered.popleft() if self._unanswered else NO_ID
            self._cancelled.discard(wire_id)  # refused: nothing will confirm that it ended
        elif wire_id in self._unanswered:
            self._unanswered.remove(wire_id)
        return self._live.get(wire_id)

    def unanswered(self) -> list[T]:
        """Return the watches in the line."""
        return [self._live[wire_id] for wire_id in self._unanswered if wire_id in self._live]

    def drop(self, wire_id: int) -> bool:
        """Forget an id, and tell if it was known."""
        return self._live.pop(wire_id, None) is not None

    def cancel(self, wire_id: int) -> None:
        """Cancel on the server what it calls *wire_id*, once."""
        self._live.pop(wire_id, None)
        if wire_id not in self._cancelled:
            self._cancelled.add(wire_id)
            self._cancels.append(wire_id)

    def ended(self, wire_id: int) -> None:
        """Take the server's word that a cancelled id is no more."""
        self._cancelled.discard(wire_id)

    def take_cancels(self) -> list[int]:
        """Return, and count as sent, the ids to cancel on the server."""
        cancels, self._cancels = self._cancels, []
        return cancels

    def clear(self) -> list[T]:
        """Forget everything but which ids were used; return the watches the server knew, in order of creation."""
        lost = list(self._live.values())
        self._live.clear()
        self._unanswered.clear()
        self._cancels.clear()
        self._cancelled.clear()
        return lost
