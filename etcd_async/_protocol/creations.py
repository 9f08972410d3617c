"""The creations of watches on one stream: their ids on the wire, the line of unanswered ones, and cancellations."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from etcd_async.errors import ProtocolError

NO_ID = -1  # of a refused creation, and of progress of the whole stream: clientv3.InvalidWatchID

MAX_STRAYS = 1000  # how many watches a server may invent on one stream

T = TypeVar("T")


class Creations(Generic[T]):
    """
    What the server may know by which id.

    An id is used for one creation only, on all streams, so that late news of an earlier creation can't reach another
    watch. A refused creation comes back without id but in order (server ``v3rpc/watch.go``), so each keeps its place
    in the line of unanswered ones even if it is cancelled.

    etcd's gRPC proxy gives ids of its own, from 0 on, and answers in no order (server ``proxy/grpcproxy/watch.go``).
    So the first creation of a stream goes alone; if it comes back by another id, so do all that follow.
    """

    def __init__(self) -> None:
        self._last_id = 0
        self._keeps_ids: bool | None = None  # whether the server does; None before its first answer on this stream
        self._live: dict[int, T] = {}
        self._unanswered: deque[int] = deque()
        self._cancels: list[int] = []  # to be sent
        self._cancelled: set[int] = set()  # whose end the server has not confirmed
        self._strays = 0  # on this stream

    def __bool__(self) -> bool:
        return bool(self._live)

    @property
    def is_proxied(self) -> bool:
        """True if the server turned out to give ids of its own."""
        return self._keeps_ids is False

    @property
    def takes_more(self) -> bool:
        """True if another creation may be sent: its answer could be told from that to the last one."""
        return self._keeps_ids is True or not self._unanswered

    @property
    def may_ask(self) -> bool:
        """True if there is a watch to ask about, and a refusal could be told from an answer to a creation."""
        return bool(self._live) and self.takes_more

    @property
    def has_cancels(self) -> bool:
        """True while there are cancellations to send."""
        return bool(self._cancels)

    @property
    def has_unanswered(self) -> bool:
        """True while something in the line waits for its answer."""
        return bool(self._unanswered)

    def create(self, watch: T) -> int:
        """Return a fresh id for *watch* and put it at the end of the line."""
        wire_id = self.create_nothing()
        self._live[wire_id] = watch
        return wire_id

    def create_nothing(self) -> int:
        """Return a fresh id for a creation that is only to be answered, and put it at the end of the line."""
        self._last_id += 1
        self._unanswered.append(self._last_id)
        return self._last_id

    def live(self) -> list[T]:
        """Return the watches the server may know, in order of creation."""
        return list(self._live.values())

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
            self._named(wire_id, keeps_ids=True)
        elif self._unanswered and not self._keeps_ids and wire_id not in self._live:
            self._rename(self._unanswered.popleft(), wire_id)
            self._named(wire_id, keeps_ids=False)
        return self._live.get(wire_id)

    def _named(self, wire_id: int, *, keeps_ids: bool) -> None:
        self._keeps_ids = keeps_ids
        if wire_id not in self._live:  # not wanted any more, before it had a name
            self.cancel(wire_id)

    def _rename(self, ours: int, theirs: int) -> None:
        if ours in self._live:
            self._live[theirs] = self._live.pop(ours)

    def unanswered(self) -> list[T]:
        """Return the watches in the line."""
        return [self._live[wire_id] for wire_id in self._unanswered if wire_id in self._live]

    def drop(self, wire_id: int) -> bool:
        """Forget an id, and tell if it was known."""
        return self._live.pop(wire_id, None) is not None

    def cancel(self, wire_id: int) -> None:
        """Cancel on the server what it calls *wire_id*, once; if it may call it otherwise, as soon as that is known."""
        self._live.pop(wire_id, None)
        if not self._keeps_ids and wire_id in self._unanswered:  # the line is long only where ids are kept
            return
        if wire_id not in self._cancelled:
            self._cancelled.add(wire_id)
            self._cancels.append(wire_id)

    def over(self, wire_id: int) -> None:
        """Take the server's word that a watch has ended; its proxy would still add others to what is over."""
        if self.is_proxied:
            self.cancel(wire_id)

    def cancel_stray(self, wire_id: int) -> None:
        """
        Cancel on the server a watch that is none of ours, once.

        Raises:
            ProtocolError: There are `MAX_STRAYS` of them on this stream already.
        """
        if wire_id not in self._cancelled:
            self._strays += 1
            if self._strays > MAX_STRAYS:
                raise ProtocolError("the server speaks of watches that were never created")
            self.cancel(wire_id)

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
        self._keeps_ids = None
        self._strays = 0
        return lost
