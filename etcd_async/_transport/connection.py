"""One live connection: frames in and out of its transport, its clocks, and its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from etcd_async._protocol.exchange import Exchange
from etcd_async._protocol.frames import ConnectionFault, ErrorCode, code_name, foreign_greeting, goaway
from etcd_async._protocol.headers import HeadReader
from etcd_async._protocol.inbox import Inbox
from etcd_async._protocol.outbox import Outbox
from etcd_async._transport.failure import CLOSED_EARLY, AttemptFailed, lost_reason
from etcd_async._transport.http2 import Control
from etcd_async._transport.timers import PING_FLOOR, Deadlines, Heartbeat
from etcd_async.errors import ClientClosed, DeadlineExceeded
from etcd_async.options import TransportOptions

CLOSE_GRACE = 1.0
"""Seconds that the peer has to take our last bytes when we close; then the transport is aborted."""

MAX_DEBUG = 200
"""Bytes of a GOAWAY's debug data that errors repeat, with everything escaped that could play tricks in a log."""

MAX_UNWRITTEN = 4096
"""Answers to the peer's settings and pings that may pile up while it reads nothing; more is a peer that floods us."""


class Connection:
    """
    A connection and the calls and streams on it.

    It counts as made when the server's first SETTINGS have come (`ready`): something that merely accepts TCP
    connections is no etcd. The first reason for its end is the one that everybody is told.

    Attributes:
        endpoint: As shown to users.
        outbox: What is to leave, and the table of open streams.
        ready: Done when the server has spoken HTTP/2, or the connection is over.
        closed: Done when the transport is gone.
        is_usable: False once it takes no new calls: the server said GOAWAY, or it is over.
        is_over: Whether it has ended.
        reason: Why it ended, or is about to.
        is_scolded: The server complained about too many pings (GOAWAY, ENHANCE_YOUR_CALM).
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        control: Control,
        *,
        endpoint: str,
        options: TransportOptions,
        ping_interval: float,
        on_over: Callable[[Connection], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self.endpoint = endpoint
        self.ready: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.is_usable = True
        self.is_over = False
        self.is_scolded = False
        self.reason: str | None = None
        self._loop = loop
        self._transport = transport
        self._control = control
        self._on_over = on_over
        self._is_paused = self._is_scheduled = False
        self._owed = 0  # answers to control frames since the outbox was last empty
        self._abort_handle: asyncio.TimerHandle | None = None
        self.outbox = Outbox(
            control.peer,
            stream_window=options.stream_window,
            connection_window=options.connection_window,
            wake=self._wake,
        )
        self._inbox = Inbox(self, self.outbox, HeadReader(control.decode))
        self._deadlines = Deadlines(self.outbox.unfinished, self._expire)
        self._heartbeat = self._new_heartbeat(ping_interval, options)
        self.outbox.control(control.answer())

    @property
    def was_useful(self) -> bool:
        """Whether any call was answered on it."""
        return self._inbox.has_answered

    @property
    def heard(self) -> float:
        """When something arrived last, on the monotonic clock."""
        return self._heartbeat.heard

    @property
    def proof(self) -> tuple[float, float]:
        """When the ping was sent that was answered last, and when the answer came, on the monotonic clock."""
        return self._heartbeat.proof

    def ask(self) -> None:
        """Ping the server, unless that was just done; also one that is heard, to know how long its answers take."""
        self._heartbeat.ask()

    def check_alpn(self) -> None:
        """Raise `AttemptFailed` if TLS was negotiated for anything but HTTP/2."""
        tls = self._transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            raise AttemptFailed(self.endpoint, "the server did not agree to HTTP/2 (ALPN)", sent=False)

    def start(self, exchange: Exchange) -> None:
        """Send *exchange* in the next write; only while `is_usable`."""
        self.outbox.start(exchange)
        if exchange.deadline is not None and exchange.deadline < self._deadlines.next:
            self._deadlines.watch(exchange.deadline)
        if not self._heartbeat.is_running:
            self._heartbeat.start()
        if not self.outbox.has_stream_ids:
            self._retire()

    def abandon(self, exchange: Exchange) -> None:
        """Give *exchange* up: the server is told unless nothing has left yet."""
        self.outbox.close(exchange, ErrorCode.CANCEL)
        self._close_if_drained()

    def retire(self) -> None:
        """Take no new calls, and close when those under way are over."""
        self._retire()
        self._close_if_drained()

    def close(self) -> None:
        """End everything on this connection with `ClientClosed`, say goodbye, and let go within `CLOSE_GRACE`."""
        for exchange in self._end("closed by this client"):
            error = ClientClosed()
            error.maybe_applied = exchange.is_sent
            exchange.on_failed(error)
        self._say_goodbye(ErrorCode.NO_ERROR)

    def abort(self, reason: str) -> None:
        """End everything on this connection now, without waiting for bytes that the peer does not take."""
        self._lose(reason)
        self._transport.abort()

    # What the protocol reports.

    def data_received(self, data: bytes) -> None:
        """Take bytes from the transport."""
        self._heartbeat.heard = time.monotonic()
        if self.is_over:
            return
        try:
            self._inbox.receive(data)
        except ConnectionFault as fault:
            self._on_fault(fault)
        self._close_if_drained()

    def pause_writing(self) -> None:
        """Hold everything back: the transport's buffer is full."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """Go on writing."""
        self._is_paused = False
        self._wake()

    def connection_lost(self, error: BaseException | None) -> None:
        """End everything that is still open; the transport is gone."""
        reason = lost_reason(error)
        if not self.ready.done() and (error is None or isinstance(error, ConnectionError)):
            reason = foreign_greeting(self._inbox.unread) or CLOSED_EARLY
        self._lose(reason)
        if self._abort_handle is not None:
            self._abort_handle.cancel()
        if not self.closed.done():
            self.closed.set_result(None)

    # What the inbox leaves to its host.

    def on_control(self, frame: bytes) -> None:
        """Let h2 see to settings, pings and the connection's window."""
        changed = self._control.receive(frame)
        answer = self._control.answer()
        if answer:
            self._owed += 1
            self.outbox.control(answer)
        if changed:
            self.outbox.settings_changed()
            if not self.ready.done():
                self.ready.set_result(None)
        self._wake()

    def on_ping_answered(self) -> None:
        """Take note of the answer to a ping."""
        self._heartbeat.answered()

    def on_goaway(self, last_id: int, code: int, debug: bytes) -> None:
        """Take no new calls; what the server will not see to fails at once, the rest may finish."""
        text = f": {ascii(debug[:MAX_DEBUG].decode('utf-8', 'replace'))[1:-1]}" if debug else ""
        self.reason = self.reason or f"the server said goodbye: {code_name(code)}{text}"
        self.is_scolded |= code == ErrorCode.ENHANCE_YOUR_CALM
        for exchange in self.outbox.drop(above=last_id):
            exchange.on_lost(self.reason, is_sent=False)
        self._retire()

    def _new_heartbeat(self, interval: float, options: TransportOptions) -> Heartbeat:
        return Heartbeat(
            interval,
            options.ping_timeout,
            floor=min(interval, PING_FLOOR * interval / options.ping_interval),  # grown with it by a server's complaint
            is_idle=lambda: self.outbox.is_idle,
            is_awaited=lambda: any(each.deadline is not None for each in self.outbox.unfinished()),
            ping=lambda: self.outbox.control(self._control.ping()),
            give_up=lambda seconds: self.abort(f"no sign of life from the server for {seconds:.3g} s"),
        )

    def _wake(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_scheduled = False
        while not (self._is_paused or self.is_over or self._transport.is_closing()):
            data = self.outbox.next_write()
            if not data:
                self._owed = 0
                return
            self._transport.write(data)
        if self._owed > MAX_UNWRITTEN:
            self.abort("the server floods the connection and reads nothing")

    def _expire(self, exchange: Exchange) -> None:
        error = DeadlineExceeded(maybe_applied=exchange.is_sent)
        self.abandon(exchange)
        exchange.on_failed(error)

    def _retire(self) -> None:
        if self.is_usable:
            self.is_usable = False
            self._on_over(self)

    def _close_if_drained(self) -> None:
        if not self.is_usable and not self.is_over and self.outbox.is_idle:
            self.close()

    def _on_fault(self, fault: ConnectionFault) -> None:
        greeting = None if self.ready.done() else foreign_greeting(self._inbox.unread)
        self._lose(greeting or f"the server broke HTTP/2: {fault.reason} ({fault.code.name})")
        self._say_goodbye(fault.code, fault.reason)

    def _lose(self, reason: str) -> None:
        for exchange in self._end(reason):
            exchange.on_lost(self.reason or reason, is_sent=exchange.is_sent)

    def _end(self, reason: str) -> list[Exchange]:
        self.reason = self.reason or reason
        if self.is_over:
            return []
        self.is_over = True
        self._deadlines.stop()
        self._heartbeat.stop()
        self._retire()
        if not self.ready.done():
            self.ready.set_result(None)
        return self.outbox.drop()

    def _say_goodbye(self, code: ErrorCode, reason: str = "") -> None:
        if not self._transport.is_closing():
            self._transport.write(goaway(code, reason))
            self._transport.close()
            self._abort_handle = self._loop.call_later(CLOSE_GRACE, self._transport.abort)
