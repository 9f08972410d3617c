"""
Frames that carry nothing, and how many of them are a flood (RFC 9113 §10.5).

What we hold in memory is bounded by windows and limits whatever arrives; this bounds the time that a peer may waste.
No clock is asked: a peer with something to say sends few such frames between two reads and few about each stream, so
only those beyond that add up.
"""

from __future__ import annotations

from typing import Final

from etcd_async._protocol.frames import ConnectionFault, ErrorCode

SPARE: Final = 1000
"""How many more than a peer needs are borne."""

PER_READ: Final = 16
"""Of frames that may come at any time (pings, settings, empty data, unknown ones): those that a read may bring."""

PER_DATA: Final = 2
"""Of window updates: those that a frame of data of ours may be answered with, one for its stream and one for all."""

PER_STREAM: Final = 8
"""Of frames about streams that are over, and of 1xx heads: those that a stream may see in its life."""


class Floods:
    """What the peer of one connection has wasted."""

    __slots__ = ("_idle", "_late", "_windows")

    def __init__(self) -> None:
        self._idle = self._late = self._windows = 0

    def read(self) -> None:
        """Begin another read from the transport."""
        if self._idle:
            self._idle = max(0, self._idle - PER_READ)

    def idle(self) -> None:
        """
        Count a frame that may come at any time and brings nothing.

        Raises:
            ConnectionFault: There were too many.
        """
        self._idle += 1
        if self._idle > SPARE:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a flood of frames that carry nothing")

    def late(self, opened: int) -> None:
        """
        Count a frame about a stream that is over, or a 1xx head; *opened* is how many streams there ever were.

        Raises:
            ConnectionFault: There were too many.
        """
        self._late += 1
        if self._late > SPARE + PER_STREAM * opened:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a flood of frames of streams that are over")

    def window(self, data_frames: int) -> None:
        """
        Count a window update; *data_frames* is how many frames of data were ever sent.

        Raises:
            ConnectionFault: There were too many.
        """
        self._windows += 1
        if self._windows > SPARE + PER_DATA * data_frames:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a flood of window updates")
