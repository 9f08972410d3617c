"""When to ask the server of one watch stream how it is, and when the lack of an answer condemns the stream."""

from __future__ import annotations

from typing import Final

from etcd_async._pb.etcdserverpb import WatchCreateRequest
from etcd_async._protocol.machine import AT_ONCE

PROGRESS_INTERVAL: Final = 0.2
"""Seconds until a question that somebody waits for is repeated; etcd resyncs watches every 0.1 s."""

IDLE_INTERVAL: Final = 10.0
"""Seconds after which a stream is asked although nobody waits for it."""

PATIENCE: Final = 2.0
"""Seconds without a word that condemn a stream on which something waits for its answer: a creation, or a knock."""

MAX_PATIENCE: Final = 64.0
"""What that grows to, twofold each time, until a stream has answered everything: the server may just be slow."""


def knock(wire_id: int) -> WatchCreateRequest:
    """
    Return a creation that every etcd refuses at once, and the proxy of etcd as well: its range is empty.

    It is what must be answered: a request for progress need not be. Newer etcds (3.5.35, 3.6, 3.7) give no answer to
    one while any watch of the stream starts after the store's revision, as those "from now" do until the next write
    (server ``mvcc/watchable_store.go`` progressIfSync).
    """
    return WatchCreateRequest(key=b"b", range_end=b"a", watch_id=wire_id)


class Pulse:
    """The questions and signs of life of one stream, and of those before it."""

    def __init__(self) -> None:
        self._heard = self._waits_since = 0.0
        self._idle_until = 0.0
        self._silent_until = AT_ONCE
        self._is_waiting = self._is_condemned = False
        self._condemned = 0  # in a row

    @property
    def patience(self) -> float:
        """How long the stream may be silent while something waits for its answer."""
        doublings = min(self._condemned, 16)  # far past the maximum; keeps the power finite
        return float(min(PATIENCE * 2**doublings, MAX_PATIENCE))

    def opened(self, now: float) -> None:
        """Begin with a fresh stream."""
        self._condemned += self._is_condemned
        self._is_condemned = self._is_waiting = False
        self._idle_until = now + IDLE_INTERVAL
        self._silent_until = AT_ONCE

    def heard(self, now: float) -> None:
        """Take a sign of life."""
        self._heard = now
        self._is_condemned = False

    def waits(self, is_waiting: bool, now: float) -> None:
        """Hear whether something on the stream waits for its answer now."""
        if not is_waiting:
            self._condemned = 0
        elif not self._is_waiting:
            self._waits_since = now
        self._is_waiting = is_waiting

    def asked(self, now: float) -> None:
        """Hear that the stream was asked."""
        self._idle_until = now + IDLE_INTERVAL
        self._silent_until = now + PROGRESS_INTERVAL

    def next_question(self, somebody_waits: bool) -> float:
        """Return when the stream is to be asked; *somebody_waits* for what it will say."""
        return min(self._idle_until, self._silent_until) if somebody_waits else self._idle_until

    def verdict_at(self) -> float | None:
        """Return when the stream will have been silent for too long, None if it may be."""
        return max(self._heard, self._waits_since) + self.patience if self._is_waiting else None

    def verdict(self, now: float) -> str | None:
        """Return why the stream is to be given up, None if it is not."""
        end = self.verdict_at()
        if end is None or now < end:
            return None
        self._is_condemned = True
        return f"nothing was heard of the watches within {self.patience:g} s, though asked for"
