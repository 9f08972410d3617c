"""
HTTP/2 frames as bytes (RFC 9113 §4 and §6): splitting what arrives, building what leaves.

Knows nothing of streams or settings; `inbox` and `outbox` do. Frames of stream 0 other than GOAWAY are left to h2.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from struct import Struct
from typing import Final, TypeAlias

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
WITH_PRIORITY: Final = 0x20

MAX_WINDOW: Final = 2**31 - 1
MAX_STREAM_ID: Final = 2**31 - 1
MAX_INBOUND_FRAME: Final = 16_384
"""The largest payload we take: RFC 9113's initial SETTINGS_MAX_FRAME_SIZE, which we leave as it is."""

Frame: TypeAlias = tuple[int, int, int, bytes]
"""Type, flags, stream id, payload."""

_HEADER: Final = Struct(">BHBBI")
_HEADER_SIZE: Final = 9
_WITH_WORD: Final = Struct(">BHBBII")
_DATA_START: Final = Struct(">BHBBIBI")
_GOAWAY_HEAD: Final = Struct(">II")


class ErrorCode(enum.IntEnum):
    """RFC 9113 §7."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


def code_name(code: int) -> str:
    """Return the name of an error code; unknown ones by their number."""
    return ErrorCode(code).name if code in ErrorCode.__members__.values() else f"error code {code}"


class ConnectionFault(Exception):
    """The peer broke HTTP/2 in a way that ends the whole connection."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(code, reason)


class FrameReader:
    """
    Cuts the bytes of a connection into frames, however they arrive.

    Attributes:
        rest: The start of a frame that is not whole yet.
    """

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """
        Yield the frames that *data* completes, in order.

        Raises:
            ConnectionFault: A frame is larger than we allow; what came before it has been yielded.
        """
        if self.rest:
            data = self.rest + data
        start, size = 0, len(data)
        while size - start >= _HEADER_SIZE:
            high, low, kind, flags, stream_id = _HEADER.unpack_from(data, start)
            end = start + _HEADER_SIZE + (high << 16 | low)
            if end - start - _HEADER_SIZE > MAX_INBOUND_FRAME:
                self.rest = data[start:]
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {high << 16 | low} bytes")
            if end > size:
                break
            yield kind, flags, stream_id & MAX_STREAM_ID, data[start + _HEADER_SIZE : end]
            start = end
        self.rest = data[start:]


def foreign_greeting(data: bytes) -> str | None:
    """Return what a server that began with *data* speaks instead of HTTP/2, if it can be told."""
    if data.startswith(b"HTTP/"):
        return f"the server speaks HTTP/1 here: {data.splitlines()[0].decode('ascii', 'replace')}"
    if data[:2] == b"\x15\x03":
        return "the server expects TLS (use https://)"
    return None


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Return one frame."""
    return header(kind, flags, stream_id, len(payload)) + payload


def header(kind: int, flags: int, stream_id: int, size: int) -> bytes:
    """Return the nine bytes that start a frame of *size* payload bytes."""
    return _HEADER.pack(size >> 16, size & 0xFFFF, kind, flags, stream_id)


def header_frames(stream_id: int, block: bytes, limit: int) -> bytes:
    """Return *block* as HEADERS and, past *limit* bytes, CONTINUATION frames (RFC 9113 §6.10)."""
    if len(block) <= limit:
        return header(HEADERS, END_HEADERS, stream_id, len(block)) + block
    pieces = [block[start : start + limit] for start in range(0, len(block), limit)]
    middle = [frame(CONTINUATION, 0, stream_id, piece) for piece in pieces[1:-1]]
    last = frame(CONTINUATION, END_HEADERS, stream_id, pieces[-1])
    return b"".join([frame(HEADERS, 0, stream_id, pieces[0]), *middle, last])


def message_start(stream_id: int, size: int) -> bytes:
    """Return what goes before a message of *size* bytes that ends its stream and fits one DATA frame."""
    total = size + 5
    return _DATA_START.pack(total >> 16, total & 0xFFFF, DATA, END_STREAM, stream_id, 0, size)


def rst_stream(stream_id: int, code: ErrorCode) -> bytes:
    """Return an RST_STREAM frame."""
    return _WITH_WORD.pack(0, 4, RST_STREAM, 0, stream_id, code)


def window_update(stream_id: int, increment: int) -> bytes:
    """Return a WINDOW_UPDATE frame; stream 0 is the connection."""
    return _WITH_WORD.pack(0, 4, WINDOW_UPDATE, 0, stream_id, increment)


def goaway(code: ErrorCode, reason: str = "") -> bytes:
    """Return a GOAWAY frame of a client: no stream of the server was accepted."""
    return frame(GOAWAY, 0, 0, _GOAWAY_HEAD.pack(0, code) + reason.encode())


def read_goaway(payload: bytes) -> tuple[int, int, bytes]:
    """Return last stream id, error code and debug data of a GOAWAY frame."""
    if len(payload) < _GOAWAY_HEAD.size:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a GOAWAY frame cut short")
    last_id, code = _GOAWAY_HEAD.unpack_from(payload)
    return last_id & MAX_STREAM_ID, code, payload[_GOAWAY_HEAD.size :]


def read_word(payload: bytes, name: str) -> int:
    """Return the one 32-bit number that a frame called *name* holds."""
    if len(payload) != 4:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"a {name} frame of {len(payload)} bytes")
    return int.from_bytes(payload, "big")


def unpadded(flags: int, payload: bytes, *, with_priority: bool = False) -> bytes:
    """Return *payload* without padding and, of a HEADERS frame, without the priority fields (RFC 9113 §6.1, §6.2)."""
    start, end = 0, len(payload)
    if flags & PADDED:
        if not payload:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a padded frame with no pad length")
        start, end = 1, end - payload[0]
    if with_priority and flags & WITH_PRIORITY:
        start += 5
    if start > end:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "more padding than payload")
    return payload[start:end]
