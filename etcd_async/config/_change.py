"""
How a change of a configuration is written so that nobody ever reads half of it. Pure.

The key of the configuration itself, ``config/<name>/``, is its *generation key*: every change writes it. A change that
fits one transaction needs no more. One that doesn't is made in several, of which the first puts a *mark* there: the
revision that was current before. Until the last transaction takes the mark away, readers read as of that revision, and
watchers keep what they have. A writer that dies in between leaves the mark, so readers stay with the old configuration,
and the next writer finishes its own change over what is half there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from etcd_async import ops
from etcd_async.errors import ConfigError
from etcd_async.types import KeyValue, RangeResult

_MAX_OPS: Final = 120  # of one transaction; etcd's default limit is 128
_MAX_BYTES: Final = 1024 * 1024  # below etcd's default limit of 1.5 MiB


@dataclass(frozen=True, slots=True)
class Stored:
    """
    What lies in etcd of a configuration at one revision.

    Attributes:
        prefix: The generation key, and the prefix of all others.
        revision: When it was read.
        leaves: Paths and values.
        generation: The generation key, or None if nothing was ever written.
        modified: The revision of the last change.
        mark: The revision to read at, while a change in several transactions is under way or was left unfinished.
    """

    prefix: bytes
    revision: int
    leaves: Mapping[bytes, bytes]
    generation: KeyValue | None
    modified: int
    mark: int | None

    @classmethod
    def of(cls, prefix: bytes, found: RangeResult) -> Stored:
        """Read a listing of the prefix."""
        generation = next((kv for kv in found if kv.key == prefix), None)
        leaves = {kv.key.removeprefix(prefix): kv.value for kv in found if kv.key != prefix}
        modified = max((kv.mod_revision for kv in found), default=0)
        return cls(prefix, found.revision, leaves, generation, modified, _mark(generation))

    def unchanged(self) -> list[ops.Compare]:
        """Return what holds as long as nobody has changed it by `etcd_async`, or put a key there in another way."""
        if self.generation is None:
            return [ops.create_revision(self.prefix) == 0]
        return [
            ops.mod_revision(self.prefix) == self.generation.mod_revision,
            ops.mod_revision(prefix=self.prefix) <= self.revision,
        ]

    def writes(self, leaves: Mapping[bytes, bytes]) -> list[ops.Op]:
        """Return what makes the leaves equal to *leaves*; nothing for those that are."""
        gone: list[ops.Op] = [ops.delete(self.prefix + path) for path in self.leaves if path not in leaves]
        new = [ops.put(self.prefix + path, value) for path, value in leaves.items() if self.leaves.get(path) != value]
        return gone + new


def finished(prefix: bytes) -> ops.Put:
    """Return the write that ends a change; its revision is that of the configuration."""
    return ops.put(prefix, "{}")


def begun(stored: Stored) -> ops.Put:
    """Return the write that begins a change in several transactions; an unfinished one's mark stays."""
    return ops.put(stored.prefix, json.dumps({"readers_stay_at": stored.mark or stored.revision}))


def fits(writes: Sequence[ops.Op]) -> bool:
    """Return whether *writes* can be one transaction."""
    return sum(1 for _ in pieces(writes)) <= 1


def pieces(writes: Sequence[ops.Op]) -> Iterator[list[ops.Op]]:
    """Cut *writes* into what fits a transaction each."""
    piece: list[ops.Op] = []
    size = 0
    for write in writes:
        weight = len(write.value) if isinstance(write, ops.Put) else 0
        if piece and (len(piece) == _MAX_OPS or size + weight > _MAX_BYTES):
            yield piece
            piece, size = [], 0
        piece.append(write)
        size += weight
    if piece:
        yield piece


def _mark(generation: KeyValue | None) -> int | None:
    if generation is None:
        return None
    try:
        mark = json.loads(generation.value).get("readers_stay_at")
    except (ValueError, AttributeError):
        raise ConfigError(f"{generation.key!r} is not what was written there: delete it, and write again") from None
    return int(mark) if mark is not None else None
