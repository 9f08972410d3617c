"""Many writes cut into transactions. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

from etcd_async import ops

__all__ = ["MOST_OPS", "pieces"]

T = TypeVar("T", bound=ops.Op)

MOST_OPS: Final = 127
"""Writes of one piece: one less than etcd's default limit, for the key that goes with it."""

_MOST_BYTES: Final = 1024 * 1024  # below etcd's default limit of 1.5 MiB


def pieces(writes: Sequence[T]) -> Iterator[list[T]]:
    """Cut puts and deletes into what fits a transaction each, in order; what is too large by itself goes alone."""
    piece: list[T] = []
    size = 0
    for write in writes:
        weight = _weight(write)
        if piece and (len(piece) == MOST_OPS or size + weight > _MOST_BYTES):
            yield piece
            piece, size = [], 0
        piece.append(write)
        size += weight
    if piece:
        yield piece


def _weight(write: ops.Op) -> int:
    match write:
        case ops.Put():
            return len(write.key) + len(write.value)
        case ops.Delete():
            return len(write.key)
        case _:
            return 0
