"""The two clocks of a connection: deadlines of its calls, and signs of life from its peer."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterable

from etcd_async._protocol.exchange import Exchange

_SECOND_LOOK = 0.02
_GRAIN = 0.005
"""Seconds that a deadline may be late, so that many in a row do not each cost a look at all calls."""

HURRY = 1.0
"""Seconds that a call may wait on a silent connection before the peer is asked."""

PING_FLOOR = 5.5
"""Seconds between two pings: etcd's 5 s (``server/embed/config.go`` GRPCKeepAliveMinTime), and some for the way."""


class Deadlines:
    """
    One timer for all calls of a connection, at the earliest of their deadlines.

    Args:
        unfinished: Returns the exchanges that may have a deadline.
        expire: Called with each exchange whose deadline has passed.

    Attributes:
        next: When the timer is set to fire; infinity if it is not set.
    """

    def __init__(self, unfinished: Callable[[], Iterable[Exchange]], expire: Callable[[Exchange], None]) -> None:
        self.next = math.inf
        self._unfinished = unfinished
        self._expire = expire
        self._handle: asyncio.TimerHandle | None = None

    def watch(self, deadline: float) -> None:
        """Make sure that the timer fires at *deadline* or before."""
        if deadline < self.next:
            self.stop()
            self.next = deadline
            delay = max(0.0, deadline - time.monotonic())
            self._handle = asyncio.get_running_loop().call_later(delay, self._fire)

    def stop(self) -> None:
        """Forget all deadlines."""
        self.next = math.inf
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self) -> None:
        self.stop()
        now, earliest = time.monotonic(), math.inf
        for exchange in self._unfinished():
            if exchange.deadline is None:
                continue
            if exchange.deadline <= now:
                self._expire(exchange)
            else:
                earliest = min(earliest, exchange.deadline)
        if earliest < math.inf:
            self.watch(max(earliest, now + _GRAIN))


class Heartbeat:
    """
    Asks a silent peer for a sign of life while something depends on it; never when nothing does.

    Streams may be silent for long, so they are worth a ping at each *interval* only. A call waits for its answer: a
    peer that has said nothing for `HURRY` meanwhile is asked then, so that one that is gone costs a call not much more
    than *timeout*. etcd closes connections that ping without an open stream, or more often than every 5 seconds
    (``server/embed/config.go``: PermitWithoutStream, GRPCKeepAliveMinTime). Any byte counts as a sign.

    Args:
        interval: Seconds of silence before a ping.
        timeout: Seconds that the peer has then.
        floor: Seconds between two pings at least.
        is_idle: Tells whether nothing is open; the timer then stops until the next `start`.
        is_awaited: Tells whether a call waits for its answer.
        ping: Sends a ping.
        give_up: Called with the seconds of silence when no sign came.

    Attributes:
        heard: When something arrived last, on the monotonic clock.
        proof: When the ping was sent that was answered last, and when the answer came.
        is_running: Whether the timer is set.
    """

    def __init__(
        self,
        interval: float,
        timeout: float,
        *,
        floor: float,
        is_idle: Callable[[], bool],
        is_awaited: Callable[[], bool],
        ping: Callable[[], None],
        give_up: Callable[[float], None],
    ) -> None:
        self.heard = 0.0
        self.proof = (-math.inf, -math.inf)
        self.is_running = False
        self._interval = interval
        self._timeout = timeout
        self._hurry = min(HURRY, interval)
        self._floor = floor
        self._is_idle = is_idle
        self._is_awaited = is_awaited
        self._ping = ping
        self._give_up = give_up
        self._pinged = -math.inf
        self._unanswered: deque[float] = deque()  # when pings were sent
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """
        Watch the peer from now on.

        Silence before the start counts: else calls that are seldom, and shorter than the interval, would all time out
        on a connection that was cut without a word, and none would live to see a ping.
        """
        self.is_running = True
        rest = max(self.heard + self._interval, self._pinged + self._floor) - time.monotonic()
        self._set(min(max(0.0, rest), self._hurry), self._look)

    def ask(self) -> None:
        """Ping the peer now although it may not be silent, unless it was just done, or is unanswered still."""
        if self.is_running and not self._unanswered and time.monotonic() >= self._pinged + self._floor:
            self._stop_timer()
            self._send_ping()

    def answered(self) -> None:
        """Hear that a ping was answered; answers come in order."""
        if self._unanswered:
            self.proof = self._unanswered.popleft(), self.heard

    def stop(self) -> None:
        """Stop watching."""
        self.is_running = False
        self._stop_timer()

    def _stop_timer(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _set(self, delay: float, callback: Callable[[], None]) -> None:
        self._handle = asyncio.get_running_loop().call_later(delay, callback)

    def _look(self) -> None:
        if self._is_idle():
            self.stop()
            return
        now = time.monotonic()
        rest = max(self._due_at(), self._pinged + self._floor) - now
        if rest > 0:
            self._set(min(rest, self._hurry), self._look)
        else:
            self._send_ping()

    def _send_ping(self) -> None:
        self._pinged = time.monotonic()
        self._unanswered.append(self._pinged)
        self._ping()
        self._set(min(self._interval, self._timeout), self._judge)

    def _due_at(self) -> float:
        is_silent = time.monotonic() - self.heard >= self._hurry
        return self.heard + (self._hurry if is_silent and self._is_awaited() else self._interval)

    def _judge(self) -> None:
        rest = self._pinged + self._timeout - time.monotonic()
        if self.heard >= self._pinged:
            self._look()
        elif rest > 0:
            self._set(rest, self._judge)
        else:
            # If the loop itself stood still, the sign may lie in the socket: uvloop runs timers before it reads.
            self._set(_SECOND_LOOK, self._condemn)

    def _condemn(self) -> None:
        if self.heard >= self._pinged:
            self._look()
        else:
            self.stop()
            self._give_up(time.monotonic() - self.heard)
