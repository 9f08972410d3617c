"""
Header blocks (HPACK, RFC 7541): ours written without any table, theirs decoded once and remembered.

Our blocks hold only indexes into the static table and literals "without indexing", so they never depend on
what was sent before: a block can be kept, sent again, or dropped before it leaves. Decoding proper is hpack's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final

from etcd_async._protocol.grpc import Head, encode_timeout, read_head

FORGET_TABLE: Final = b"\x20"
"""Sets the size of our dynamic table to 0, once per connection: no setting of the peer can then concern us (§6.3)."""

_POST: Final = b"\x83"
_SCHEME: Final = {"http": b"\x86", "https": b"\x87"}
_AUTHORITY_NAME: Final = b"\x01"
_PATH_NAME: Final = b"\x04"
_CONTENT_TYPE_NAME: Final = b"\x0f\x10"
_USER_AGENT_NAME: Final = b"\x0f\x2b"
_NEVER_INDEXED: Final = b"\x10"
_LITERAL: Final = b"\x00"
_REMEMBERED_BLOCKS: Final = 256
_REMEMBERED_SIZE: Final = 1024
_REMEMBERED_TIMEOUTS: Final = 256
_LONG_TIMEOUT: Final = 10_000.0  # Longer ones may need a coarser unit than milliseconds.
_SECRETS: Final = frozenset({"authorization", "token"})

Metadata = tuple[tuple[str, str], ...]
RawHeaders = Iterable[tuple[bytes, bytes]]


def integer(value: int, bits: int, pattern: int = 0) -> bytes:
    """Return *value* with a prefix of *bits* bits (RFC 7541 §5.1), *pattern* in the bits above."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes((pattern | value,))
    octets = [pattern | limit]
    value -= limit
    while value >= 0x80:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*octets, value))


def literal(name: bytes, value: bytes, *, secret: bool = False) -> bytes:
    """Return one header field that leaves every table as it is; proxies may not index a *secret* one either."""
    return (_NEVER_INDEXED if secret else _LITERAL) + _string(name) + _string(value)


def request_block(*, path: str, scheme: str, authority: str, user_agent: str, metadata: Metadata = ()) -> bytes:
    """Return the header block of a gRPC request, all but its timeout."""
    fields = [
        _POST,
        _SCHEME[scheme],
        _PATH_NAME + _string(path.encode()),
        _AUTHORITY_NAME + _string(authority.encode()),
        literal(b"te", b"trailers"),
        _CONTENT_TYPE_NAME + _string(b"application/grpc"),
        _USER_AGENT_NAME + _string(user_agent.encode()),
    ]
    fields += [literal(name.encode(), value.encode(), secret=name in _SECRETS) for name, value in metadata]
    return b"".join(fields)


def timeout_field(seconds: float) -> bytes:
    """Return the field that tells the server how long to try."""
    if 0 < seconds < _LONG_TIMEOUT:
        return _short_timeout_field(math.ceil(seconds * 1e3))
    return _timeout_field(encode_timeout(seconds))


# Rounded up, the same number for nearly all calls with the same timeout: finding the field takes a tenth of making it.
@lru_cache(_REMEMBERED_TIMEOUTS)
def _short_timeout_field(milliseconds: int) -> bytes:
    return _timeout_field(b"%dm" % milliseconds)


def _timeout_field(timeout: bytes) -> bytes:
    return b"\x00\x0cgrpc-timeout" + bytes((len(timeout),)) + timeout


def changes_table(block: bytes) -> bool:
    """
    Tell whether decoding *block* changes the dynamic table: it inserts a field or resizes the table (RFC 7541 §6).

    A block that is cut short counts as one that does.
    """
    if min(block, default=0x80) >= 0x80:
        return False
    at = 0
    try:
        while at < len(block):
            first = block[at]
            if first & 0x80:
                at = _skip_integer(block, at, 7)
            elif first & 0x60:
                return True
            else:
                at = _skip_literal(block, at)
    except IndexError:
        return True
    return at > len(block)


class HeadReader:
    """
    Decodes header blocks in the order of their arrival, and remembers those seen before.

    A block stands for the same fields as long as the dynamic table does not change, so whatever changes the
    table also drops all that is remembered.

    Args:
        decode: hpack's decoder of this connection; its exceptions pass through.
    """

    def __init__(self, decode: Callable[[bytes], RawHeaders]) -> None:
        self._decode = decode
        self._known: dict[bytes, Head] = {}

    def read(self, block: bytes) -> Head:
        """Return what *block* says."""
        head = self._known.get(block)
        return self._read_new(block) if head is None else head

    def _read_new(self, block: bytes) -> Head:
        head = read_head(self._decode(block))
        if changes_table(block) or len(self._known) >= _REMEMBERED_BLOCKS:
            self._known.clear()
        if len(block) <= _REMEMBERED_SIZE and not changes_table(block):
            self._known[block] = head
        return head


def _string(value: bytes) -> bytes:
    return integer(len(value), 7) + value


def _skip_integer(block: bytes, at: int, bits: int) -> int:
    limit = (1 << bits) - 1
    at += 1
    if block[at - 1] & limit == limit:
        while block[at] & 0x80:
            at += 1
        at += 1
    return at


def _skip_literal(block: bytes, at: int) -> int:
    named = block[at] & 0x0F
    at = _skip_integer(block, at, 4)
    return _skip_string(block, at if named else _skip_string(block, at))


def _skip_string(block: bytes, at: int) -> int:
    size, shift = block[at] & 0x7F, 0
    at += 1
    if size == 0x7F:
        while True:
            octet = block[at]
            at += 1
            size += (octet & 0x7F) << shift
            shift += 7
            if not octet & 0x80:
                break
    return at + size
