"""
What arrives on a connection: each frame checked against RFC 9113 and handed to the call it belongs to.

Frames of stream 0 that change settings, windows or ask for a sign of life go to a *host* (h2, behind it); GOAWAY,
which h2 would take for the end of everything, goes to it already read.
"""

from __future__ import annotations

from typing import Final, Protocol

from etcd_async._protocol.exchange import Exchange, ExchangeOver
from etcd_async._protocol.floods import Floods
from etcd_async._protocol.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    ConnectionFault,
    ErrorCode,
    FrameReader,
    code_name,
    frame,
    read_goaway,
    read_word,
    unpadded,
)
from etcd_async._protocol.headers import HeadReader
from etcd_async._protocol.outbox import Outbox
from etcd_async.errors import EtcdError, ProtocolError

MAX_HEADER_BLOCK: Final = 64 * 1024
_MAX_CONTINUATIONS: Final = 64


class InboxHost(Protocol):
    """What an inbox leaves to the connection around it."""

    def on_control(self, frame: bytes) -> None:
        """Take a SETTINGS, PING or WINDOW_UPDATE frame of stream 0."""

    def on_ping_answered(self) -> None:
        """Hear that a PING frame of ours was answered."""

    def on_goaway(self, last_id: int, code: int, debug: bytes) -> None:
        """Take a GOAWAY frame."""


class Inbox:
    """
    The receiving half of one connection.

    Args:
        host: See `InboxHost`.
        outbox: The sending half, which holds the table of streams.
        heads: Decodes header blocks; every block passes through it, whoever it is for, in order.

    Attributes:
        has_answered: Whether headers of any answer have come.
    """

    def __init__(self, host: InboxHost, outbox: Outbox, heads: HeadReader) -> None:
        self.has_answered = False
        self._host = host
        self._outbox = outbox
        self._open = outbox.open
        self._heads = heads
        self._reader = FrameReader()
        self._floods = Floods()
        self._greeted = False
        self._is_special = True
        self._block: list[bytes] = []
        self._block_of = (0, 0)
        self._handlers = {
            DATA: self._on_data,
            HEADERS: self._on_headers,
            RST_STREAM: self._on_rst_stream,
            SETTINGS: self._on_settings,
            PUSH_PROMISE: self._on_push_promise,
            PING: self._on_ping,
            GOAWAY: self._on_goaway,
            WINDOW_UPDATE: self._on_window_update,
            CONTINUATION: self._on_continuation,
        }

    @property
    def unread(self) -> bytes:
        """The start of a frame that is not whole yet."""
        return self._reader.rest

    def receive(self, data: bytes) -> None:
        """
        Take bytes from the transport.

        Raises:
            ConnectionFault: The peer broke the rules; the connection must end.
        """
        handlers = self._handlers
        self._floods.read()
        for kind, flags, stream_id, payload in self._reader.feed(data):
            if self._is_special:
                self._check_turn(kind, flags, stream_id)
            handler = handlers.get(kind)
            if handler is None:
                self._floods.idle()
            else:
                handler(flags, stream_id, payload)

    def _check_turn(self, kind: int, flags: int, stream_id: int) -> None:
        """Hold the two moments at which only one kind of frame may come (RFC 9113 §3.4 and §6.10)."""
        if not self._greeted:
            if kind != SETTINGS or flags & ACK or stream_id:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the server did not begin with its settings")
            self._greeted = True
        elif kind != CONTINUATION or stream_id != self._block_of[0]:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a header block was interrupted by another frame")
        self._is_special = False

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not self._outbox.count(len(payload)):
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more data than the connection's window allows")
        exchange = self._open.get(stream_id)
        size = len(payload)
        if flags & PADDED:
            payload = unpadded(flags, payload)
        if exchange is None:
            # What was on its way when we left a stream is no waste: as much of it as the stream's window let through.
            self._check_known(stream_id, "DATA", counts=not payload)
            return
        if not payload:
            self._floods.idle()
        exchange.held += len(payload)
        exchange.spent += size - len(payload)
        if exchange.held + exchange.spent > self._outbox.stream_window:
            error = ProtocolError("the server sent more than the stream's window allows")
            self._fail(exchange, error, ErrorCode.FLOW_CONTROL_ERROR)
            return
        try:
            exchange.on_data(payload)
            if flags & END_STREAM:
                raise ProtocolError("the server ended the call without a grpc-status")
        except EtcdError as error:
            self._fail(exchange, error)
        else:
            self._outbox.grant(exchange)

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if flags & (PADDED | WITH_PRIORITY):
            payload = unpadded(flags, payload, with_priority=True)
        if flags & END_HEADERS:
            self._on_block(flags, stream_id, payload)
            return
        self._block = [payload]
        self._block_of = (stream_id, flags)
        self._is_special = True

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not self._block:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a CONTINUATION frame that continues nothing")
        self._block.append(payload)
        if len(self._block) > _MAX_CONTINUATIONS or sum(map(len, self._block)) > MAX_HEADER_BLOCK:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a header block without end")
        if not flags & END_HEADERS:
            self._is_special = True
            return
        block, self._block = b"".join(self._block), []
        self._on_block(self._block_of[1], stream_id, block)

    def _on_block(self, flags: int, stream_id: int, block: bytes) -> None:
        head = self._heads.read(block)
        exchange = self._open.get(stream_id)
        if exchange is None:
            self._check_known(stream_id, "HEADERS")
            return
        self.has_answered = True
        is_last = bool(flags & END_STREAM)
        if is_last:
            self._outbox.close(exchange)
        elif not head.is_plain_start and head.is_informational:
            self._floods.late(self._outbox.opened)
        try:
            exchange.on_head(head, is_last)
        except EtcdError as error:
            self._fail(exchange, error)
        except ExchangeOver as over:
            self._outbox.close(exchange, ErrorCode.CANCEL)
            exchange.on_failed(over.error)

    def _on_rst_stream(self, flags: int, stream_id: int, payload: bytes) -> None:
        code = read_word(payload, "RST_STREAM")
        exchange = self._open.get(stream_id)
        if exchange is None:
            self._check_known(stream_id, "RST_STREAM")
            return
        is_sent = exchange.is_sent and code != ErrorCode.REFUSED_STREAM
        exchange.has_ended = True
        self._outbox.close(exchange)
        exchange.on_lost(f"the server reset the stream: {code_name(code)}", is_sent=is_sent)

    def _on_window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._floods.window(self._outbox.data_frames)
        if not stream_id:
            self._host.on_control(frame(WINDOW_UPDATE, flags, 0, payload))
            return
        increment = read_word(payload, "WINDOW_UPDATE") & 0x7FFFFFFF
        exchange = self._open.get(stream_id)
        if exchange is None:
            self._check_known(stream_id, "WINDOW_UPDATE", counts=False)
        elif not increment:
            self._fail(exchange, ProtocolError("the server opened a window by 0"))
        elif not self._outbox.window_opened(exchange, increment):
            self._fail(exchange, ProtocolError("the server opened a window past 2^31-1"), ErrorCode.FLOW_CONTROL_ERROR)

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._check_connection_frame(stream_id, "SETTINGS")
        self._host.on_control(frame(SETTINGS, flags, 0, payload))

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._check_connection_frame(stream_id, "PING")
        self._host.on_control(frame(PING, flags, 0, payload))
        if flags & ACK:
            self._host.on_ping_answered()

    def _on_goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._check_connection_frame(stream_id, "GOAWAY")
        self._host.on_goaway(*read_goaway(payload))

    def _on_push_promise(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the server pushed although that is switched off")

    def _check_known(self, stream_id: int, kind: str, *, counts: bool = True) -> None:
        """Frames may trail a stream that is over; a stream that never was may have none (RFC 9113 §5.1)."""
        if not self._outbox.was_opened(stream_id):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"a {kind} frame of stream {stream_id}, which is not open")
        if counts:
            self._floods.late(self._outbox.opened)

    def _check_connection_frame(self, stream_id: int, kind: str) -> None:
        if stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"a {kind} frame of stream {stream_id}, not of stream 0")
        self._floods.idle()

    def _fail(self, exchange: Exchange, error: EtcdError, code: ErrorCode | None = None) -> None:
        if code is None:
            code = ErrorCode.PROTOCOL_ERROR if isinstance(error, ProtocolError) else ErrorCode.CANCEL
        error.maybe_applied = exchange.is_sent
        self._outbox.close(exchange, code)
        exchange.on_failed(error)
