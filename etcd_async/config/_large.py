"""A change of a configuration in several transactions: made to its end, or taken back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import cast

from etcd_async import ops
from etcd_async.config._change import Stored, Write, begun
from etcd_async.errors import ClientClosed, Compacted, ConfigConflict, EtcdError, RpcError
from etcd_async.options import CLIENT_DEFAULT, Timeout
from etcd_async.recipes._contest import look, until_event
from etcd_async.recipes._fence import Fence
from etcd_async.recipes._patience import is_transient, patiently
from etcd_async.recipes._pieces import pieces
from etcd_async.recipes.lock import Lock
from etcd_async.services import Services
from etcd_async.types import KeyValue, RangeResult

_log = logging.getLogger("etcd_async.config")


class LargeChange:
    """
    One change from *stored*, by whoever holds *lock*.

    Args:
        timeout: Seconds for each transaction of the change; None for no limit.
    """

    def __init__(self, client: Services, lock: Lock, stored: Stored, timeout: Timeout) -> None:
        self._client = client
        self._stored = stored
        self._timeout = timeout
        self._lock = lock.key, lock.fencing_token
        self._mark = begun(stored, lock.fencing_token)
        self._fence = Fence(client, stored.prefix, self._is_marked)
        self._when = [lock.owned, *stored.unchanged()]

    async def make(self, writes: Sequence[Write]) -> int | None:
        """
        Make *writes*, the last of which ends the change, and return its revision; None if somebody else was quicker.

        In a task of their own: whoever waits for it may be cancelled, the change goes to its end.
        """
        ends: list[int] = []

        async def work() -> None:
            if await self._begin():
                ends.append(await self._go_on(writes))

        task = self._client.background("etcd_async.config", work)
        await asyncio.shield(task.future)
        return ends[0] if ends else None

    async def _begin(self) -> bool:
        """Put the mark; False if somebody has changed something before that."""
        count = ops.range(prefix=self._stored.prefix, count_only=True)
        try:
            done = await self._client.txn(self._when, [self._mark, count], timeout=self._timeout)
        except EtcdError as error:
            if error.maybe_applied and not isinstance(error, ClientClosed):
                self._client.background("etcd_async.config", self._end_unmade)
            raise
        if not done.succeeded:
            return False
        self._fence.seen = done.revision
        if cast("RangeResult", done.results[1]).count > len(self._stored.kvs):
            return True
        await self._put_back([])  # another tool has deleted something
        return False

    async def _end_unmade(self) -> None:
        """Take the mark away if it was put although that seemed lost; once the lock is gone, it can't be any more."""
        try:
            await self._lock_gone()
            found = await look(self._client, ops.Range(self._stored.prefix))
            if found and self._is_marked(found[0]):
                self._fence.seen = found[0].mod_revision
                await self._put_back([])
        except EtcdError as error:
            _log.warning("whether a change has begun can't be told; readers may stay with what was before: %s", error)

    def _is_marked(self, found: KeyValue | None) -> bool:
        return found is not None and found.value == self._mark.value

    async def _lock_gone(self) -> None:
        key, created = self._lock
        while (found := await look(self._client, ops.Range(key))) and found[0].create_revision == created:
            with suppress(Compacted):  # looked at again
                await until_event(self._client, key, found.revision, but="no_put")

    async def _go_on(self, writes: Sequence[Write]) -> int:
        """
        Make *writes* and return the revision of the last.

        What fails in the middle is taken back: a mark that stayed would make the configuration unreadable once the
        history is compacted away. Where no server can be reached, that is done as soon as one can.
        """
        done: list[Write] = []
        revision = 0
        try:
            for piece in pieces(writes):
                done += piece
                revision = await self._write(piece, self._timeout)
        except EtcdError as error:
            if is_transient(error):
                self._client.background("etcd_async.config", lambda: self._put_back(done))
            elif isinstance(error, RpcError):  # refused, and so will it be by the next attempt
                await self._put_back(done)
            raise
        return revision

    async def _put_back(self, done: Sequence[Write]) -> None:
        """Have all be as before *done*, and the mark gone, as soon as a server can be reached."""
        try:
            for piece in pieces(self._stored.restoring(done)):
                await patiently(partial(self._write, piece, CLIENT_DEFAULT))  # which the writer waits for no more
        except ConfigConflict:
            _log.info("another writer has taken over, or all was done but for the last answer")
        except EtcdError as error:
            _log.warning("half a change can't be taken back; readers stay with what was before: %s", error)

    async def _write(self, piece: Sequence[Write], timeout: Timeout) -> int:
        is_last = piece[-1].key == self._stored.prefix  # and takes the mark's place
        if not await self._fence.write(piece if is_last else [*piece, self._mark], timeout=timeout):
            raise ConfigConflict("somebody else changed the generation key in the middle of a change: write again")
        return self._fence.seen
