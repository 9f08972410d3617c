"""
How a change of a configuration is written so that nobody ever reads half of it. Pure.

The key of the configuration itself, ``config/<name>/``, is its *generation key*: every change writes it, with the
number of leaves there are then, so that what other tools delete is noticed. A change that fits one transaction needs no
more. One that doesn't is made in several, of which all but the last put a *mark* there: the revision that was current
before. Until the last transaction takes the mark away, readers read as of that revision, and watchers keep what they
have. Each is on condition that the key is as the one before has left it, so that none can come late. A writer that dies
in between leaves the mark, so readers stay with the old configuration, and the next writer finishes its own change over
what is half there. One that is refused (a leaf is too large, or not permitted), or that an outage has ended, takes back
what it wrote.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from etcd_async import ops
from etcd_async.errors import ConfigError, DecryptionFailed
from etcd_async.recipes._pieces import MOST_OPS, pieces
from etcd_async.types import KeyValue, RangeResult

Write: TypeAlias = ops.Put | ops.Delete


@dataclass(frozen=True, slots=True)
class Stored:
    """
    What lies in etcd of a configuration at one revision.

    Attributes:
        prefix: The generation key, and the prefix of all others.
        revision: That one.
        kvs: The keys of the leaves by their paths.
        generation: The generation key, or None if nothing was ever written.
        newest: The revision of the last write that can be seen; a delete by another tool can't.
        mark: The revision to read at, while a change in several transactions is under way or was left unfinished.
    """

    prefix: bytes
    revision: int
    kvs: Mapping[bytes, KeyValue]
    generation: KeyValue | None
    newest: int
    mark: int | None

    @classmethod
    def of(cls, prefix: bytes, found: RangeResult, revision: int = 0) -> Stored:
        """Read a listing of the prefix, as of *revision* if that is not its own."""
        generation = next((kv for kv in found if kv.key == prefix), None)
        kvs = {kv.key.removeprefix(prefix): kv for kv in found if kv.key != prefix}
        newest = max((kv.mod_revision for kv in found), default=0)
        mark = _word(generation, "readers_stay_at", 1)
        return cls(prefix, revision or found.revision, kvs, generation, newest, mark)

    @property
    def count(self) -> int:
        """How many keys it has."""
        return len(self.kvs) + (self.generation is not None)

    @property
    def is_as_written(self) -> bool:
        """True unless another tool has changed it since the last change by `etcd_async`."""
        if self.generation is None:
            return not self.kvs
        leaves = _word(self.generation, "leaves", 0)
        return self.newest == self.generation.mod_revision and len(self.kvs) == leaves

    @property
    def version(self) -> int:
        """The revision that stands for it: of its last change, if that is known; else the one it was read at."""
        return self.newest if self.is_as_written else self.revision

    def may_be_of(self, revision: int) -> bool:
        """Return whether it is that of *revision* if it had as many keys then: all that it has now were there."""
        return revision == self.newest if self.is_as_written else revision >= self.newest

    @property
    def leaves(self) -> dict[bytes, bytes]:
        """Paths and values; raises `DecryptionFailed` if one of them can't be opened."""
        return {path: kv.value for path, kv in self.kvs.items()}

    def unchanged(self, writes: Sequence[Write] = ()) -> list[ops.Compare]:
        """
        Return what holds as long as nobody has changed it by `etcd_async`, or put a key there in another way.

        Nor has anybody deleted a leaf that *writes* put; other deletes come to the same as if they were made later.
        """
        last = self.generation.mod_revision if self.generation else 0
        put = [self.kvs.get(each.key.removeprefix(self.prefix)) for each in writes if isinstance(each, ops.Put)]
        return [
            ops.mod_revision(self.prefix) == last,
            ops.mod_revision(prefix=self.prefix) <= self.revision,
            *(ops.mod_revision(kv.key) == kv.mod_revision for kv in put if kv is not None),
        ]

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
        leaves = [write.key for write in writes if write.key != self.prefix]
        kvs = [self.kvs.get(key.removeprefix(self.prefix), KeyValue(key)) for key in leaves]
        return [*map(_back, kvs), _back(self.generation or KeyValue(self.prefix))]


def finished(prefix: bytes, leaves: int) -> ops.Put:
    """Return the write that ends a change, which leaves so many *leaves*; its revision is the configuration's."""
    return ops.put(prefix, json.dumps({"leaves": leaves}))


def begun(stored: Stored, writer: int) -> ops.Put:
    """Return the write that begins *writer*'s change in several transactions; an unfinished one's mark stays."""
    return ops.put(stored.prefix, json.dumps({"readers_stay_at": stored.mark or stored.revision, "writer": writer}))


def fits(writes: Sequence[ops.Op]) -> bool:
    """Return whether *writes* can be one transaction, with what `Stored.unchanged` asks of each."""
    return len(writes) < MOST_OPS and sum(1 for _ in pieces(writes)) <= 1


def _back(kv: KeyValue) -> Write:
    return ops.put(kv.key, kv.value) if kv.version else ops.delete(kv.key)


def _readable(kv: KeyValue) -> bytes | None:
    try:
        return kv.value
    except DecryptionFailed:
        return None


def _word(generation: KeyValue | None, name: str, least: int) -> int | None:
    """Return one of the numbers that the generation key holds."""
    if generation is None:
        return None
    try:
        number = json.loads(generation.value).get(name)
        return None if number is None else ops.at_least(number, name, least)
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise ConfigError(f"{generation.key!r} is not what was written there: delete it, and write again") from None
