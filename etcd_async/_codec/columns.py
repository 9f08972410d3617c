"""
Key-values that lie in the bytes like the rows of a table, read column by column.

The keys of a listing are often laid out alike: as many bytes for each field, as many for the whole. Then a slice with
a row's size as its step is one byte of every row, and a few calls check and read what is a loop in Python otherwise.
Every byte that is not a key, a value or a number is checked in every row; where one differs, there are no such rows.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from struct import iter_unpack
from types import FunctionType
from typing import Final

from etcd_async._codec._generated.hot import LEASES, read_lease
from etcd_async._codec.drafts import new_kvs
from etcd_async._codec.reading import read_span
from etcd_async.types import KeyValue

LONG: Final = 8192 if isinstance(read_lease, FunctionType) else sys.maxsize
"""
In so many bytes it is worth a look whether they are rows; if not, as many are read one by one before the next look.
Compiled, the readers of single ones are faster than this one.
"""

_FEWEST: Final = 24
_MOST: Final = 256
_HIGH: Final = bytes(range(128, 256))


class _Unlike(Exception):
    """The rows are not laid out alike, or not as etcd writes them."""


def read_kv_rows(buf: bytes, p: int, end: int) -> tuple[list[KeyValue], int]:
    """Read the elements of a repeated field from *p* on that are laid out alike; return them and where they stop."""
    start, stop = read_span(buf, p + 1, end)
    kvs = read_rows(buf, p, start, end, stop - p)
    return kvs, p + len(kvs) * (stop - p)


def read_rows(buf: bytes, p: int, kv: int, end: int, size: int) -> list[KeyValue]:
    """
    Read the key-values of the rows from *p* on that are laid out like the first: all of them, or some, or none.

    Args:
        buf: The bytes.
        p: Where the first row begins.
        kv: Where its key-value begins, which fills the rest of it. What is before is the same in all rows.
        end: Where the rows end at the latest.
        size: How long each row is.
    """
    head = buf[p : kv + 2]
    if not buf.startswith(head, p + size):
        return []
    rows = min((end - p) // size, _MOST)
    while rows >= _FEWEST:
        # A look at the last row spares most attempts that would fail.
        if buf.startswith(head, p + (rows - 1) * size):
            try:
                return _read(_Table(buf, p, rows, size), kv - p)
            except _Unlike:
                pass
        rows //= 2
    return []


class _Table:
    """Rows of one size; a place is counted from a row's beginning."""

    def __init__(self, buf: bytes, p: int, rows: int, size: int) -> None:
        self.buf = buf
        self.p = p
        self.rows = rows
        self.size = size
        self.end = p + rows * size

    def expect(self, at: int, expected: bytes) -> int:
        """Make sure that these bytes are there in every row; return the place behind them."""
        for at, byte in enumerate(expected, at):  # noqa: B020  # the place just moves on
            if self._column(at).count(byte) != self.rows:
                raise _Unlike
        return at + 1

    def span(self, at: int, tag: bytes) -> tuple[int, int]:
        """Return where bytes start and stop that are equally long in every row."""
        start, stop = read_span(self.buf, self.p + self.expect(at, tag), self.p + self.size)
        self.expect(at, self.buf[self.p + at : start])
        return start - self.p, stop - self.p

    def numbers(self, at: int, tag: bytes) -> tuple[Sequence[int], int]:
        """Return a varint of every row, equally long in all of them, and the place behind."""
        at = self.expect(at, tag)
        lower: list[bytes] = []
        # Ten bytes may be a negative number, or too large a one.
        for at in range(at, min(at + 9, self.size)):  # noqa: B020  # the place just moves on
            column = self._column(at)
            if column.isascii():
                return _joined(lower, column), at + 1
            if column.translate(None, _HIGH):
                break
            lower.append(column)
        raise _Unlike

    def texts(self, *spans: tuple[int, int]) -> Iterator[tuple[bytes, ...]]:
        """Return these places of every row."""
        form, after = "", 0
        for start, stop in spans:
            form += f"{start - after}x{stop - start}s"
            after = stop
        return iter_unpack(f"{form}{self.size - after}x", memoryview(self.buf)[self.p : self.end])

    def _column(self, at: int) -> bytes:
        return self.buf[self.p + at : self.end : self.size]


def _read(table: _Table, kv: int) -> list[KeyValue]:
    table.expect(0, table.buf[table.p : table.p + kv])
    key = table.span(kv, b"\x0a")
    create_revisions, at = table.numbers(key[1], b"\x10")
    mod_revisions, at = table.numbers(at, b"\x18")
    versions, at = table.numbers(at, b"\x20")
    value = at, at
    if at < table.size and table.buf[table.p + at] == 0x2A:
        value = table.span(at, b"\x2a")
    leases = repeat(0) if value[1] == table.size else _leases(table, value[1])
    return new_kvs(zip(table.texts(key, value), create_revisions, mod_revisions, versions, leases, strict=False))


def _joined(lower: list[bytes], highest: Sequence[int]) -> Sequence[int]:
    """Return the numbers whose bits these columns are, seven in each."""
    for column in reversed(lower):
        highest = [low + (high << 7) - 128 for low, high in zip(column, highest, strict=True)]
    return highest


def _leases(table: _Table, at: int) -> Iterable[int]:
    texts = table.texts((table.expect(at, b"\x30"), table.size))
    leases = [LEASES.get(text) or read_lease(text, 0, len(text)) for (text,) in texts]
    if min(leases) < 0:
        raise _Unlike
    return leases
