"""The one shape of every machine that decides what is said on a lasting two-way stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from etcd_async.errors import EtcdError, RpcError

Request = TypeVar("Request", covariant=True)
Response = TypeVar("Response", contravariant=True)
Output = TypeVar("Output", covariant=True)

AT_ONCE = float("-inf")
"""The answer of `Machine.next_wakeup` while there is something to send."""


NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Signs:
    """
    When a peer was heard last, by one stream and beside it.

    Attributes:
        stream: When bytes of the stream came last.
        connection: When bytes of anything came last on its connection.
        asked: When the ping was sent whose answer came last.
        answered: When that answer came.
    """

    stream: float = NEVER
    connection: float = NEVER
    asked: float = NEVER
    answered: float = NEVER


NO_SIGNS = Signs()


@dataclass(frozen=True, slots=True)
class Reopen:
    """
    The server refused something for a reason that belongs to the stream: a stale token, a member that can't serve.

    The driver closes the stream and opens another; a refused token is dropped before that.
    """

    error: RpcError


class Machine(Protocol[Request, Response, Output]):
    """
    Decides what a stream says; never touches the stream itself.

    Times are seconds of any one monotonic clock, always passed in. Between `stream_opened` and `stream_lost` there is
    a stream; requests are taken only then.
    """

    @property
    def wants_stream(self) -> bool:
        """True while there is anything to say or to hear."""
        ...

    @property
    def max_answer(self) -> int | None:
        """Largest answer to take on the next stream, in bytes; None for as much as the client takes of any call."""
        ...

    def ask_for_less(self) -> bool:
        """Hear that an answer was too large; return whether the next stream will bring smaller ones."""
        ...

    def stream_opened(self, now: float) -> None:
        """Start anew on a fresh stream."""
        ...

    def stream_lost(self, now: float) -> None:
        """Forget what was in flight; `to_send` asks again on the next stream. Harmless without a stream."""
        ...

    def to_send(self, now: float) -> Sequence[Request]:
        """Return the requests to write now, in order, and count them as sent."""
        ...

    def receive(self, response: Response, now: float) -> Sequence[Output | Reopen]:
        """Take one answer and return what it means."""
        ...

    def doubts(self, now: float, signs: Signs) -> bool:
        """Return whether the peer is to be pinged: its answer would tell what the silence of the stream means."""
        ...

    def stalled(self, now: float, signs: Signs) -> str | None:
        """
        Return why the present stream is to be given up, or None if it is not: too long unanswered.

        A server may stop with its connections open, and a proxy answer pings for a server that is gone; what shows is
        that something that was said on the stream stays unanswered. The driver asks on another endpoint then. *signs*
        are those of the present stream, besides the answers that were received.
        """
        ...

    def blame(self, error: EtcdError) -> Sequence[Output]:
        """Hear that the server ended the stream with *error*, and return what that ends because it was its cause."""
        ...

    def expire(self, now: float) -> Sequence[Output]:
        """Return what time alone has ended, with or without a stream."""
        ...

    def fail_all(self, error: EtcdError) -> Sequence[Output]:
        """Give up everything: no stream can be had any more."""
        ...

    def next_wakeup(self) -> float | None:
        """Return when one of `to_send`, `stalled`, `expire` has something: a time, `AT_ONCE`, None for never."""
        ...
