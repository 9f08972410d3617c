"""
gRPC over HTTP/2 (grpc/doc/PROTOCOL-HTTP2.md): messages in and out of DATA frames, statuses, timeouts.

Raises the public errors of answers that break the rules; decides nothing about connections.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

from etcd_async.errors import ProtocolError, ResponseTooLarge, StatusCode

PREFIX_SIZE: Final = 5
_MAX_TIMEOUT_DIGITS: Final = 8
_TIMEOUT_UNITS: Final = ((b"m", 1e3), (b"S", 1.0), (b"M", 1 / 60), (b"H", 1 / 3600))
_LONGEST_TIMEOUT: Final = 99_999_998 * 3600.0
_DIGITS: Final = re.compile(rb"[0-9]{1,9}")

# grpc/doc/http-grpc-status-mapping.md; every other status is UNKNOWN.
_HTTP_STATUS: Final = {
    400: StatusCode.INTERNAL,
    401: StatusCode.UNAUTHENTICATED,
    403: StatusCode.PERMISSION_DENIED,
    404: StatusCode.UNIMPLEMENTED,
    429: StatusCode.UNAVAILABLE,
    502: StatusCode.UNAVAILABLE,
    503: StatusCode.UNAVAILABLE,
    504: StatusCode.UNAVAILABLE,
}


class Head:
    """
    What one header block of an answer says, be it the first or the trailers.

    Attributes:
        http_status: ``:status``; None in trailers.
        is_grpc: The content type is gRPC's.
        content_type: As received.
        status: ``grpc-status``; None if it is missing, -1 if it is no number.
        message: ``grpc-message``, decoded.
        is_compressed: Messages are compressed, which we never asked for.
        is_plain_start: An ordinary first block: 200, gRPC, no status yet.
        is_plain_end: Ordinary trailers of a call that went well.
    """

    __slots__ = (
        "content_type",
        "http_status",
        "is_compressed",
        "is_grpc",
        "is_plain_end",
        "is_plain_start",
        "message",
        "status",
    )

    def __init__(self, fields: dict[bytes, bytes]) -> None:
        status = fields.get(b":status")
        self.http_status = None if status is None else _number(status)
        self.content_type = fields.get(b"content-type", b"").decode("ascii", "replace")
        self.is_grpc = re.match(r"application/grpc($|[+;])", self.content_type) is not None
        code = fields.get(b"grpc-status")
        self.status = None if code is None else _number(code)
        self.message = percent_decode(fields.get(b"grpc-message", b""))
        self.is_compressed = fields.get(b"grpc-encoding", b"identity") != b"identity"
        self.is_plain_start = self.http_status == 200 and self.is_grpc and code is None and not self.is_compressed
        self.is_plain_end = self.status == 0 and self.http_status is None

    @property
    def is_informational(self) -> bool:
        """Whether this is a 1xx block, which announces the real one."""
        return self.http_status is not None and 100 <= self.http_status < 200


def read_head(fields: Iterable[tuple[bytes, bytes]]) -> Head:
    """Return what *fields* say; of a repeated field the last counts."""
    return Head(dict(fields))


def outcome(head: Head) -> tuple[StatusCode, str]:
    """Return the status that the last header block of an answer stands for, gRPC's own before HTTP's."""
    if head.status is not None:
        known = head.status in StatusCode.__members__.values()
        text = head.message if known else f"{head.message or 'no message'} (grpc-status out of range)"
        return (StatusCode(head.status) if known else StatusCode.UNKNOWN), text
    if head.http_status is not None and head.http_status != 200:
        return _HTTP_STATUS.get(head.http_status, StatusCode.UNKNOWN), f"the server answered HTTP {head.http_status}"
    if head.http_status == 200 and not head.is_grpc:
        raise ProtocolError(f"the server answered with content type {head.content_type!r}, not gRPC")
    raise ProtocolError("the server ended the call without a grpc-status")


def check_start(head: Head) -> None:
    """Raise `ProtocolError` unless *head* may be followed by messages."""
    if head.http_status is None:
        raise ProtocolError("the answer has no :status")
    if not head.is_grpc:
        raise ProtocolError(f"the server answered with content type {head.content_type!r}, not gRPC")
    if head.is_compressed:
        raise ProtocolError("the server compresses its messages although it was not offered to")


def percent_decode(text: bytes) -> str:
    """Return a grpc-message as text; invalid escapes stay as they are, invalid UTF-8 is replaced."""
    return unquote_to_bytes(text).decode("utf-8", "replace")


def encode_timeout(seconds: float) -> bytes:
    """
    Return a grpc-timeout: at most eight digits and a unit.

    Rounded up: our own timer, not the server's, is what ends a call in time.
    """
    if seconds >= _LONGEST_TIMEOUT:
        return b"99999999H"
    rounded = ((unit, max(0, math.ceil(seconds * scale))) for unit, scale in _TIMEOUT_UNITS)
    return next(b"%d%s" % (amount, unit) for unit, amount in rounded if amount < 10**_MAX_TIMEOUT_DIGITS)


def prefixed(message: bytes) -> bytes:
    """Return *message* as it goes into DATA frames: uncompressed flag, length, bytes."""
    return b"\0" + len(message).to_bytes(4, "big") + message


class MessageReader:
    """
    Puts messages together from the payloads of DATA frames.

    Args:
        limit: Largest message taken, in bytes; known from its prefix, before any of it is stored.
    """

    __slots__ = ("_buffer", "_limit", "_need")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._need = PREFIX_SIZE

    @property
    def partial(self) -> int:
        """How many bytes of a message that is not whole yet are held."""
        return len(self._buffer)

    def feed(self, payload: bytes) -> list[bytes]:
        """
        Return the messages that *payload* completes, in order.

        Raises:
            ProtocolError: A message is compressed.
            ResponseTooLarge: A message is larger than the limit.
        """
        if not self._buffer and is_whole(payload, self._limit):
            return [payload[PREFIX_SIZE:]]
        self._buffer += payload
        messages = []
        while len(self._buffer) >= self._need:
            if self._need == PREFIX_SIZE:
                self._need += read_prefix(self._buffer, self._limit)
            if len(self._buffer) >= self._need:
                messages.append(bytes(memoryview(self._buffer)[PREFIX_SIZE : self._need]))
                del self._buffer[: self._need]
                self._need = PREFIX_SIZE
        return messages


def is_whole(payload: bytes, limit: int) -> bool:
    """Tell whether *payload* is exactly one message within *limit*: the ordinary case, worth a short cut."""
    size = len(payload) - PREFIX_SIZE
    return 0 <= size <= limit and not payload[0] and int.from_bytes(payload[1:PREFIX_SIZE], "big") == size


def read_prefix(payload: bytes | bytearray, limit: int) -> int:
    """Return the size of the message that *payload* starts, after checking that we may take it."""
    if payload[0]:
        raise ProtocolError("the server sent a compressed message although compression was not offered")
    size = int.from_bytes(payload[1:PREFIX_SIZE], "big")
    if size > limit:
        raise ResponseTooLarge(f"the answer has {size} bytes, max_receive_bytes is {limit}")
    return size


def _number(text: bytes) -> int:
    return int(text) if _DIGITS.fullmatch(text) else -1
