"""A prefix copied to another place, and kept equal to the original."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Final

import anyio

from etcd_async import ops
from etcd_async._keys import check_patience, to_bytes, to_key
from etcd_async.errors import Compacted, DeadlineExceeded, DecryptionFailed, EtcdError
from etcd_async.recipes._checkpoint import Checkpoint
from etcd_async.recipes._kept import Kept
from etcd_async.recipes._patience import Pauses, is_transient
from etcd_async.recipes._pieces import MOST_OPS, pieces
from etcd_async.services import Services
from etcd_async.types import Batch, Event, KeyValue

__all__ = ["Mirror"]

_log = logging.getLogger("etcd_async.mirror")

_PAGE: Final = 64  # keys that are read at once: at 1.5 MiB each they fit an answer


class Mirror(Kept):
    """
    Copies every key of a prefix to another prefix, perhaps on another cluster, and follows every change.

    Made by ``client.mirror("/apps/", other, "/copy/apps/")``; it works while the body of its ``async with`` runs. The
    target's prefix belongs to the mirror: keys there that the source does not have are deleted. First everything is
    compared and what differs is written; from then on each step brings the target from one revision of the source to a
    later one, in one transaction if that holds no more than 127 keys and 1 MiB. Values are copied as the clients see
    them: opened by the source's encryption, sealed by the target's; one that can't be opened ends the mirror. Leases
    are not copied, nor is the key that is named as the source's prefix if the target's is empty: it has no name there.

    With *checkpoint*, a key on the target that is written along with the data, a later mirror goes on where this one
    stopped; if the history from there on is gone, everything is compared again. It also fences the copy: a transaction
    that timed out and is carried out late does nothing, and when another mirror begins with the same checkpoint, this
    one ends with an `EtcdError` instead of its next step. Without it neither is so.

    A side that is out of reach, or has no space, is waited for. Any other error ends the mirror: `wait_for` and `wait`
    raise it.
    """

    _kind = "mirror"
    _after = "it does not follow any more"

    def __init__(
        self,
        source: Services,
        source_prefix: str | bytes,
        target: Services,
        target_prefix: str | bytes,
        *,
        checkpoint: str | bytes | None = None,
    ) -> None:
        if not isinstance(target, Services):
            raise TypeError(f"target_client must be a client, not {type(target).__name__}")
        super().__init__(source)
        self._source = source
        self._target = target
        self._from = to_bytes(source_prefix, "source_prefix")
        self._to = to_bytes(target_prefix, "target_prefix")
        key = None if checkpoint is None else to_key(checkpoint, "checkpoint")
        if key is not None and key.startswith(self._to):
            raise ValueError("checkpoint must lie outside of target_prefix, which holds the copy and nothing else")
        if _overlap(source, self._from, target, self._to):
            raise ValueError("source_prefix and target_prefix must not overlap: one would overwrite the other")
        if key is not None and _overlap(source, self._from, target, key):
            raise ValueError("checkpoint must lie outside of source_prefix: writing it would be a change to copy")
        self._checkpoint = None if key is None else Checkpoint(target, key)
        self._revision = 0
        self._begin_at: int | None = None
        self._has_checkpoint = False
        self._pauses = Pauses()

    @property
    def revision(self) -> int:
        """The revision of the source that the target is equal to; 0 before the first copy is complete."""
        return self._revision

    async def wait_for(self, revision: int, *, timeout: float | None = None) -> None:
        """
        Wait until the target has everything up to *revision* of the source: that of a change under the prefix.

        Other changes are not told to the mirror, or late; ``wait_for(1)`` waits until the first copy is complete.

        Raises:
            DeadlineExceeded: *timeout* (seconds; None for no limit) passed.
            EtcdError: The mirror has ended, and why.
            RuntimeError: The body was left.
        """
        check_patience(timeout)
        with anyio.move_on_after(timeout) as limit:
            while self._reached() < revision:
                await self._news.wait()
        if limit.cancelled_caught:
            raise DeadlineExceeded(f"the target was not at revision {revision} of the source within {timeout:g} s")

    async def wait(self) -> None:
        """Wait until the mirror ends by an error, and raise it: for a process that does nothing else."""
        while True:
            self._check()
            await self._news.wait()

    async def _begin(self, stack: AsyncExitStack) -> None:
        """The copy is made beside the body."""

    async def _follow_on(self) -> None:
        while True:
            try:
                await self._mirror()
            except Compacted:
                self._begin_at = None
            except EtcdError as error:
                if not is_transient(error):
                    raise
                _log.warning("the mirror of %r waits for what is out of reach: %s", self._from, error)
                await self._pauses.pause()

    def _check(self) -> None:
        self._check_error()  # that tells more than that it was left
        super()._check()

    async def _mirror(self) -> None:
        """Go on from where it stopped; whatever ends this, it can begin again: writing the same twice does no harm."""
        if self._checkpoint is not None and not self._has_checkpoint:
            self._begin_at = await self._take(self._checkpoint)
            self._has_checkpoint = True
        if self._begin_at is None:
            self._begin_at = await self._copy_all()
        async with self._source.watch(prefix=self._from, start_revision=self._begin_at + 1, progress=True) as watch:
            self._arrived(self._begin_at)
            async for batch in watch.batches():
                await self._apply(batch)

    async def _apply(self, batch: Batch) -> None:
        last = {event.kv.key: event for event in batch.events}
        writes = [self._repeated(event) for key, event in last.items() if self._has_name(key)]
        await self._write(writes, batch.revision)
        self._arrived(batch.revision)

    async def _copy_all(self) -> int:
        """Make the target equal to the source as of one revision, and return it."""
        revision = (await self._source.range(prefix=self._from, count_only=True)).revision
        writes: list[ops.Op] = []
        async with aclosing(self._differences(revision)) as differences:
            async for write in differences:
                writes.append(write)
                if len(writes) == MOST_OPS:
                    await self._write(writes, 0)
                    writes = []
        await self._write(writes, revision)
        return revision

    async def _differences(self, revision: int) -> AsyncGenerator[ops.Op, None]:
        """Yield what must be written."""
        async with (
            aclosing(self._target.scan(prefix=self._to, page_size=_PAGE)) as theirs,
            aclosing(self._source.scan(prefix=self._from, revision=revision, page_size=_PAGE)) as ours,
        ):
            async for write in self._compared(theirs, ours):
                yield write

    async def _compared(self, theirs: AsyncIterator[KeyValue], ours: AsyncIterator[KeyValue]) -> AsyncIterator[ops.Op]:
        """Yield what makes *theirs* as *ours*: both come in key order, so one pass over both is enough."""
        there = await anext(theirs, None)
        async for kv in ours:
            if not self._has_name(kv.key):
                continue
            name = self._named(kv.key)
            while there is not None and there.key < name:
                yield ops.delete(there.key)
                there = await anext(theirs, None)
            if there is None or there.key != name or _differ(there, kv):
                yield self._put(kv)
            if there is not None and there.key == name:
                there = await anext(theirs, None)
        while there is not None:
            yield ops.delete(there.key)
            there = await anext(theirs, None)

    async def _write(self, writes: Sequence[ops.Op], revision: int) -> None:
        """Bring the target to *revision* of the source; 0 if more is to follow before it is equal to any."""
        *parts, last = pieces(writes) if writes else [[]]
        for part in parts:
            await self._step(part, self._begin_at or 0)
        await self._step(last, revision)

    async def _step(self, writes: Sequence[ops.Op], revision: int) -> None:
        if self._checkpoint is not None:
            await self._checkpoint.write(writes, revision)
        elif writes:
            await self._target.txn(then=writes)

    async def _take(self, checkpoint: Checkpoint) -> int | None:
        """Make the checkpoint this mirror's own, and return where to go on; None for everything to be compared."""
        while True:
            newest = (await self._source.range(prefix=self._from, count_only=True)).revision
            revision = await checkpoint.read(newest)
            if await checkpoint.take(revision):
                return revision or None

    def _reached(self) -> int:
        self._check()
        return self._revision

    def _arrived(self, revision: int) -> None:
        self._revision = self._begin_at = revision
        self._pauses.reset()
        self._news.tell()

    def _repeated(self, event: Event) -> ops.Op:
        return self._put(event.kv) if event.type == "put" else ops.delete(self._named(event.kv.key))

    def _put(self, kv: KeyValue) -> ops.Op:
        return ops.put(self._named(kv.key), kv.value)

    def _named(self, key: bytes) -> bytes:
        return self._to + key[len(self._from) :]

    def _has_name(self, key: bytes) -> bool:
        if self._named(key):
            return True
        _log.warning("%r is not mirrored: it would have no name under an empty prefix", key)
        return False


def _differ(there: KeyValue, kv: KeyValue) -> bool:
    value = kv.value  # raises if it can't be opened
    try:
        return there.value != value
    except DecryptionFailed:
        return True


def _overlap(one: Services, prefix: bytes, other: Services, other_prefix: bytes) -> bool:
    """Return whether a key of one prefix can be one of the other: both are views of the same client."""
    first, second = one._space.prefix + prefix, other._space.prefix + other_prefix
    return one._core is other._core and (first.startswith(second) or second.startswith(first))
