"""Arguments at the door: text to bytes, prefixes and ranges to etcd's key and range_end, times checked."""

from __future__ import annotations

import math
from typing import Final

# etcd's two special ends (server/storage/mvcc): a range_end of one zero byte means "to the end of the key space".
END: Final = b"\x00"
FIRST: Final = b"\x00"


def to_key(key: object, name: str = "key") -> bytes:
    """Return *key* as bytes; an empty key is a ValueError, another type a TypeError, both naming *name*."""
    raw = key.encode() if isinstance(key, str) else key if isinstance(key, bytes) else to_bytes(key, name)
    if not raw:
        raise ValueError(f"{name} must not be empty")
    return raw


def to_bytes(value: object, name: str = "value") -> bytes:
    """Return text or bytes as bytes; another type is a TypeError naming *name*."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    raise TypeError(f"{name} must be str or bytes, not {type(value).__name__}")


def prefix_end(prefix: bytes) -> bytes:
    """
    Return the range_end that covers exactly the keys starting with *prefix*.

    The last byte below 0xff is raised by one and what follows is dropped; where there is none (an empty prefix, or
    0xff bytes only) nothing sorts after the prefix and the end is that of the key space (etcd ``client/v3/op.go``).
    """
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else END


def to_range(
    key: str | bytes | None = None,
    *,
    prefix: str | bytes | None = None,
    start: str | bytes | None = None,
    end: str | bytes | None = None,
    from_key: bool = False,
) -> tuple[bytes, bytes]:
    """
    Return etcd's ``(key, range_end)`` for one key, a prefix, or a range.

    Exactly one of *key*, *prefix* and *start* is given. An empty prefix is every key. With *start*, *end* (excluded)
    bounds the range, and ``from_key=True`` leaves it open to the end of the key space.
    """
    if sum(given is not None for given in (key, prefix, start)) != 1:
        raise ValueError("exactly one of key, prefix and start must be given")
    if start is None and (end is not None or from_key):
        raise ValueError("end and from_key go with start")
    if key is not None:
        return to_key(key), b""
    if prefix is not None:
        first = to_bytes(prefix, "prefix")
        return (first or FIRST), prefix_end(first)
    assert start is not None
    return _from_start(to_bytes(start, "start"), end, from_key)


def _from_start(first: bytes, end: str | bytes | None, from_key: bool) -> tuple[bytes, bytes]:
    if (end is None) is not from_key:
        raise ValueError("start needs either end or from_key=True, and not both")
    if end is None:
        return (first or FIRST), END
    last = to_key(end, "end")
    if last == END:
        raise ValueError("end must not be a single zero byte: etcd reads that as no end; say from_key=True")
    if last <= first:
        raise ValueError(f"end must sort after start: {last!r} <= {first!r}")
    return (first or FIRST), last


def check_timeout(timeout: object) -> None:
    """Refuse what is no number of seconds; None is no limit, and what is not positive has passed already."""
    if timeout is None:
        return
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout must be a number of seconds or None, not {type(timeout).__name__}")
    if math.isnan(timeout):
        raise ValueError("timeout must be a number of seconds or None, not nan")


def check_patience(timeout: float | None) -> None:
    """Refuse what is not a time to wait; None is for ever."""
    check_timeout(timeout)
    if timeout is not None and timeout < 0:
        raise ValueError(f"timeout must not be negative, not {timeout}")
