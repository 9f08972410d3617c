"""Queues whose items are claimed, and come back when their consumer fails or dies."""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType
from typing import Self

import anyio

from etcd_async import ops
from etcd_async._keys import check_patience, to_bytes, to_key
from etcd_async._loss import Guard, OnLoss, check_on_loss, guarding
from etcd_async.errors import ClaimLost, Compacted, QueueTimeout
from etcd_async.lease import check_ttl
from etcd_async.options import CLIENT_DEFAULT, Timeout
from etcd_async.recipes._contest import Contender, look, until_gone
from etcd_async.recipes._queue_keys import LOWEST, QueueKeys, priority_of
from etcd_async.services import Services
from etcd_async.types import KeyValue

__all__ = ["Claim", "PriorityQueue", "Queue"]

_AWAKE = 3  # consumers that watch for items; the others wait for one of these to go. More than one, as one may be dead
_SPARE = 8  # items that are looked at beyond those that are claimed, since others may be about to claim the first ones


class Queue:
    """
    Items that are worked off in the order in which they were put; made by ``client.queue(name)``.

    A consumer claims an item, and deletes it by acknowledging it when the work is done. If it fails, or dies, the item
    is back in its old place. So each item is done at least once, and by nobody else at the same time; see `Claim`.

    An item comes after all those whose put had ended when its own began.

    Args:
        client: The client.
        name: The queue's name; its keys are ``<name>/items/...``, ``<name>/claims/...`` and ``<name>/line/...``.
        ttl: Seconds after which an item comes back when its consumer has died; etcd's minimum is about 2.
    """

    def __init__(self, client: Services, name: str | bytes, *, ttl: float) -> None:
        self.name: bytes = to_key(name, "name")
        self._client = client
        self._ttl = check_ttl(ttl)
        self._keys = QueueKeys(self.name)

    async def put(self, value: str | bytes, *, timeout: Timeout = CLIENT_DEFAULT) -> bytes:
        """
        Put an item at the end.

        Args:
            value: What the item says.
            timeout: Seconds for each of the two calls that it takes; None for no limit.

        Returns:
            The item's key. Deleting it takes the item out of the queue, also from under a consumer.

        Raises:
            EtcdError: With ``maybe_applied``, the item may be in the queue; putting it again could double it.
        """
        return await self._put(value, 0, timeout)

    def claim(self, *, timeout: float | None = None, on_loss: OnLoss = "cancel") -> Claim:
        """
        Claim the first item that nobody else has claimed: ``async with queue.claim() as item`` enters with it.

        Args:
            timeout: Seconds to wait for an item at most, with a `QueueTimeout`; None for no limit, 0 for not at all.
            on_loss: If the claim is lost, ``"cancel"`` the body and raise `ClaimLost`, or only ``"signal"`` it.
        """
        return Claim(_Consumer(self._client, self._keys, self._ttl), self.name, timeout=timeout, on_loss=on_loss)

    async def size(self, *, timeout: Timeout = CLIENT_DEFAULT) -> int:
        """Return how many items there are, claimed ones included."""
        return await self._client.count(prefix=self._keys.items, timeout=timeout)

    async def _put(self, value: str | bytes, priority: int, timeout: Timeout) -> bytes:
        content = to_bytes(value)
        now = await self._client.do(ops.Range(self._keys.items, keys_only=True), timeout=timeout)
        key = self._keys.new_item(priority, now.revision)
        await self._client.put(key, content, timeout=timeout)
        return key


class PriorityQueue(Queue):
    """A `Queue` that hands out items with lower priorities first; made by ``client.priority_queue(name)``."""

    async def put(self, value: str | bytes, *, priority: int = 0, timeout: Timeout = CLIENT_DEFAULT) -> bytes:
        """
        Put an item behind those of its priority and of lower ones.

        Args:
            value: What the item says.
            priority: From -2**63 to 2**63-1; the lowest comes first.
            timeout: Seconds for each of the two calls that it takes; None for no limit.

        Returns:
            The item's key. Deleting it takes the item out of the queue, also from under a consumer.

        Raises:
            EtcdError: With ``maybe_applied``, the item may be in the queue; putting it again could double it.
        """
        if isinstance(priority, bool) or not isinstance(priority, int):
            raise TypeError(f"priority must be an int, not {type(priority).__name__}")
        if not LOWEST <= priority < -LOWEST:
            raise ValueError(f"priority must be from -2**63 to 2**63-1, not {priority}")
        return await self._put(value, priority, timeout)


class Claim:
    """
    An item and the right to work on it; made by `Queue.claim`.

    ``async with`` waits for an item that nobody else has claimed. Leaving the body normally acknowledges the item: it
    is deleted, if it is still claimed by this consumer. Leaving it by an exception, or `release`, puts it back in its
    place. So does the death of the process, after the queue's *ttl*.

    If the claim is lost (the client was cut off for the lease's term, somebody deleted the claim), the body is
    cancelled, and `ClaimLost` raised when it has unwound; with ``on_loss="signal"`` only `is_lost` and `lost` tell,
    and acknowledging raises it. A transaction ``client.txn([item.owned], [delete(item.key), ...])`` writes results and
    takes the item out of the queue in one step, once and for all.
    """

    def __init__(self, consumer: _Consumer, name: bytes, *, timeout: float | None, on_loss: OnLoss) -> None:
        check_on_loss(on_loss)
        check_patience(timeout)
        self._consumer = consumer
        self._name = name
        self._timeout = timeout
        self._guard = Guard(consumer.loss, on_loss)
        self._is_entered = False
        self._is_over = False

    @property
    def kv(self) -> KeyValue:
        """The item as it lies in etcd; its ``text()`` and ``json()`` read the value."""
        if self._consumer.item is None:
            raise RuntimeError("nothing is claimed yet: async with queue.claim() as item")
        return self._consumer.item

    @property
    def key(self) -> bytes:
        """The item's key: as unique as the item, and the same whenever it is handed out."""
        return self.kv.key

    @property
    def value(self) -> bytes:
        """What was put."""
        return self.kv.value

    @property
    def priority(self) -> int:
        """The priority that it was put with; 0 in a plain queue."""
        return priority_of(self.key)

    @property
    def fencing_token(self) -> int:
        """A number that is higher for whoever claimed the item later."""
        return self._consumer.revision

    @property
    def owned(self) -> ops.Compare:
        """Holds in a transaction only while the item is claimed by this consumer: for ``client.txn(when=[...])``."""
        return self._consumer.owned

    @property
    def is_lost(self) -> bool:
        """True once the claim was lost, other than by ending it."""
        return self._consumer.is_lost

    async def lost(self) -> ClaimLost:
        """Wait until the claim is lost and return why."""
        reason = await self._consumer.loss.wait()
        assert isinstance(reason, ClaimLost)
        return reason

    async def acknowledge(self) -> None:
        """
        Delete the item before the body ends: its work is done. Harmless if the claim was ended already.

        Raises:
            ClaimLost: The item was not this consumer's any more; another one does it, or did it, again.
            EtcdError: With ``maybe_applied``, the item may be gone; otherwise it is handed out again.
        """
        if self._is_over:
            return
        self._is_over = True
        try:
            await self._consumer.settle()
        finally:
            await self._consumer.leave()

    async def release(self) -> None:
        """Put the item back before the body ends. Harmless if the claim was ended already."""
        self._is_over = True
        await self._consumer.leave()

    async def __aenter__(self) -> Self:
        if self._is_entered:
            raise RuntimeError("a claim can be entered once: make another with queue.claim()")
        self._is_entered = True
        try:
            await self._obtain()
        except BaseException:
            await self.release()
            raise
        self._guard.open()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            swallowed = self._guard.close(exc_type, exc, traceback)
            if exc is None:
                await self.acknowledge()
        finally:
            await self.release()
        self._guard.raise_loss(exc, swallowed)

    async def _obtain(self) -> None:
        if self._timeout == 0:
            if not await self._consumer.try_take():
                raise QueueTimeout(f"there is nothing to claim in the queue {self._name!r}")
            return
        with anyio.move_on_after(self._timeout) as limit:
            await self._consumer.take()
        if limit.cancelled_caught:
            raise QueueTimeout(f"there was nothing to claim in the queue {self._name!r} for {self._timeout:g} s")


class _Consumer(Contender):
    """One consumer, from looking for an item to the end of its claim."""

    def __init__(self, client: Services, keys: QueueKeys, ttl: float) -> None:
        super().__init__(client, keys.line, ttl, ClaimLost)
        self.item: KeyValue | None = None
        self._keys = keys
        self._seen = 0  # the revision as of which there was nothing to claim

    async def try_take(self) -> bool:
        """Claim the first item, and return True; False if there is none."""
        await self._take_lease()
        with guarding(self.loss):
            return await self._take_first()

    async def take(self) -> None:
        """Claim the first item, as soon as there is one."""
        if await self.try_take():
            return
        with guarding(self.loss):
            await self._stand_in_line()
            while not await self._take_first():
                with suppress(Compacted):  # it looks again in any case
                    await self._until_something_is_free()

    async def settle(self) -> None:
        """Delete the item and the claim; raises the loss if it is not this one's any more."""
        if self.loss.reason is not None:
            raise self.loss.reason
        assert self.item is not None, "take first"
        self.retire()
        result = await self._client.txn([self.owned], [ops.delete(self.item.key), ops.delete(self.key)])
        if not result.succeeded:
            raise ClaimLost("its key was deleted")

    async def _take_first(self) -> bool:
        while available := await self._available():
            for item in available:
                if await self._take(item):
                    return True
        return False

    async def _available(self) -> list[KeyValue]:
        """Return the first items that nobody has claimed, if there are any as of `_seen`."""
        claims = await look(self._client, ops.range(prefix=self._keys.claims, keys_only=True))
        # At least one of these is unclaimed if any is; what is put or returned meanwhile comes after `_seen`.
        most = len(claims) + _SPARE
        items = await look(self._client, ops.range(prefix=self._keys.items, limit=most, keys_only=True))
        self._seen = claims.revision
        return self._keys.unclaimed(items, claims)

    async def _take(self, item: KeyValue) -> bool:
        """Claim *item*, and return whether nobody else was faster; either way out of line, if it is."""
        place, claims = self._keys.line + self._hex_id, self._keys.claims_on(item.key)
        when = [ops.create_revision(item.key) == item.create_revision, ops.create_revision(prefix=claims) == 0]
        claim = claims + self._hex_id
        then: list[ops.Op] = [ops.put(claim, b"", lease=self.lease), ops.delete(place), ops.get(item.key)]
        result = await self._client.txn(when, then)
        if not result.succeeded:
            return False
        got = result.results[2]
        assert isinstance(got, KeyValue), "compared above"
        self.key, self.revision, self.item = claim, result.revision, got
        self._guard_key()
        if self.lease.is_lost:  # the answer was read late, by a loop or a machine that stood still
            self._lose("its lease's term has passed")
        return True

    async def _stand_in_line(self) -> None:
        """Wait until fewer than so many as are to be awake wait for longer."""
        place = await self._client.put(self._keys.line + self._hex_id, b"", lease=self.lease)
        before = ops.range(
            prefix=self._keys.line,
            max_create_revision=place.revision - 1,
            sort_by="create_revision",
            keys_only=True,
        )
        while len(ahead := await look(self._client, before)) >= _AWAKE:
            with suppress(Compacted):  # the line is looked at again in any case
                waiting = {kv.key for kv in ahead}
                await until_gone(self._client, self._keys.line, waiting, ahead.revision, leaving=_AWAKE - 1)

    async def _until_something_is_free(self) -> None:
        first, end = self._keys.watched
        watching = self._client.watch(start=first, end=end, start_revision=self._seen + 1, timeout=None)
        async with watching as watch:
            async for batch in watch.batches():
                if self._keys.frees(batch):
                    return

    @property
    def _hex_id(self) -> bytes:
        return f"{self.lease.id:x}".encode()
