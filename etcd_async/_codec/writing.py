"""
Protobuf's wire format, written one field at a time: what the generated writers are made of.

A writer appends parts to a list and returns how many bytes it appended; the list is joined once at the very end, so
that no value is copied twice. Errors name the field and never show its content, unless it is a number.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

_BITS_64: Final = (1 << 64) - 1
_INT_64: Final = (-(1 << 63), (1 << 63) - 1)
_INT_32: Final = (-(1 << 31), (1 << 31) - 1)
_UINT_64: Final = (0, _BITS_64)
_UINT_32: Final = (0, (1 << 32) - 1)


def varint(value: int) -> bytes:
    """Encode a number of 0 to 2**64 - 1."""
    if value < 128:
        return _ONE_BYTE[value]
    if value < 16384:
        return bytes((value & 127 | 128, value >> 7))
    return _long_varint(value)


# Large numbers are lease ids and revisions, and the same ones come again and again.
@lru_cache(maxsize=1024)
def _long_varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


_ONE_BYTE: Final = tuple(bytes([value]) for value in range(128))


def write_int64(out: list[bytes], tag: bytes, value: int, name: str) -> int:
    """Append a signed 64-bit field."""
    return _write_integer(out, tag, value, name, _INT_64)


def write_uint64(out: list[bytes], tag: bytes, value: int, name: str) -> int:
    """Append an unsigned 64-bit field."""
    return _write_integer(out, tag, value, name, _UINT_64)


def write_int32(out: list[bytes], tag: bytes, value: int, name: str) -> int:
    """Append a signed 32-bit field: an enum."""
    return _write_integer(out, tag, value, name, _INT_32)


def write_uint32(out: list[bytes], tag: bytes, value: int, name: str) -> int:
    """Append an unsigned 32-bit field."""
    return _write_integer(out, tag, value, name, _UINT_32)


def _write_integer(out: list[bytes], tag: bytes, value: int, name: str, bounds: tuple[int, int]) -> int:
    if not isinstance(value, int):
        raise wrong_type(name, "an int", value)
    if not bounds[0] <= value <= bounds[1]:
        raise ValueError(f"{name} must be from {bounds[0]} to {bounds[1]}, not {value}")
    encoded = tag + varint(value & _BITS_64)
    out.append(encoded)
    return len(encoded)


def write_bool(out: list[bytes], tag: bytes, value: bool, name: str) -> int:
    """Append a true or false."""
    if not isinstance(value, bool):
        raise wrong_type(name, "a bool", value)
    out.append(tag + (b"\x01" if value else b"\x00"))
    return len(tag) + 1


def write_bytes(out: list[bytes], tag: bytes, value: bytes, name: str) -> int:
    """Append bytes; they are not copied."""
    if not isinstance(value, bytes):
        raise wrong_type(name, "bytes", value)
    head = tag + varint(len(value))
    out.append(head)
    out.append(value)
    return len(head) + len(value)


def write_str(out: list[bytes], tag: bytes, value: str, name: str) -> int:
    """Append text as UTF-8."""
    if not isinstance(value, str):
        raise wrong_type(name, "a str", value)
    try:
        return write_bytes(out, tag, value.encode(), name)
    except UnicodeEncodeError:
        # From None: the exception carries the text, which may be a password.
        raise ValueError(f"{name} holds a lone surrogate, which UTF-8 cannot express") from None


def write_message(
    out: list[bytes], tag: bytes, value: Any, kind: type, write: Callable[[Any, list[bytes]], int], name: str
) -> int:
    """Append a message of class *kind* by its writer."""
    if not isinstance(value, kind):
        raise wrong_type(name, f"a {kind.__name__}", value)
    return write_part(out, tag, value, write)


def write_part(out: list[bytes], tag: bytes, value: Any, write: Callable[[Any, list[bytes]], int]) -> int:
    """Append anything by its writer, with its tag and length before it."""
    place = len(out)
    out.append(b"")
    size = write(value, out)
    out[place] = head = tag + varint(size)
    return len(head) + size


def write_packed_int32(out: list[bytes], tag: bytes, values: Any, name: str) -> int:
    """Append a list of enum numbers as one field."""
    parts: list[bytes] = []
    size = sum(write_int32(parts, b"", value, name) for value in elements(values, name))
    head = tag + varint(size)
    out.append(head)
    out.extend(parts)
    return len(head) + size


def elements(values: Any, name: str) -> list[Any]:
    """Return the elements of a repeated field."""
    if not isinstance(values, list):
        raise wrong_type(name, "a list", values)
    return values


def only_one(name: str, *values: object) -> None:
    """Refuse a oneof with several members set: the server would take the last and ignore the others."""
    if len(values) - values.count(None) > 1:
        raise ValueError(f"only one member of {name} may be set")


def wrong_type(name: str, expected: str, value: object) -> TypeError:
    """Return the error of a field that holds something else; it does not show what."""
    return TypeError(f"{name} must be {expected}, not {type(value).__name__}")
