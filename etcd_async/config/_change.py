"""
How a change of a configuration is written so that nobody ever reads half of it. Pure.

The key of the configuration itself, ``config/<name>/``, is its *generation key*: every change writes it. A change that
fits one transaction needs no more. One that doesn't is made in several, of which the first puts a *mark* there: the
revision that was current before. Until the last transaction takes the mark away, readers read as of that revision, and
watchers keep what they have. A writer that dies in between leaves the mark, so readers stay with the old configuration,
and the next writer finishes its own change over what is half there. One that is refused (a leaf is too large, or not
permitted) takes back what it wrote.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from etcd_async import ops
from etcd_async.errors import ConfigError, DecryptionFailed
from etcd_async.recipes._pieces import pieces
from etcd_async.types import KeyValue, RangeResult

Write: TypeAlias = ops.Put | ops.Delete


@dataclass(frozen=True, slots=True)
class Stored:
    """
    What lies in etcd of a configuration at one revision.

    Attributes:
        prefix: The generation key, and the prefix of all others.
        revision: When it was read.
        kvs: The keys of the leaves by their paths.
        generation: The generation key, or None if nothing was ever written.
        modified: The revision of the last change.
        mark: The revision to read at, while a change in several transactions is under way or was left unfinished.
    """

    prefix: bytes
    revision: int
    kvs: Mapping[bytes, KeyValue]
    generation: KeyValue | None
    modified: int
    mark: int | None

    @classmethod
    def of(cls, prefix: bytes, found: RangeResult) -> Stored:
        """Read a listing of the prefix."""
        generation = next((kv for kv in found if kv.key == prefix), None)
        kvs = {kv.key.removeprefix(prefix): kv for kv in found if kv.key != prefix}
        modified = max((kv.mod_revision for kv in found), default=0)
        return cls(prefix, found.revision, kvs, generation, modified, _mark(generation))

    @property
    def leaves(self) -> dict[bytes, bytes]:
        """Paths and values; raises `DecryptionFailed` if one of them can't be opened."""
        return {path: kv.value for path, kv in self.kvs.items()}

    def unchanged(self) -> list[ops.Compare]:
        """Return what holds as long as nobody has changed it by `etcd_async`, or put a key there in another way."""
        last = self.generation.mod_revision if self.generation else 0
        return [ops.mod_revision(self.prefix) == last, ops.mod_revision(prefix=self.prefix) <= self.revision]

    def writes(self, leaves: Mapping[bytes, bytes]) -> list[Write]:
        """Return what makes the leaves equal to *leaves*; nothing for those that are."""
        gone: list[Write] = [ops.delete(self.prefix + path) for path in self.kvs if path not in leaves]
        new = [
            ops.put(self.prefix + path, value)
            for path, value in leaves.items()
            if path not in self.kvs or _readable(self.kvs[path]) != value
        ]
        return gone + new

    def restoring(self, writes: Sequence[Write]) -> list[Write]:
        """Return what takes *writes* back, the generation key last; DecryptionFailed if a value was not readable."""
        kvs = [self.kvs.get(write.key.removeprefix(self.prefix), KeyValue(write.key)) for write in writes]
        return [*map(_back, kvs), _back(self.generation or KeyValue(self.prefix))]


def finished(prefix: bytes) -> ops.Put:
    """Return the write that ends a change; its revision is that of the configuration."""
    return ops.put(prefix, "{}")


def begun(stored: Stored) -> ops.Put:
    """Return the write that begins a change in several transactions; an unfinished one's mark stays."""
    return ops.put(stored.prefix, json.dumps({"readers_stay_at": stored.mark or stored.revision}))


def fits(writes: Sequence[ops.Op]) -> bool:
    """Return whether *writes* can be one transaction."""
    return sum(1 for _ in pieces(writes)) <= 1


def _back(kv: KeyValue) -> Write:
    return ops.put(kv.key, kv.value) if kv.version else ops.delete(kv.key)


def _readable(kv: KeyValue) -> bytes | None:
    try:
        return kv.value
    except DecryptionFailed:
        return None


def _mark(generation: KeyValue | None) -> int | None:
    if generation is None:
        return None
    try:
        mark = json.loads(generation.value).get("readers_stay_at")
        return None if mark is None else ops.at_least(mark, "mark", 1)
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise ConfigError(f"{generation.key!r} is not what was written there: delete it, and write again") from None
