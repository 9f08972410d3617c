"""A stream on whichever endpoint it was opened, with the errors that users see."""

from __future__ import annotations

from collections.abc import Callable

from etcd_async._protocol.endpoints import Endpoint
from etcd_async._protocol.machine import Signs
from etcd_async._transport.connection import Connection
from etcd_async._transport.failure import AttemptFailed
from etcd_async._transport.stream import Stream
from etcd_async.errors import Attempt, EtcdError, Unavailable


class CallStream:
    """
    A stream on one endpoint; made by `Caller.open`.

    Args:
        stream: The stream itself.
        endpoint: Where it runs.
        note: Called with the error that ends it.
        answered: Called when the first message has come.

    Attributes:
        endpoint: Where it runs.
    """

    def __init__(
        self,
        stream: Stream,
        endpoint: Endpoint,
        *,
        note: Callable[[EtcdError | AttemptFailed], None],
        answered: Callable[[], None],
    ) -> None:
        self.endpoint = endpoint
        self._stream = stream
        self._note = note
        self._answered: Callable[[], None] | None = answered

    @property
    def connection(self) -> Connection:
        """What it runs on; another one may lead to another server, or to a newer version of it."""
        return self._stream.connection

    @property
    def signs(self) -> Signs:
        """When something was heard, of this stream and on its connection; on the monotonic clock."""
        return self._stream.signs

    def ask(self) -> None:
        """Have the server of this stream pinged, unless that was just done."""
        self._stream.connection.ask()

    def send(self, payload: bytes) -> None:
        """Queue one message; dropped if the stream is over."""
        self._stream.send(payload)

    async def receive(self) -> bytes | None:
        """
        Return the next message; None when the server ended the stream with OK. One receiver at a time.

        Raises:
            RpcError: The server ended the stream.
            Unavailable: The connection was lost.
            ProtocolError, ResponseTooLarge: The message could not be taken.
            ClientClosed: The client was closed.
        """
        try:
            message = await self._stream.receive()
        except AttemptFailed as error:
            self._note(error)
            raise Unavailable([Attempt(error.endpoint, error.reason)]) from error.__cause__
        except EtcdError as error:
            self._note(error)
            raise
        if self._answered is not None:
            self._answered()
            self._answered = None
        return message

    def refused(self, error: EtcdError) -> None:
        """Take the news that the stream was given up for a reason of its own: a token refused on it, no answers."""
        self._note(error)

    def cancel(self) -> None:
        """Give the stream up; harmless when it is over."""
        self._stream.cancel()
