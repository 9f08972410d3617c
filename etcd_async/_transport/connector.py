"""
Makes the connections to one endpoint: one attempt at a time, shared by all who wait, and not too often.

A failed attempt, or a connection lost before it answered anything, delays the next one by a jittered backoff. Callers
wait for that, because servers that restart are soon back; one whose deadline is sooner is told the last reason at once.
Once the endpoint was down for longer than a restart takes, or if it was never reached, nobody waits: each call makes an
attempt, or hears of the one that has just failed.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from contextvars import Context
from random import Random
from typing import Final

from etcd_async._protocol.endpoints import Endpoint
from etcd_async._protocol.retry import wait
from etcd_async._transport.connection import Connection
from etcd_async._transport.dialing import Dialer
from etcd_async._transport.failure import AttemptFailed, connect_reason, with_hint
from etcd_async._transport.http2 import Control, connect
from etcd_async._transport.tls import ssl_context
from etcd_async.errors import Attempt, ClientClosed, DeadlineExceeded
from etcd_async.options import TLS, Backoff, TransportOptions

RESTART_PATIENCE: Final = 4.0
"""Seconds that a server may be gone until its callers are told so without waiting."""

LONGEST_PING_INTERVAL: Final = 320.0
"""What complaints may double the interval to; servers of gRPC ask for 300 seconds at most, unless told otherwise."""


class Connector:
    """
    The connections to one endpoint: the current one, and those that drain after a GOAWAY.

    Args:
        endpoint: Where to connect to.
        tls: How, if the endpoint does not say "plain".
        options: Times and sizes.
        backoff: Between attempts.
        on_change: Called when there is a connection for new calls, and when there is none any more.

    Attributes:
        is_secure: Whether connections use TLS.
        current: The connection for new calls; it may have ended since.
        live: Every connection whose transport is not gone.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        tls: TLS | None,
        options: TransportOptions,
        backoff: Backoff,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.endpoint = endpoint
        self.current: Connection | None = None
        self.is_secure = endpoint.tls if endpoint.tls is not None else tls is not None
        self._tls = tls
        self._options = options
        self._backoff = backoff
        self._random = Random()
        self._dialer = Dialer()
        self._ping_interval = options.ping_interval
        self._on_change = on_change
        self.live: set[Connection] = set()
        self._attempt: asyncio.Task[AttemptFailed | None] | None = None
        self._failures = 0
        self._failed_at = self._retry_at = -math.inf
        self._down_since: float | None = -math.inf  # never reached, so far; None while it is not known to be down
        self._last_reason = ""
        self._is_closed = False
        self._has_left = False

    @property
    def is_connecting(self) -> bool:
        """Whether a connection is being made."""
        return self._attempt is not None

    async def connected(self, deadline: float | None, patience: float | None = None) -> Connection:
        """
        Return a usable connection, making one if there is none.

        Cancelling this, or its deadline, leaves the attempt to the others who wait for it; so does *patience*, in
        seconds, and if nobody waits the connection is still there for the next call.

        Raises:
            AttemptFailed: It could not be made, or not yet.
            DeadlineExceeded: *deadline* (monotonic clock) passed.
            ClientClosed: The connector was closed.
        """
        self._check_open()
        if self.current is not None and self.current.is_usable:
            return self.current
        if self._is_too_soon(deadline):
            raise self._failed(self._last_reason)
        if self._attempt is None:
            # A context of its own: the connection outlives the request, or the trace, that happens to need it first.
            name = f"etcd_async.connect {self.endpoint.text}"
            self._attempt = asyncio.create_task(self._try(), name=name, context=Context())
        failure = await self._outcome(self._attempt, deadline, patience)
        if failure is not None:
            raise self._failed(failure.reason)
        if self.current is None or not self.current.is_usable:
            raise self._failed(self._last_reason or "the connection was lost at once")
        return self.current

    def close(self) -> None:
        """End all connections politely, and everything on them with `ClientClosed`; no other is made."""
        self._is_closed = True
        if self._attempt is not None:
            self._attempt.cancel()
        for connection in list(self.live):
            connection.close()

    def abort(self) -> None:
        """End all connections now."""
        self.close()
        self.cut("closed by this client")

    def leave(self) -> None:
        """Make no other connection, and end the present ones when nothing goes on there any more."""
        self._has_left = True
        if self._attempt is not None:
            self._attempt.cancel()
        for connection in list(self.live):
            connection.retire()

    def cut(self, reason: str) -> None:
        """End all connections now; calls and streams learn that they were lost."""
        for connection in list(self.live):
            connection.abort(reason)

    async def wait_closed(self) -> None:
        """Wait until every transport and task is gone; bounded by `connection.CLOSE_GRACE`."""
        pending: list[asyncio.Future[None] | asyncio.Task[AttemptFailed | None]] = [c.closed for c in self.live]
        if self._attempt is not None:
            pending.append(self._attempt)
        if pending:
            await asyncio.wait(pending)

    async def _outcome(
        self, attempt: asyncio.Task[AttemptFailed | None], deadline: float | None, patience: float | None
    ) -> AttemptFailed | None:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        is_patient = patience is None or (left is not None and left <= patience)
        await asyncio.wait({attempt}, timeout=left if is_patient else patience)
        self._check_open()
        if not attempt.done() and not is_patient:
            return self._failed(f"no connection within {patience:g} s")
        if not attempt.done():
            known = [Attempt(self.endpoint.text, self._last_reason)] if self._last_reason else []
            raise DeadlineExceeded(f"the deadline passed while connecting to {self.endpoint.text}", attempts=known)
        return attempt.result()

    async def _try(self) -> AttemptFailed | None:
        """Wait for our turn, connect, and say how it went; failures are results, since perhaps nobody waits."""
        try:
            pause = self._retry_at - time.monotonic()
            if pause > 0 and not self._is_down():
                await asyncio.sleep(pause)
            return await self._connect()
        finally:
            self._attempt = None

    async def _connect(self) -> AttemptFailed | None:
        made: list[Connection] = []
        timeout = self._options.connect_timeout
        try:
            async with asyncio.timeout(timeout):
                await self._make(made)
            return None
        except TimeoutError:
            reason = f"no connection within {timeout:g} s"
            if made:
                reason = f"connected, but the server did not speak HTTP/2 within {timeout:g} s"
        except (OSError, UnicodeError, AttemptFailed) as error:
            reason = error.reason if isinstance(error, AttemptFailed) else connect_reason(error)
            has_cert = self._tls is not None and self._tls.cert is not None
            reason = with_hint(reason, is_secure=self.is_secure, has_cert=has_cert)
        finally:
            for connection in made:
                if connection is not self.current:
                    connection.abort("the connection could not be used")
        self._dialer.disappointed()
        self._note_failure(reason)
        return self._failed(reason)

    async def _make(self, made: list[Connection]) -> None:
        endpoint, tls = self.endpoint, self._tls or TLS()
        # In a thread, for the system's authorities take tens of milliseconds to read, and any file may lie far away.
        context = await asyncio.to_thread(ssl_context, tls) if self.is_secure else None

        def make_link(transport: asyncio.Transport, control: Control) -> Connection:
            connection = self._link(transport, control)
            made.append(connection)
            return connection

        try:
            await connect(
                endpoint,
                context=context,
                server_name=tls.server_name or endpoint.server_name,
                options=self._options,
                dial=self._dialer.dial,
                make_link=make_link,
            )
        except BaseException:
            for connection in made:
                connection.connection_lost(None)  # uvloop drops the transport of a cancelled attempt without a word
            raise
        [connection] = made
        connection.check_alpn()
        await connection.ready
        if not connection.is_usable:
            raise self._failed(connection.reason or "the connection was lost at once")
        self.current = connection
        self._down_since = None
        self._on_change()

    def _link(self, transport: asyncio.Transport, control: Control) -> Connection:
        connection = Connection(
            transport,
            control,
            endpoint=self.endpoint.text,
            options=self._options,
            ping_interval=self._ping_interval,
            on_over=self._on_over,
        )
        self.live.add(connection)
        connection.closed.add_done_callback(lambda _: self.live.discard(connection))
        return connection

    def _on_over(self, connection: Connection) -> None:
        """Take note that *connection* takes no new calls."""
        if connection.is_scolded:
            self._ping_interval = max(self._ping_interval, min(2 * self._ping_interval, LONGEST_PING_INTERVAL))
        if connection is not self.current:
            return
        self.current = None
        self._dialer.disappointed()
        if connection.was_useful:
            self._failures = 0
            self._last_reason = connection.reason or ""
        else:
            self._note_failure(connection.reason or "the connection was lost at once")
        self._on_change()

    def _note_failure(self, reason: str) -> None:
        self._last_reason = reason
        self._failed_at = time.monotonic()
        if self._down_since is None:
            self._down_since = self._failed_at
        self._retry_at = self._failed_at + wait(self._backoff, self._failures, self._random)
        self._failures += 1

    def _failed(self, reason: str) -> AttemptFailed:
        return AttemptFailed(self.endpoint.text, reason, sent=False, is_down=self._is_down())

    def _is_too_soon(self, deadline: float | None) -> bool:
        now = time.monotonic()
        if self._is_down():
            return now < self._failed_at + self._backoff.initial / 2  # sooner than the call itself tries again
        return deadline is not None and now < self._retry_at >= deadline

    def _is_down(self) -> bool:
        return self._down_since is not None and time.monotonic() - self._down_since >= RESTART_PATIENCE

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClientClosed()
        if self._has_left:
            raise AttemptFailed(self.endpoint.text, "the endpoint is no longer in use", sent=False)
