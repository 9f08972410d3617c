"""One request and its one answer, and what unary calls and streams have in common."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import Callable

from etcd_async._protocol.exchange import Exchange, ExchangeOver
from etcd_async._protocol.grpc import PREFIX_SIZE, Head, MessageReader, check_start, is_whole, outcome
from etcd_async._transport.failure import AttemptFailed
from etcd_async.errors import Attempt, DeadlineExceeded, ProtocolError, RequestTooLarge, StatusCode, error_for


def check_size(payload: bytes, limit: int) -> None:
    """Raise `RequestTooLarge` if *payload* may not be sent."""
    if len(payload) > limit:
        text = f"the request has {len(payload)} bytes, max_send_bytes is {limit}"
        raise RequestTooLarge(StatusCode.RESOURCE_EXHAUSTED, text)


class Call(Exchange):
    """
    An exchange with a caller.

    Args:
        block: The encoded request headers.
        message: The request of a unary call.
        endpoint: Where it goes, for errors.
        deadline: On the monotonic clock.
        limit: Largest message taken, in bytes.
    """

    __slots__ = ("_has_started", "endpoint", "limit")

    def __init__(
        self, block: bytes, message: bytes | None, *, endpoint: str, deadline: float | None, limit: int
    ) -> None:
        super().__init__(block, message, deadline)
        self.endpoint = endpoint
        self.limit = limit
        self._has_started = False

    def on_head(self, head: Head, is_last: bool) -> None:
        """Take the headers or the trailers of the answer."""
        if is_last:
            self._on_end(head)
        elif self._has_started:
            raise ProtocolError("the server sent headers in the middle of an answer")
        elif head.is_plain_start:
            self._has_started = True
        elif not head.is_informational:
            self._on_odd_start(head)

    def on_lost(self, reason: str, *, is_sent: bool) -> None:
        """End without an answer; past the deadline, that is why (the server resets calls whose time is up)."""
        if self.deadline is not None and time.monotonic() >= self.deadline:
            attempts = [Attempt(self.endpoint, reason)]
            self.on_failed(DeadlineExceeded(attempts=attempts, maybe_applied=is_sent))
        else:
            self.on_failed(AttemptFailed(self.endpoint, reason, sent=is_sent, has_left=self.is_sent))

    def check_has_started(self) -> None:
        """Raise `ProtocolError` if no headers came yet."""
        if not self._has_started:
            raise ProtocolError("the server sent data before headers")

    def final_error(self, head: Head) -> Exception | None:
        """Return what the last header block of an answer stands for; None if the call went well."""
        if head.is_informational:
            raise ProtocolError("the server ended the call with a 1xx block")
        code, message = outcome(head)
        if code is StatusCode.OK:
            return None
        if code is StatusCode.DEADLINE_EXCEEDED and self.deadline is not None:
            return DeadlineExceeded("the server gave up at the deadline", maybe_applied=True)
        if code is StatusCode.UNAVAILABLE and head.status is None:
            # A proxy's answer, not etcd's: nobody knows whether the request went through.
            return AttemptFailed(self.endpoint, message, sent=True)
        return error_for(code, message)

    @abstractmethod
    def _on_end(self, head: Head) -> None:
        """Take the last header block."""

    def _on_odd_start(self, head: Head) -> None:
        if head.http_status in (None, 200):
            check_start(head)
            self._has_started = True
            return
        error = self.final_error(head)
        if error is not None:
            raise ExchangeOver(error)


class Slow(Exception):
    """
    Raised to the caller of a call that takes long, so that it may ask somebody else, too; the call goes on.

    Attributes:
        answer: Becomes the bytes of the answer, or its error.
        abandon: Gives the call up.
    """

    def __init__(self, answer: asyncio.Future[bytes], abandon: Callable[[], None]) -> None:
        self.answer = answer
        self.abandon = abandon
        super().__init__()


class Unary(Call):
    """
    One request and its one answer.

    Args:
        answer: Becomes the bytes of the answer, or its error; or `Slow`, and then there is another.
        looks: After how many looks the caller wants to know that it is slow; 0 for never.

    Attributes:
        age: How many looks there were.
    """

    __slots__ = ("_looks", "_message", "_reader", "age", "answer")

    def __init__(
        self,
        block: bytes,
        message: bytes,
        *,
        answer: asyncio.Future[bytes],
        endpoint: str,
        deadline: float | None,
        limit: int,
        looks: int = 0,
    ) -> None:
        super().__init__(block, message, endpoint=endpoint, deadline=deadline, limit=limit)
        self.answer = answer
        self.age = 0
        self._looks = looks
        self._message: bytes | None = None
        self._reader: MessageReader | None = None

    @property
    def is_sent(self) -> bool:
        """Whether all of the request has left: etcd acts on nothing less."""
        return self.has_ended

    def on_data(self, payload: bytes) -> None:
        """Take a piece of the answer; its window opens again at once."""
        self.check_has_started()
        self.spent += self.held
        self.held = 0
        if self._reader is None:
            if self._message is None and is_whole(payload, self.limit):
                self._message = payload[PREFIX_SIZE:]
                return
            self._reader = MessageReader(self.limit)
        whole = [] if self._message is None else [self._message]
        whole += self._reader.feed(payload)
        if whole[1:] or (whole and self._reader.partial):
            raise ProtocolError("the server sent two messages for one answer")
        self._message = whole[0] if whole else None

    def on_look(self, abandon: Callable[[Exchange], None]) -> None:
        """Grow older; if it is slow now, and no part of the answer has come, tell the caller."""
        self.age += 1
        waiting = self.answer
        if self.age == self._looks and not self._has_started and not waiting.done():
            self.answer = waiting.get_loop().create_future()
            waiting.set_exception(Slow(self.answer, lambda: abandon(self)))

    def on_failed(self, error: Exception) -> None:
        """Give *error* to the caller."""
        if not self.answer.done():
            self.answer.set_exception(error)

    def _on_end(self, head: Head) -> None:
        error = None if head.is_plain_end else self.final_error(head)
        if error is not None:
            self.on_failed(error)
        elif self._reader is not None and self._reader.partial:
            raise ProtocolError("the server cut its last message short")
        elif self._message is None:
            raise ProtocolError("the server ended the call without an answer")
        elif not self.answer.done():
            self.answer.set_result(self._message)
