"""A stream on whichever endpoint it was opened, with the errors that users see."""

from __future__ import annotations

from collections.abc import Callable

from etcd_async._protocol.endpoints import Endpoint
from etcd_async._transport.failure import AttemptFailed
from etcd_async._transport.stream import Stream
from etcd_async.errors import Attempt, EtcdError, RpcError, Unavailable


class CallStream:
    """
    A stream on one endpoint; made by `Caller.open`.

    Attributes:
        endpoint: Where it runs.
    """

    def __init__(self, stream: Stream, endpoint: Endpoint, note: Callable[[EtcdError | AttemptFailed], None]) -> None:
        self.endpoint = endpoint
        self._stream = stream
        self._note = note

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
            return await self._stream.receive()
        except AttemptFailed as error:
            self._note(error)
            raise Unavailable([Attempt(error.endpoint, error.reason)]) from error.__cause__
        except EtcdError as error:
            self._note(error)
            raise

    def refused(self, error: RpcError) -> None:
        """Take the news that the server refused something on the stream for a reason of the stream: its token, say."""
        self._note(error)

    def cancel(self) -> None:
        """Give the stream up; harmless when it is over."""
        self._stream.cancel()
