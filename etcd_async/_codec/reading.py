"""
Protobuf's wire format, read one field at a time: what the generated readers are made of.

A reader takes the buffer, the position after the field's tag and the end of the message around it, and returns the
value and the position behind it. Malformed bytes raise `DecodeError`; none is ever read beyond the end.
Rules: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from etcd_async.errors import ProtocolError

DEPTH: Final = 100
"""How deep messages may nest, as in google's implementations."""

Known = Mapping[int, bytes]
"""The tags of a message: as a number, and as the shortest bytes that encode it."""

_BITS_64: Final = (1 << 64) - 1
_MAX_LENGTH: Final = (1 << 31) - 1
_MAX_TAG: Final = (1 << 32) - 1
_SIGN_32: Final = 1 << 31
_SIGN_64: Final = 1 << 63
_VARINT, _FIXED_64, _LENGTH, _FIXED_32 = 0, 1, 2, 5


class DecodeError(ProtocolError, ValueError):
    """The bytes are not a message of the type expected."""


def read_uint64(buf: bytes, p: int, end: int) -> tuple[int, int]:
    """Read a varint; bits above the 64th are dropped, an eleventh byte is an error."""
    value = shift = 0
    for p in range(p, min(end, p + 10)):  # noqa: B020  # the position just moves on
        byte = buf[p]
        if byte < 128:
            return (value | byte << shift) & _BITS_64, p + 1
        value |= (byte & 127) << shift
        shift += 7
    raise DecodeError("a varint is cut off" if shift < 70 else "a varint has more than 10 bytes")


def read_int64(buf: bytes, p: int, end: int) -> tuple[int, int]:
    """Read a varint in two's complement of 64 bits."""
    # Nearly all revisions, versions and counts have four bytes at most: those without a loop.
    if p < end and (value := buf[p]) < 128:
        return value, p + 1
    if p + 3 < end:
        if (second := buf[p + 1]) < 128:
            return value + (second << 7) - 0x80, p + 2
        if (third := buf[p + 2]) < 128:
            return value + (second << 7) + (third << 14) - 0x4080, p + 3
        if (fourth := buf[p + 3]) < 128:
            return value + (second << 7) + (third << 14) + (fourth << 21) - 0x204080, p + 4
    value, p = read_uint64(buf, p, end)
    return (value if value < _SIGN_64 else value - (1 << 64)), p


def read_uint32(buf: bytes, p: int, end: int) -> tuple[int, int]:
    """Read a varint; bits above the 32nd are dropped."""
    value, p = read_uint64(buf, p, end)
    return value & 0xFFFFFFFF, p


def read_int32(buf: bytes, p: int, end: int) -> tuple[int, int]:
    """Read a varint in two's complement of 32 bits, as enums are; higher bits are dropped."""
    value, p = read_uint32(buf, p, end)
    return (value if value < _SIGN_32 else value - (1 << 32)), p


def read_bool(buf: bytes, p: int, end: int) -> tuple[bool, int]:
    """Read a varint; everything but 0 is true."""
    value, p = read_uint64(buf, p, end)
    return value != 0, p


def read_span(buf: bytes, p: int, end: int) -> tuple[int, int]:
    """Read a length; return where what it measures starts and stops."""
    if p < end and (length := buf[p]) < 128:
        p += 1
    elif p + 1 < end and (second := buf[p + 1]) < 128:
        length = buf[p] + (second << 7) - 128
        p += 2
    else:
        length, p = _read_short(buf, p, end, _MAX_LENGTH)
    if length > end - p:
        raise DecodeError("a field is longer than its message")
    return p, p + length


def read_bytes(buf: bytes, p: int, end: int) -> tuple[bytes, int]:
    """Read a length and as many bytes."""
    start, stop = read_span(buf, p, end)
    return buf[start:stop], stop


def read_str(buf: bytes, p: int, end: int) -> tuple[str, int]:
    """Read a length and as many bytes of UTF-8."""
    start, stop = read_span(buf, p, end)
    try:
        text: str | None = buf[start:stop].decode()
    except UnicodeDecodeError:
        text = None
    # Outside of the handler: its exception carries the bytes, which may be a token or a password, and compiled code
    # knows no "from None".
    if text is None:
        raise DecodeError("a string is not UTF-8")
    return text, stop


def read_other(buf: bytes, p: int, end: int, known: Known) -> tuple[bytes, int, int]:
    """
    Read what the straight-line code of a message did not recognise: skip an unknown field.

    Returns:
        The buffer, position and end to go on with: another buffer where the tag of a known field is not written in
        the shortest way, for from there on known tags are.

    Raises:
        DecodeError: The field is malformed, of a known number but another wire type, or a group.
    """
    tag, after = _read_short(buf, p, end, _MAX_TAG)
    if tag in known:
        rest = _with_short_tags(buf, p, end, known)
        return rest, 0, len(rest)
    number = tag >> 3
    if number == 0:
        raise DecodeError("field number 0")
    if any(other >> 3 == number for other in known):
        raise DecodeError(f"field {number} has wire type {tag & 7}")
    return buf, _skip(buf, after, end, tag & 7), end


def _with_short_tags(buf: bytes, p: int, end: int, known: Known) -> bytes:
    """Return all that is left of a message at once: a copy for each tag would take quadratic time."""
    parts: list[bytes] = []
    while p < end:
        began, (tag, p) = p, _read_short(buf, p, end, _MAX_TAG)
        stop = _skip(buf, p, end, tag & 7)
        parts += known.get(tag) or buf[began:p], buf[p:stop]
        p = stop
    return b"".join(parts)


def _skip(buf: bytes, p: int, end: int, wire_type: int) -> int:
    if wire_type == _VARINT:
        return read_uint64(buf, p, end)[1]
    if wire_type == _LENGTH:
        return read_span(buf, p, end)[1]
    if wire_type not in (_FIXED_32, _FIXED_64):
        raise DecodeError(f"wire type {wire_type}")
    p += 8 if wire_type == _FIXED_64 else 4
    if p > end:
        raise DecodeError("a field is cut off")
    return p


def _read_short(buf: bytes, p: int, end: int, maximum: int) -> tuple[int, int]:
    """Read a varint of at most 5 bytes, as tags and lengths are."""
    value, after = read_uint64(buf, p, end)
    if after - p > 5 or value > maximum:
        raise DecodeError("a tag or length is too large")
    return value, after


def too_deep() -> DecodeError:
    """Return the error of messages nested without end, which would exhaust the stack."""
    return DecodeError(f"messages nest more than {DEPTH} deep")
