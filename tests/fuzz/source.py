"""Decisions taken from the bytes of a fuzzer; when they are used up, every decision is 0."""

from __future__ import annotations


class Source:
    """Hands out *data* piece by piece."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_empty(self) -> bool:
        return self._at >= len(self._data)

    def number(self, below: int = 256) -> int:
        """Return a number of one byte."""
        self._at += 1
        return self._data[self._at - 1] % below if self._at <= len(self._data) else 0

    def take(self, size: int) -> bytes:
        """Return as many bytes as there are, *size* at most."""
        start, self._at = self._at, self._at + size
        return self._data[start : self._at]

    def string(self) -> bytes:
        """Return bytes with their length before them."""
        return self.take(self.number())

    def rest(self) -> bytes:
        """Return all that is left."""
        return self.take(len(self._data))


def pieces(data: bytes, size: int) -> list[bytes]:
    """Cut *data* into pieces of *size*; 0 means one."""
    return [data[start : start + size] for start in range(0, len(data), size)] if size else [data]
