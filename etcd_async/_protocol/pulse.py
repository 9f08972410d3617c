"""
When to ask the server of one watch stream how it is, and when the lack of an answer condemns the stream.

It does if nothing comes on the whole connection. If something else does, the answer may be behind it, on a slow link. A
ping tells: its answer goes the same way, and only a little faster, so once that has come the stream's own is due. How
long the ping took is how slow the link is. A peer that does not answer it in a minute might never.
"""

from __future__ import annotations

from typing import Final

from etcd_async._pb.etcdserverpb import WatchCreateRequest
from etcd_async._protocol.machine import AT_ONCE, Signs

PROGRESS_INTERVAL: Final = 0.2
"""Seconds until a question that somebody waits for is repeated; etcd resyncs watches every 0.1 s."""

IDLE_INTERVAL: Final = 10.0
"""Seconds after which a stream is asked although nobody waits for it."""

PATIENCE: Final = 2.0
"""Seconds without a word that condemn a stream on which something waits for its answer: a creation, or a knock."""

LOOK_INTERVAL: Final = 0.25
"""Seconds between looks at a stream that has had them and is excused."""

MAX_PATIENCE: Final = 64.0
"""What that grows to, twofold each time, until a stream has answered all in less than half of it: etcd may be slow."""


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
        self._silent_until = self._looks_at = AT_ONCE
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
        self._silent_until = self._looks_at = AT_ONCE

    def heard(self, now: float) -> None:
        """Take a sign of life."""
        self._heard = now
        self._is_condemned = False

    def waits(self, is_waiting: bool, now: float) -> None:
        """Hear whether something on the stream waits for its answer now."""
        if is_waiting and not self._is_waiting:
            self._waits_since = now
        if self._is_waiting and not is_waiting:
            while self._condemned and 2 * (now - self._waits_since) < self.patience:
                self._condemned -= 1
        self._is_waiting = is_waiting

    def asked(self, now: float) -> None:
        """Hear that the stream was asked."""
        self._idle_until = now + IDLE_INTERVAL
        self._silent_until = now + PROGRESS_INTERVAL

    def next_question(self, somebody_waits: bool) -> float:
        """Return when the stream is to be asked; *somebody_waits* for what it will say."""
        return min(self._idle_until, self._silent_until) if somebody_waits else self._idle_until

    def look_at(self) -> float | None:
        """Return when to ask for doubts and verdict, None if nothing is waited for."""
        return max(self._since + self.patience / 2, self._looks_at) if self._is_waiting else None

    def doubts(self, now: float, signs: Signs) -> bool:
        """Return whether a ping would tell what the silence means: half of the time is over, and none was answered."""
        since = max(self._since, signs.stream)
        return self._is_waiting and now >= since + self.patience / 2 and signs.asked < since

    def verdict(self, now: float, signs: Signs) -> str | None:
        """Return why the stream is to be given up, None if it is not."""
        since = max(self._since, signs.stream)
        half, end = since + self.patience / 2, since + self.patience
        self._looks_at = half if now < half else end if now < end else now + LOOK_INTERVAL
        if not self._is_waiting or now < max(end, self._excused_until(since, signs)):
            return None
        self._is_condemned = True
        return f"nothing was heard of the watches within {now - since:.3g} s, though asked for"

    @property
    def _since(self) -> float:
        return max(self._heard, self._waits_since)

    def _excused_until(self, since: float, signs: Signs) -> float:
        """Return until when what else was heard excuses a silence since *since*."""
        is_busy_until = signs.connection + self.patience
        if signs.asked < since:
            return min(is_busy_until, since + MAX_PATIENCE)
        return min(is_busy_until, signs.answered + (signs.answered - signs.asked) + self.patience / 2)
