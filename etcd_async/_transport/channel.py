"""One endpoint, and the calls made on it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import anyio

from etcd_async._protocol.endpoints import Endpoint
from etcd_async._protocol.headers import Metadata, request_block, timeout_field
from etcd_async._transport.calls import Unary, check_size
from etcd_async._transport.connector import Connector
from etcd_async._transport.loops import check_loop
from etcd_async._transport.stream import Stream
from etcd_async.errors import DeadlineExceeded
from etcd_async.options import TLS, Backoff, TransportOptions

LOOK_INTERVAL: Final = 0.2
"""Seconds between looks after the calls that are under way."""
SLOW_AGE: Final = 6
"""How many looks a call may see until it counts as slow: more than a second, and more if the loop stands still."""

_REMEMBERED_BLOCKS = 256
_USER_AGENT = "etcd_async/0.1.0"


class Channel:
    """
    One endpoint with at most one connection for new calls, made on demand; build it inside a running loop.

    After a GOAWAY the calls under way finish on the old connection while new ones take a new one. Errors say in
    ``maybe_applied`` (`AttemptFailed`: ``sent``) whether the server may have acted, whatever the method does.

    Args:
        endpoint: Where to.
        tls: Used if the endpoint's scheme asks for TLS, or leaves it open.
        options: Times and sizes.
        backoff: Between attempts to connect.
        on_change: Called when `is_connected` changes.
        on_slow: Called when a call has been slow for a second, and again while it is.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        tls: TLS | None,
        options: TransportOptions,
        backoff: Backoff | None = None,
        on_change: Callable[[], None] = lambda: None,
        on_slow: Callable[[], None] = lambda: None,
    ) -> None:
        self.endpoint = endpoint
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._connector = Connector(
            endpoint, tls=tls, options=options, backoff=backoff or Backoff(), on_change=on_change
        )
        self._on_slow = on_slow
        self._looking: asyncio.TimerHandle | None = None
        self._scheme = "https" if self._connector.is_secure else "http"
        self._blocks: dict[tuple[str, Metadata], bytes] = {}

    @property
    def is_connected(self) -> bool:
        """Whether a connection for new calls is there."""
        connection = self._connector.current
        return connection is not None and connection.is_usable

    @property
    def is_idle(self) -> bool:
        """Whether nothing goes on here."""
        return not self._connector.is_connecting and all(each.outbox.is_idle for each in self._connector.live)

    async def unary(
        self,
        path: str,
        payload: bytes,
        *,
        metadata: Metadata = (),
        deadline: float | None,
        patience: float | None = None,
        looks: int = 0,
    ) -> bytes:
        """
        Send one request and return its answer; safe to cancel.

        Args:
            path: Of the method, such as ``/etcdserverpb.KV/Range``.
            payload: The encoded request.
            metadata: Request headers, ASCII.
            deadline: On `time.monotonic`'s clock; None for never.
            patience: Seconds to wait for a connection, if that is sooner.
            looks: After how many looks, each `LOOK_INTERVAL`, to raise `Slow`; 0 for never.

        Raises:
            Slow: There is no answer yet after *looks*, nor the beginning of one.
            RpcError: The server's own answer.
            AttemptFailed: No answer.
            DeadlineExceeded: *deadline* passed.
            ProtocolError, ResponseTooLarge: The answer cannot be taken.
            RequestTooLarge: *payload* is larger than ``max_send_bytes``; nothing was sent.
            ClientClosed: The channel was closed.
        """
        check_loop(self._loop)
        check_size(payload, self._options.max_send_bytes)
        connection = self._connector.current
        if connection is None or not connection.is_usable:
            connection = await self._connector.connected(deadline, patience)
        answer: asyncio.Future[bytes] = self._loop.create_future()
        call = Unary(
            self._block(path, metadata, deadline),
            payload,
            answer=answer,
            endpoint=connection.endpoint,
            deadline=deadline,
            limit=self._options.max_receive_bytes,
            looks=looks,
        )
        connection.start(call)
        if self._looking is None:
            self._looking = self._loop.call_later(LOOK_INTERVAL, self._look)
        try:
            return await answer
        except asyncio.CancelledError:
            connection.abandon(call)
            for each in (answer, call.answer):  # The second is another if the call was found slow in the same turn.
                if each.done() and not each.cancelled():
                    each.exception()  # It came in the same turn; asyncio warns of errors that nobody looks at.
            raise

    async def open(
        self,
        path: str,
        *,
        metadata: Metadata = (),
        deadline: float | None = None,
        patience: float | None = None,
        limit: int | None = None,
    ) -> Stream:
        """
        Open a server stream or duplex stream; its first bytes leave with the next write.

        Args:
            path: Of the method.
            metadata: Request headers, ASCII.
            deadline: When the whole stream must be over, on `time.monotonic`'s clock; None for never.
            patience: Seconds to wait for a connection, if that is sooner.
            limit: Largest message to receive, in bytes, if that is less than ``max_receive_bytes``.

        Raises:
            AttemptFailed: No connection.
            DeadlineExceeded: *deadline* passed before the stream was open.
            ClientClosed: The channel was closed.
        """
        check_loop(self._loop)
        connection = await self._connector.connected(deadline, patience)
        stream = Stream(
            self._block(path, metadata, deadline),
            connection=connection,
            deadline=deadline,
            limit=min(self._options.max_receive_bytes, limit or self._options.max_receive_bytes),
            send_limit=self._options.max_send_bytes,
        )
        connection.start(stream)
        return stream

    def renew(self, *, since: float) -> None:
        """Take no new calls on the present connection if nothing was heard on it *since* then: the next one is new."""
        connection = self._connector.current
        if connection is not None and connection.heard < since:
            connection.retire()

    async def leave(self, grace: float) -> None:
        """Take no new calls, and let go when those under way are over; what is left after *grace* seconds is cut."""
        self._connector.leave()
        with anyio.move_on_after(grace):
            await self._connector.wait_closed()
        self._connector.cut("the endpoint is no longer in use")
        await self._connector.wait_closed()

    async def aclose(self) -> None:
        """
        End every call and stream with `ClientClosed`, say goodbye and let go, within about a second.

        Where the loop is closed nothing goes on any more.
        """
        if self._loop.is_closed():
            return
        self._stop_looking()
        self._connector.close()
        await self._connector.wait_closed()

    def abort(self) -> None:
        """End every call and stream with `ClientClosed` and cut the connections."""
        self._stop_looking()
        self._connector.abort()

    def _look(self) -> None:
        """Count how long calls have been under way, without a clock: if the loop stood still, no server was slow."""
        self._looking = None
        is_busy = is_slow = False
        for connection in self._connector.live:
            for exchange in connection.outbox.unfinished():
                if isinstance(exchange, Unary):
                    is_busy = True
                    exchange.on_look(connection.abandon)
                    is_slow |= exchange.age % SLOW_AGE == 0
        if is_busy:
            self._looking = self._loop.call_later(LOOK_INTERVAL, self._look)
        if is_slow:
            self._on_slow()

    def _stop_looking(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def _block(self, path: str, metadata: Metadata, deadline: float | None) -> bytes:
        block = self._blocks.get((path, metadata)) or self._new_block(path, metadata)
        if deadline is None:
            return block
        left = deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded("the deadline had passed before anything was sent")
        return block + timeout_field(left)

    def _new_block(self, path: str, metadata: Metadata) -> bytes:
        if len(self._blocks) >= _REMEMBERED_BLOCKS:
            self._blocks.clear()  # Tokens are part of the metadata, and come and go.
        block = self._blocks[path, metadata] = request_block(
            path=path,
            scheme=self._scheme,
            authority=self.endpoint.authority,
            user_agent=_USER_AGENT,
            metadata=metadata,
        )
        return block


def looks_within(timeout: float | None) -> int:
    """Return after how many looks a call is slow of which an answer is wanted in *timeout* seconds."""
    if timeout is None or timeout >= 2 * SLOW_AGE * LOOK_INTERVAL:
        return SLOW_AGE
    return max(2, int(timeout / 2 / LOOK_INTERVAL))  # the first look may come at once
