"""
What leaves a connection, in which order and under which windows (RFC 9113 §5.2 and §6.9).

Calls wait here until the next write, so all that are made in one turn of the loop leave in one piece, and one that
is cancelled before that leaves no trace. The same queue, first in first out, serves SETTINGS_MAX_CONCURRENT_STREAMS.
Data that the windows hold back goes out in turns, a frame each, so no sender starves another.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

from etcd_async._protocol.exchange import Exchange
from etcd_async._protocol.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MAX_STREAM_ID,
    MAX_WINDOW,
    ConnectionFault,
    ErrorCode,
    header,
    header_frames,
    message_start,
    rst_stream,
    window_update,
)
from etcd_async._protocol.grpc import PREFIX_SIZE, prefixed
from etcd_async._protocol.headers import FORGET_TABLE

WRITE_SIZE: Final = 256 * 1024
"""About how much is handed to the transport at once; it may ask us to pause after that."""


class PeerSettings(Protocol):
    """What the peer allows now; h2's connection, seen from here."""

    outbound_flow_control_window: int
    max_outbound_frame_size: int

    @property
    def remote_settings(self) -> RemoteSettings: ...


class RemoteSettings(Protocol):
    """The peer's SETTINGS that concern what we send."""

    @property
    def initial_window_size(self) -> int: ...

    @property
    def max_concurrent_streams(self) -> int: ...


class Outbox:
    """
    Everything of one connection that is still to be written, and the table of its open streams.

    Args:
        peer: The peer's settings and connection window; the window is counted down here.
        stream_window: What we grant the peer on each stream.
        connection_window: What we grant it on all streams together; granted again as it is used.
        wake: Called whenever there may be something to write.
    """

    def __init__(
        self, peer: PeerSettings, *, stream_window: int, connection_window: int, wake: Callable[[], None]
    ) -> None:
        self.open: dict[int, Exchange] = {}
        self.stream_window = stream_window
        self._connection_window = connection_window
        self._used = 0
        self._peer = peer
        self._wake = wake
        # Queues that can be left from the middle at once: thousands of calls may be cancelled together.
        self._waiting: OrderedDict[Exchange, None] = OrderedDict()
        self._ready: OrderedDict[Exchange, None] = OrderedDict()
        self._frames: list[bytes] = []
        self._next_id = 1
        self._pieces = 0
        self._initial_window = peer.remote_settings.initial_window_size
        self._max_open = peer.remote_settings.max_concurrent_streams

    @property
    def is_idle(self) -> bool:
        """Whether no call or stream is open or waits to be."""
        return not self.open and not self._waiting

    @property
    def has_stream_ids(self) -> bool:
        """Whether one more call could still get a stream id."""
        return self._next_id + 2 * len(self._waiting) <= MAX_STREAM_ID

    @property
    def opened(self) -> int:
        """How many streams there ever were."""
        return self._next_id >> 1

    @property
    def data_frames(self) -> int:
        """How many frames of data were sent, or a few more."""
        return self.opened + self._pieces

    def was_opened(self, stream_id: int) -> bool:
        """Tell whether *stream_id* is, or was, a stream of ours."""
        return stream_id % 2 == 1 and stream_id < self._next_id

    def start(self, exchange: Exchange) -> None:
        """Send *exchange* as soon as the peer allows another stream."""
        self._waiting[exchange] = None
        self._wake()

    def send(self, exchange: Exchange, message: bytes | None, *, end: bool) -> None:
        """Queue a *message* of a stream, None for none; *end* ends our side after it."""
        if message is not None:
            exchange.backlog += prefixed(message)
        exchange.is_ending |= end
        if exchange.stream_id:
            self._queue(exchange)
            self._wake()

    def control(self, frames: bytes) -> None:
        """Write *frames*, which no window concerns, before anything else."""
        self._frames.append(frames)
        self._wake()

    def count(self, size: int) -> bool:
        """
        Count *size* received bytes against the connection's window, whoever they are for; False if it was overrun.

        They are granted again with the next write, once that is worth a frame: no stream can hold up another.
        """
        self._used += size
        if self._used * 2 >= self._connection_window:
            self._wake()
        return self._used <= self._connection_window

    def grant(self, exchange: Exchange) -> None:
        """Let the peer send again what has been taken, once it is worth a frame."""
        if exchange.spent * 2 >= self.stream_window and not exchange.is_closed:
            self.control(window_update(exchange.stream_id, exchange.spent))
            exchange.spent = 0

    def close(self, exchange: Exchange, code: ErrorCode = ErrorCode.NO_ERROR) -> None:
        """
        Forget *exchange*, wherever it stands; closed ones are ignored.

        The peer is told with *code* unless both sides have ended, or nothing of it has left yet.
        """
        if exchange.is_closed:
            return
        exchange.is_closed = True
        exchange.backlog.clear()
        exchange.message = None
        if exchange.is_queued:
            del self._ready[exchange]
        if not exchange.stream_id:
            del self._waiting[exchange]
            return
        del self.open[exchange.stream_id]
        if code or not exchange.has_ended:
            self.control(rst_stream(exchange.stream_id, code))
        elif self._waiting:
            self._wake()

    def drop(self, above: int = 0) -> list[Exchange]:
        """Forget all exchanges that wait or have a stream id over *above*, telling nobody, and return them."""
        dropped = [exchange for stream_id, exchange in self.open.items() if stream_id > above]
        dropped += self._waiting
        self._waiting.clear()
        for exchange in dropped:
            exchange.is_closed = True
            exchange.backlog.clear()
            exchange.message = None
            self.open.pop(exchange.stream_id, None)
            self._ready.pop(exchange, None)
        return dropped

    def unfinished(self) -> list[Exchange]:
        """Return all exchanges that are open or wait to be."""
        return [*self.open.values(), *self._waiting]

    def window_opened(self, exchange: Exchange, increment: int) -> bool:
        """Take a WINDOW_UPDATE of a stream; False if it passes what a window may be."""
        exchange.send_window += increment
        self._queue(exchange)
        self._wake()
        return exchange.send_window <= MAX_WINDOW

    def settings_changed(self) -> None:
        """Take the peer's settings anew; windows of open streams move with the initial one (RFC 9113 §6.9.2)."""
        settings = self._peer.remote_settings
        moved = settings.initial_window_size - self._initial_window
        self._initial_window += moved
        self._max_open = settings.max_concurrent_streams
        for exchange in self.open.values() if moved else ():
            exchange.send_window += moved
            if exchange.send_window > MAX_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a setting made a window pass 2^31-1")
            self._queue(exchange)
        self._wake()

    def next_write(self) -> bytes:
        """Return what may leave now, about `WRITE_SIZE` bytes at most; empty if nothing may."""
        out, self._frames = self._frames, []
        if self._used * 2 >= self._connection_window:
            out.append(window_update(0, self._used))
            self._used = 0
        room = WRITE_SIZE
        while self._waiting and len(self.open) < self._max_open and room > 0:
            room -= self._begin(self._waiting.popitem(last=False)[0], out)
        while self._ready and room > 0 and self._peer.outbound_flow_control_window > 0:
            room -= self._continue(self._ready.popitem(last=False)[0], out)
        return b"".join(out)

    def _begin(self, exchange: Exchange, out: list[bytes]) -> int:
        stream_id = exchange.stream_id = self._next_id
        self._next_id = stream_id + 2
        self.open[stream_id] = exchange
        exchange.send_window = self._initial_window
        peer, block, message = self._peer, exchange.block, exchange.message
        if stream_id == 1:
            block = FORGET_TABLE + block
        if len(block) <= peer.max_outbound_frame_size:
            out += (header(HEADERS, END_HEADERS, stream_id, len(block)), block)
        else:
            out.append(header_frames(stream_id, block, peer.max_outbound_frame_size))
        if message is None:
            self._queue(exchange, out)
            return len(block) + len(exchange.backlog)
        size = len(message) + PREFIX_SIZE
        room = min(self._initial_window, peer.outbound_flow_control_window, peer.max_outbound_frame_size)
        if size <= room and not self._ready:
            out += (message_start(stream_id, len(message)), message)
            peer.outbound_flow_control_window -= size
            exchange.send_window -= size
            exchange.has_ended = True
        else:
            exchange.backlog += prefixed(message)
            self._queue(exchange, out)
        exchange.message = None
        return len(block) + size

    def _queue(self, exchange: Exchange, out: list[bytes] | None = None) -> None:
        """Let *exchange* take its turn if it has something that may leave; a bare END_STREAM needs no window."""
        if exchange.backlog:
            if exchange.send_window > 0 and not exchange.is_queued:
                exchange.is_queued = True
                self._ready[exchange] = None
        elif exchange.is_ending and not exchange.has_ended:
            exchange.has_ended = True
            frames = self._frames if out is None else out
            frames.append(header(DATA, END_STREAM, exchange.stream_id, 0))

    def _continue(self, exchange: Exchange, out: list[bytes]) -> int:
        peer, backlog = self._peer, exchange.backlog
        size = min(
            len(backlog), peer.max_outbound_frame_size, peer.outbound_flow_control_window, max(exchange.send_window, 0)
        )
        exchange.is_queued = False
        if not size:
            return 0
        self._pieces += 1
        piece = bytes(backlog[:size])
        del backlog[:size]
        peer.outbound_flow_control_window -= size
        exchange.send_window -= size
        exchange.has_ended = exchange.is_ending and not exchange.backlog
        out += (header(DATA, END_STREAM if exchange.has_ended else 0, exchange.stream_id, size), piece)
        self._queue(exchange)
        return size
