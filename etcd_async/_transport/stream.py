"""A stream of messages, in one direction or both, as its user sees it."""

from __future__ import annotations

import asyncio
from collections import deque

from etcd_async._protocol.grpc import PREFIX_SIZE, Head, MessageReader
from etcd_async._protocol.machine import NEVER, Signs
from etcd_async._transport.calls import Call, check_size
from etcd_async._transport.connection import Connection
from etcd_async._transport.failure import AttemptFailed
from etcd_async.errors import ProtocolError


class Stream(Call):
    """
    A server stream or duplex stream; made by `Channel.open`.

    The server may send ahead as much as the stream's window holds; what `receive` hands out makes room again. So a
    stream that nobody reads holds at most that much, and stops nothing else.

    Args:
        connection: What it is to run on.
        send_limit: Largest message sent, in bytes.

    Attributes:
        connection: What it runs on.
    """

    __slots__ = (
        "_early",
        "_error",
        "_heard",
        "_is_over",
        "_messages",
        "_outbox",
        "_reader",
        "_send_limit",
        "_waiter",
        "connection",
    )

    def __init__(
        self,
        block: bytes,
        *,
        connection: Connection,
        deadline: float | None,
        limit: int,
        send_limit: int,
    ) -> None:
        super().__init__(block, None, endpoint=connection.endpoint, deadline=deadline, limit=limit)
        self.connection = connection
        self._outbox = connection.outbox
        self._early = 0
        self._heard = NEVER
        self._send_limit = send_limit
        self._messages: deque[bytes] = deque()
        self._reader = MessageReader(limit)
        self._waiter: asyncio.Future[None] | None = None
        self._is_over = False
        self._error: Exception | None = None

    @property
    def is_sent(self) -> bool:
        """Whether the server may know of this stream."""
        return self.stream_id > 0

    @property
    def signs(self) -> Signs:
        """When something was heard, of this stream and on its connection; on the monotonic clock."""
        asked, answered = self.connection.proof
        return Signs(self._heard, self.connection.heard, asked, answered)

    def send(self, payload: bytes, *, end: bool = False) -> None:
        """
        Queue one message; it leaves when the windows allow. Dropped if the stream is over: `receive` says why.

        Args:
            payload: The encoded message.
            end: No other message follows.

        Raises:
            RequestTooLarge: *payload* is larger than ``max_send_bytes``; nothing is sent.
        """
        check_size(payload, self._send_limit)
        if self.is_ending:
            raise RuntimeError("this side of the stream was ended")
        if not self.is_closed:
            self._outbox.send(self, payload, end=end)

    def end(self) -> None:
        """Tell the server that no message follows; harmless when told already."""
        if not self.is_closed and not self.is_ending:
            self._outbox.send(self, None, end=True)

    async def receive(self) -> bytes | None:
        """
        Return the next message; None when the server ended the stream with OK. One receiver at a time.

        Messages that arrived before the end are handed out before its error is raised.

        Raises:
            RpcError: The server ended the stream with an error.
            AttemptFailed: The stream was lost, or cancelled here.
            DeadlineExceeded: The stream's deadline passed.
            ProtocolError, ResponseTooLarge: The server's message cannot be taken.
        """
        while not self._messages:
            if self._error is not None:
                raise self._error
            if self._is_over:
                return None
            await self._wait()
        message = self._messages.popleft()
        self._take(len(message) + PREFIX_SIZE - self._early)
        self._early = 0
        return message

    def cancel(self) -> None:
        """Give the stream up and forget what is left of it; harmless when it is over."""
        self.connection.abandon(self)
        self._messages.clear()
        self._reader = MessageReader(self.limit)
        self.on_failed(AttemptFailed(self.endpoint, "the stream was cancelled here", sent=self.is_sent))

    def on_data(self, payload: bytes) -> None:
        """Take a piece of the server's messages."""
        self.check_has_started()
        self._heard = self.connection.heard
        self._messages += self._reader.feed(payload)
        if self._waiter is not None:
            if not self._messages:
                self._take_partial()
            self._wake()

    def on_failed(self, error: Exception) -> None:
        """Raise *error* from `receive`, after the messages that came before it; the first end counts."""
        if not self._is_over:
            self._is_over = True
            self._error = error
            self._wake()

    def _on_end(self, head: Head) -> None:
        error = None if head.is_plain_end else self.final_error(head)
        if error is None and self._reader.partial:
            raise ProtocolError("the server cut its last message short")
        if not self._is_over:
            self._is_over = True
            self._error = error
            self._wake()

    async def _wait(self) -> None:
        if self._waiter is not None:
            raise RuntimeError("another task is receiving from this stream already")
        self._take_partial()
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _take_partial(self) -> None:
        """Make room for the rest of a message that somebody waits for: it may be larger than the window."""
        self._early += self.held
        self._take(self.held)

    def _take(self, size: int) -> None:
        self.held -= size
        self.spent += size
        self._outbox.grant(self)
