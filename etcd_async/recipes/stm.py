"""
Software transactional memory: an async function that reads and writes keys, run again until nobody came in between.

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
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, cast

import anyio

from etcd_async import ops
from etcd_async._keys import to_key
from etcd_async.errors import Compacted, FutureRevision, TooManyConflicts
from etcd_async.options import Timeout
from etcd_async.services import Services
from etcd_async.types import KeyValue, RangeResult, UnreadableKeyValue

__all__ = ["Isolation", "StmResult", "Transaction", "run"]

_T = TypeVar("_T")

Isolation: TypeAlias = Literal["serializable_snapshot", "serializable", "repeatable_reads", "read_committed"]

_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 0.5
"""Seconds between two attempts; how much of it is waited is left to chance."""


@dataclass(frozen=True, slots=True)
class _Level:
    reads_one_revision: bool = False
    guards_reads: bool = False
    guards_writes: bool = False


_LEVELS: Final[dict[str, _Level]] = {
    "serializable_snapshot": _Level(reads_one_revision=True, guards_reads=True, guards_writes=True),
    "serializable": _Level(reads_one_revision=True, guards_reads=True),
    "repeatable_reads": _Level(guards_reads=True),
    "read_committed": _Level(),
}


@dataclass(frozen=True, slots=True)
class StmResult(Generic[_T]):
    """
    What came of a transaction.

    Attributes:
        value: What the function returned the last time.
        revision: The store's revision after the commit; of a transaction that wrote nothing, the one that it read as
            of (0 if it read nothing either).
        attempts: How often the function ran.
    """

    value: _T
    revision: int
    attempts: int


class Transaction:
    """
    One attempt of a transaction, as the function sees it; made by ``client.stm(function)``.

    Reads go to the server, once for each key, and may run side by side; writes are kept until the function returns.
    """

    def __init__(self, client: Services, level: _Level, timeout: Timeout) -> None:
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
        now = Transaction(self._client, _LEVELS["serializable"], self._timeout)
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


async def run(
    client: Services,
    function: Callable[[Transaction], Awaitable[_T]],
    *,
    isolation: Isolation,
    prefetch: Iterable[str | bytes],
    max_attempts: int | None,
    timeout: Timeout,
) -> StmResult[_T]:
    """Carry out a transaction; see ``client.stm``."""
    if isolation not in _LEVELS:
        raise ValueError(f"isolation must be one of {', '.join(_LEVELS)}, not {isolation!r}")
    if not callable(function):
        raise TypeError(f"function must be an async function, not {type(function).__name__}")
    if isinstance(prefetch, str | bytes) or not isinstance(prefetch, Iterable):
        raise TypeError(f"prefetch must be a collection of keys, not {type(prefetch).__name__}")
    most = ops.optional(max_attempts, "max_attempts", 1)
    ahead = list(dict.fromkeys(to_key(key) for key in prefetch))
    attempt: Transaction | None = None
    number = 0
    while True:
        before, attempt, number = attempt, Transaction(client, _LEVELS[isolation], timeout), number + 1
        if before is not None and number > 2:
            await _pause(before, number)
        done = await _try(attempt, function, before, ahead)
        if done is not None:
            return StmResult(*done, number)
        if number == most:
            raise TooManyConflicts(f"{number} attempts met with changes by others")


async def _try(
    attempt: Transaction,
    function: Callable[[Transaction], Awaitable[_T]],
    before: Transaction | None,
    prefetch: Sequence[bytes],
) -> tuple[_T, int] | None:
    """Run the function once and commit; None if that must be done again."""
    try:
        await attempt._prepare(before, prefetch)
        value = await function(attempt)
    except Exception:
        if attempt._is_stale:
            return None
        raise
    finally:
        attempt._is_over = True
    revision = await attempt._commit()
    return None if revision is None else (value, revision)


async def _pause(before: Transaction, number: int) -> None:
    """Make room for the others; what was told of the conflict is old afterwards, and read again."""
    before._reread = {}
    await anyio.sleep(random.uniform(0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(number, 16))))


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
