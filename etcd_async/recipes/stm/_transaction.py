"""
One attempt of a transaction, and what must not have changed meanwhile.

What is compared at the commit, by level of isolation (etcd ``client/v3/concurrency/stm.go``):

    ====================== ======================= ================================= =============================
    isolation              reads are               what was read must be             what is only written must be
    ====================== ======================= ================================= =============================
    serializable_snapshot  of one revision         unchanged                         unchanged since that revision
    serializable           of one revision         unchanged                         anything
    repeatable_reads       each the newest         unchanged                         anything
    read_committed         each the newest         anything                          anything
    ====================== ======================= ================================= =============================

Keys are compared by their ``mod_revision``, so encrypted ones can be, too. A key that is not there has none: one that
is only written may have been deleted since that revision, which etcd can't compare.

Here etcd's own recipe is not followed: it reads the newest from any member, which may be one that is behind; and after
a conflict it mixes revisions within what should be one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, cast

import anyio

from etcd_async import ops
from etcd_async._keys import to_key
from etcd_async.errors import Compacted, FutureRevision
from etcd_async.options import Timeout
from etcd_async.services import Services
from etcd_async.types import KeyValue, RangeResult, UnreadableKeyValue

Isolation: TypeAlias = Literal["serializable_snapshot", "serializable", "repeatable_reads", "read_committed"]


@dataclass(frozen=True, slots=True)
class Level:
    reads_one_revision: bool = False
    guards_reads: bool = False
    guards_writes: bool = False


LEVELS: Final[dict[str, Level]] = {
    "serializable_snapshot": Level(reads_one_revision=True, guards_reads=True, guards_writes=True),
    "serializable": Level(reads_one_revision=True, guards_reads=True),
    "repeatable_reads": Level(guards_reads=True),
    "read_committed": Level(),
}


class Transaction:
    """
    One attempt of a transaction, as the function sees it; made by ``client.stm(function)``.

    Reads go to the server, once for each key, and may run side by side; writes are kept until the function returns.
    """

    def __init__(self, client: Services, level: Level, timeout: Timeout) -> None:
        self._client = client
        self._level = level
        self._timeout = timeout
        self._ahead: dict[bytes, KeyValue | None] = {}  # read already, but not by the function
        self._reads: dict[bytes, KeyValue | None] = {}
        self._writes: dict[bytes, ops.Put | ops.Delete] = {}
        self._revision = 0  # that of the first read
        self._newest = 0  # the newest that anything was heard of
        self._reread: dict[bytes, KeyValue | None] = {}  # as of then, told with a conflict
        self._first = anyio.Lock()
        self._is_stale = False
        self._is_over = False

    async def get(self, key: str | bytes) -> KeyValue | None:
        """
        Read one key; None if it does not exist.

        A key that this transaction has written is as it would be then, with all revisions 0. Reading a key again
        returns the same.

        Raises:
            DecryptionFailed: The value is encrypted and can't be opened.
        """
        name = to_key(key)
        self._check_runs()
        if (write := self._writes.get(name)) is not None:
            return KeyValue(name, write.value, lease=write.lease) if isinstance(write, ops.Put) else None
        if name not in self._reads:
            if name not in self._ahead:
                await self._fetch([name])
            self._reads.setdefault(name, self._ahead[name])
        found = self._reads[name]
        if isinstance(found, UnreadableKeyValue):
            raise found.error
        return found

    def put(self, key: str | bytes, value: str | bytes, *, lease: ops.LeaseLike | None = None) -> None:
        """Write one key at the commit; without *lease*, a key that had one loses it."""
        self._write(ops.put(key, value, lease=lease))

    def delete(self, key: str | bytes) -> None:
        """Delete one key at the commit, if it exists."""
        self._write(ops.delete(key))

    def _write(self, op: ops.Put | ops.Delete) -> None:
        self._check_runs()
        self._writes[op.key] = op

    def _check_runs(self) -> None:
        if self._is_over:
            raise RuntimeError("this attempt of the transaction is over: its function has returned")

    async def _fetch(self, keys: Sequence[bytes]) -> None:
        """Read *keys* ahead."""
        try:
            await _side_by_side(self._read, await self._after_first(keys))
        except Compacted:  # the revision of the first read is gone: all must be read again
            self._is_stale = True
            raise

    async def _after_first(self, keys: Sequence[bytes]) -> Sequence[bytes]:
        """Read the first of *keys* alone if it decides of which revision all are, and return those still to be read."""
        if not self._level.reads_one_revision:
            return keys
        async with self._first:
            if self._revision:
                return keys
            await self._read(keys[0])
            return keys[1:]

    async def _read(self, key: bytes) -> None:
        found = await self._range(ops.Range(key, revision=self._revision, serializable=self._revision > 0))
        if self._level.reads_one_revision:
            self._revision = self._revision or found.revision
        else:
            self._newest = max(self._newest, found.revision)
        self._ahead.setdefault(key, found[0] if found else None)

    async def _range(self, op: ops.Range) -> RangeResult:
        """Let the asked member answer alone if it has the revision: it is the same everywhere."""
        try:
            return await self._client.do(op, timeout=self._timeout)
        except FutureRevision:
            return await self._client.do(ops.Range(op.key, revision=op.revision), timeout=self._timeout)

    def _conditions(self) -> list[ops.Compare]:
        reads: Iterable[tuple[bytes, KeyValue | None]] = self._reads.items() if self._level.guards_reads else ()
        conditions = [ops.mod_revision(key) == (kv.mod_revision if kv else 0) for key, kv in reads]
        if self._level.guards_writes and self._reads:  # what was read is compared already, and more strictly
            only_written = [key for key in self._writes if key not in self._reads]
            conditions += [ops.mod_revision(key) <= self._revision for key in only_written]
        return conditions

    async def _commit(self) -> int | None:
        """Write, or return None if what the transaction relies on was changed; else the store's revision."""
        if self._is_stale:
            return None
        if not self._writes:
            return await self._settle()
        again = [ops.get(key) for key in self._reads] if self._level.reads_one_revision else []
        writes = list(self._writes.values())
        result = await self._client.txn(self._conditions(), writes, again, timeout=self._timeout)
        if result.succeeded:
            return result.revision
        self._reread = dict(zip(self._reads, cast("Sequence[KeyValue | None]", result.results), strict=False))
        self._newest = result.revision
        return None

    async def _settle(self) -> int | None:
        """
        Commit what wrote nothing. What was read of one revision was all true then: there is nothing to ask.

        What else must have been unchanged is read again instead of compared: etcd before 3.5.5 panics when a read-only
        transaction is cancelled (https://github.com/etcd-io/etcd/issues/14110).
        """
        if self._level.reads_one_revision:
            return self._revision
        if not self._level.guards_reads or not self._reads:
            return self._newest
        now = Transaction(self._client, LEVELS["serializable"], self._timeout)
        try:
            await now._fetch(list(self._reads))
        except Compacted:
            return None
        return now._revision if _revisions(now._ahead) == _revisions(self._reads) else None

    async def _prepare(self, before: Transaction | None, prefetch: Sequence[bytes]) -> None:
        """Have ready what the function is likely to read: after a conflict, what *before* was told with it."""
        if before is None:
            keys = prefetch
        elif before._reread:
            self._ahead, self._revision = before._reread, before._newest
            return
        else:
            keys = list(before._ahead)
        if keys:
            await self._fetch(keys)


async def _side_by_side(work: Callable[[bytes], Coroutine[Any, Any, None]], keys: Sequence[bytes]) -> None:
    """Do *work* for all of *keys* at once; raises the first error."""
    if len(keys) == 1:
        return await work(keys[0])
    try:
        async with asyncio.TaskGroup() as group:
            for key in keys:
                group.create_task(work(key))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


def _revisions(found: dict[bytes, KeyValue | None]) -> dict[bytes, int]:
    return {key: kv.mod_revision if kv else 0 for key, kv in found.items()}
