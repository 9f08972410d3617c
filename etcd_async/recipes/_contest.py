"""
A fair queue of contenders: what locks and elections share.

Each contender is a key ``<prefix><lease id in hex>`` under a lease of its own, as in etcd's own recipes
(``client/v3/concurrency/mutex.go``), so they queue up with Go's. The key created first is the winner; every other
contender waits for the one just before it to go. The key dies with the lease, and the lease with the contender: leaving
is one revocation, which can't touch anybody else's key.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress

import anyio

from etcd_async import ops
from etcd_async._loss import Loss, guarding
from etcd_async.errors import Compacted, EtcdError, LeaseLost, Unavailable
from etcd_async.lease import Lease
from etcd_async.services import Services
from etcd_async.types import KeyValue, RangeResult

__all__ = ["Contender"]

_PAUSE = 0.5  # seconds between looks for a server


class Contender:
    """
    One contender, from joining the queue to leaving it.

    Attributes:
        key: Its key; empty before it joined.
        revision: The revision that created the key: its place in the queue, and a token that only ever grows.
        loss: Fires when the lease or the key is lost, with an error of the class *lost*.
    """

    def __init__(self, client: Services, prefix: bytes, ttl: float, lost: type[LeaseLost]) -> None:
        self.key: bytes = b""
        self.revision: int = 0
        self.loss: Loss = Loss()
        self._client = client
        self._prefix = prefix
        self._ttl = ttl
        self._lost = lost
        self._lease: Lease | None = None
        self._stack = AsyncExitStack()

    @property
    def is_lost(self) -> bool:
        """True once the lease or the key is lost; see `Lease.is_lost` for a loop that was held up."""
        return self.loss.is_lost or (self._lease is not None and self._lease.is_lost)

    @property
    def owned(self) -> ops.Compare:
        """Holds in a transaction as long as the key is the one that this contender created."""
        return ops.create_revision(self.key) == self.revision

    @property
    def lease(self) -> Lease:
        """The lease that the key lives on."""
        assert self._lease is not None, "join first"
        return self._lease

    async def join(self, value: bytes = b"") -> None:
        """Take a place at the end of the queue."""
        await self._take_lease()
        when = [ops.create_revision(self.key) == 0]
        result = await self._client.txn(when, [ops.put(self.key, value, lease=self.lease)], [ops.get(self.key)])
        existing = None if result.succeeded else result.results[0]
        # The key is there already only if an answer was lost: it carries the id of a lease that nobody else knows.
        self.revision = existing.create_revision if isinstance(existing, KeyValue) else result.revision
        self._guard_key()

    async def try_join(self, value: bytes = b"") -> bool:
        """Join only if the queue is empty; otherwise leave no trace and return False."""
        await self._take_lease()
        when = [ops.create_revision(prefix=self._prefix) == 0]
        result = await self._client.txn(when, [ops.put(self.key, value, lease=self.lease)])
        if not result.succeeded:
            return False
        self.revision = result.revision
        self._guard_key()
        return True

    async def wait_turn(self) -> None:
        """Wait until nobody is ahead; raises the loss if the lease or the key is lost before that."""
        with guarding(self.loss):
            while (ahead := await self._predecessor()) is not None:
                with suppress(Compacted):  # the queue is looked at again in any case
                    await self._wait_gone(*ahead)
            if self.lease.is_lost:  # the answer was read late, by a loop or a machine that stood still
                self._lose("its lease's term has passed")

    async def leave(self) -> None:
        """Give up the place, first or not; never raises for an unreachable server: the lease runs out by itself."""
        await self._stack.aclose()

    async def _take_lease(self) -> None:
        lease = self._lease = await self._stack.enter_async_context(self._client.lease(self._ttl, on_loss="signal"))
        self.key = self._prefix + f"{lease.id:x}".encode()
        lease.loss.tell(lambda reason: self._lose(f"its lease was lost: {reason}", reason))

    def _guard_key(self) -> None:
        guard = self._client.background("etcd_async.contender", self._notice_deletion)
        self._stack.callback(guard.cancel)

    async def _notice_deletion(self) -> None:
        revision = self.revision
        while not self.loss.is_lost:
            try:
                await self._wait_gone(self.key, revision)
            except Compacted:
                revision = await self._still_there()
            except EtcdError as error:  # whether the key stands can't be told any more
                self._lose(f"its key can't be watched: {error}", error)
            else:
                self._lose("its key was deleted")

    async def _still_there(self) -> int:
        own = await self._look(ops.range(start=self.key, end=self.key + b"\x00", keys_only=True))
        self._check_own(own)
        return own.revision

    async def _predecessor(self) -> tuple[bytes, int] | None:
        ahead = ops.range(
            prefix=self._prefix,
            max_create_revision=self.revision,
            sort_by="create_revision",
            descending=True,
            limit=2,
            keys_only=True,
        )
        queue = await self._look(ahead)
        self._check_own(queue)
        return (queue[1].key, queue.revision) if len(queue) > 1 else None

    async def _look(self, op: ops.Range) -> RangeResult:
        """
        Read, for as long as it takes: how long a server may be away is for the lease's term to say.

        A range, not a read-only transaction: etcd before 3.5.5 panics when one of those is cancelled while it runs, and
        waiting for a lock is what people cancel (https://github.com/etcd-io/etcd/issues/14110).
        """
        while True:
            try:
                return await self._client.do(op, timeout=None)
            except Unavailable:
                await anyio.sleep(_PAUSE)

    def _check_own(self, found: RangeResult) -> None:
        if not found or found[0].create_revision != self.revision:
            self._lose("its key was deleted")

    async def _wait_gone(self, key: bytes, revision: int) -> None:
        async with self._client.watch(key, start_revision=revision + 1, filters=("no_put",), timeout=None) as watch:
            await anext(aiter(watch))

    def _lose(self, why: str, cause: BaseException | None = None) -> None:
        error = self._lost(why)
        error.__cause__ = cause
        self.loss.fire(error)
