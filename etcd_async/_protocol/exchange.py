"""One call or stream on a connection, as far as frames and windows are concerned."""

from __future__ import annotations

from abc import ABC, abstractmethod

from etcd_async._protocol.grpc import Head


class ExchangeOver(Exception):
    """
    Raised by an exchange that will take no more of its answer.

    Attributes:
        error: What its caller gets.
    """

    def __init__(self, error: Exception) -> None:
        self.error = error
        super().__init__(error)


class Exchange(ABC):
    """
    What is still to leave for one request, and how much of its answer is held.

    The outbox owns the sending half of these attributes, the inbox the counting of what arrives; subclasses
    say what an answer means.

    Attributes:
        block: The encoded request headers.
        message: A whole message that ends the request and has not left yet (unary calls); None otherwise.
        backlog: Framed messages, or the rest of one, that wait for a window.
        is_ending: Our END_STREAM follows the backlog.
        has_ended: Our END_STREAM has left.
        is_closed: Over, one way or the other; nothing more is sent or taken.
        is_queued: It stands in the outbox's round of those who may send now.
        stream_id: 0 until the headers leave.
        send_window: Bytes the peer lets us send; may be negative (RFC 9113 §6.9.2).
        held: Bytes received that the consumer has not taken.
        spent: Bytes taken that the peer has not been granted again.
        deadline: When it must be over, on the monotonic clock; None for never.
    """

    __slots__ = (
        "backlog",
        "block",
        "deadline",
        "has_ended",
        "held",
        "is_closed",
        "is_ending",
        "is_queued",
        "message",
        "send_window",
        "spent",
        "stream_id",
    )

    def __init__(self, block: bytes, message: bytes | None, deadline: float | None) -> None:
        self.block = block
        self.message = message
        self.deadline = deadline
        self.backlog = bytearray()
        self.is_ending = message is not None
        self.has_ended = self.is_closed = self.is_queued = False
        self.stream_id = self.send_window = self.held = self.spent = 0

    @property
    @abstractmethod
    def is_sent(self) -> bool:
        """Whether the server may have acted on this: what it would act on has been written to the transport."""

    @abstractmethod
    def on_head(self, head: Head, is_last: bool) -> None:
        """Take a header block; raises `ExchangeOver`, or the error of an answer that breaks the rules."""

    @abstractmethod
    def on_data(self, payload: bytes) -> None:
        """Take the payload of a DATA frame, already counted as held; raises as `on_head` does."""

    @abstractmethod
    def on_failed(self, error: Exception) -> None:
        """End with *error*; it is closed already."""

    @abstractmethod
    def on_lost(self, reason: str, *, is_sent: bool) -> None:
        """End without an answer; it is closed already."""
