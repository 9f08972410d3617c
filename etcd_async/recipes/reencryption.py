"""Values that lie under old keys, or under none, are sealed again with the primary key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final

import anyio

from etcd_async import ops
from etcd_async._keys import END, FIRST, prefix_end, to_bytes, to_key
from etcd_async._keyspace import Cipher, Keyspace
from etcd_async._offload import offload
from etcd_async.errors import DecryptionFailed, EtcdError
from etcd_async.kv import KV
from etcd_async.options import Timeout
from etcd_async.types import KeyValue

__all__ = ["Reencrypted", "reencrypt"]

_AT_ONCE: Final = 32  # keys that are rewritten side by side
_PAGE: Final = 2 * _AT_ONCE  # keys that are read at once: at 1.5 MiB each they fit an answer
_MOST_PASSES: Final = 8  # two are usual; each of the others follows on a write or a rotation in the midst of the last
_MOST_TRIES: Final = 8  # for one key, in one pass


@dataclass(frozen=True, slots=True)
class Reencrypted:
    """
    How far a re-encryption has come, or what it did.

    Attributes:
        examined: How many encrypted keys were looked at.
        rewritten: How many of them were sealed again.
        unreadable: The keys whose values could not be opened; they were left as they are.
        last_key: The last key looked at: where an interrupted re-encryption goes on, with ``after=``.
    """

    examined: int = 0
    rewritten: int = 0
    unreadable: tuple[bytes, ...] = ()
    last_key: bytes | None = None


async def reencrypt(
    raw: KV,
    space: Keyspace,
    encryption: Cipher,
    *,
    prefix: str | bytes,
    after: str | bytes | None,
    progress: Callable[[Reencrypted], None] | None,
    timeout: Timeout,
) -> Reencrypted:
    """
    Seal again what is not under the primary key; until a pass over all keys finds nothing more to do.

    Each pass that has found something is followed by another, but not for ever.

    Args:
        raw: Reads and writes what lies on the server, of the same keys as *space*.
        space: The view whose keys are told of.
        encryption: Opens and seals.
        prefix: Of the keys.
        after: Where an earlier one was interrupted.
        progress: Called every now and then.
        timeout: Seconds for each request.
    """
    task = _Reencryption(raw, space, encryption, progress=progress, timeout=timeout)
    begin = to_bytes(prefix, "prefix")
    last = None if after is None else to_key(after, "after")
    if last is not None and not last.startswith(begin):
        raise ValueError(f"after must be a key of the prefix {begin!r}, not {last!r}")
    start = begin if last is None else last + b"\x00"
    for _ in range(_MOST_PASSES):
        await task.run(begin, start)
        if task.found is None and start == begin:
            return task.done
        start = begin
    raise EtcdError(
        f"{task.found!r} was not under the primary key in the last of {_MOST_PASSES} passes either: somebody goes on "
        "sealing with another key; have every process use the primary one, and begin again"
    )


class _Reencryption:
    def __init__(
        self,
        raw: KV,
        space: Keyspace,
        encryption: Cipher,
        *,
        progress: Callable[[Reencrypted], None] | None,
        timeout: Timeout,
    ) -> None:
        self.found: bytes | None = None
        self._done = Reencrypted()
        self._unreadable: list[bytes] = []
        self._raw = raw
        self._space = space
        self._encryption = encryption
        self._progress = progress
        self._timeout = timeout

    @property
    def done(self) -> Reencrypted:
        """What was done up to now."""
        return replace(self._done, unreadable=tuple(self._unreadable))

    async def run(self, prefix: bytes, start: bytes) -> None:
        """Pass once over the keys of *prefix* from *start* on; `found` is one for which there was something to do."""
        self.found = None
        before, self._done = self._done, replace(self._done, examined=0)
        self._unreadable = []
        waiting: list[KeyValue] = []
        end = prefix_end(prefix)
        kvs = self._raw.scan(
            start=start or FIRST,
            end=None if end == END else end,
            from_key=end == END,
            page_size=_PAGE,
            timeout=self._timeout,
        )
        async with aclosing(kvs):
            async for kv in kvs:
                if not self._encryption.covers(self._space.prefix + kv.key):
                    continue
                waiting.append(kv)
                if len(waiting) == _AT_ONCE:
                    await self._see_to(waiting)
                    waiting = []
        if waiting:
            await self._see_to(waiting)
        self._done = replace(self._done, examined=max(before.examined, self._done.examined))

    async def _see_to(self, kvs: Sequence[KeyValue]) -> None:
        try:
            async with anyio.create_task_group() as group:
                for kv in kvs:
                    group.start_soon(self._renew, kv)
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None  # the others fell to the same cause, or were cancelled for it
        self._done = replace(self._done, examined=self._done.examined + len(kvs), last_key=kvs[-1].key)
        if self._progress is not None:
            self._progress(self.done)

    async def _renew(self, kv: KeyValue) -> None:
        found: KeyValue | None = kv
        for _ in range(_MOST_TRIES):
            if found is None or self._encryption.is_current(found.value):
                return
            try:
                value = await offload(len(found.value), self._resealed, found)
            except DecryptionFailed:
                self._unreadable.append(found.key)
                return
            unchanged = ops.mod_revision(found.key) == found.mod_revision
            written = ops.put(found.key, value, ignore_lease=True)
            result = await self._raw.txn([unchanged], [written], [ops.get(found.key)], timeout=self._timeout)
            if result.succeeded:
                self.found = kv.key
                self._done = replace(self._done, rewritten=self._done.rewritten + 1)
                return
            [found] = result.results  # type: ignore[assignment]  # a get's
        self.found = kv.key  # others were faster each time: the next pass sees to it

    def _resealed(self, kv: KeyValue) -> bytes:
        name = self._space.prefix + kv.key
        return self._encryption.seal(name, self._encryption.open(name, kv.value))
