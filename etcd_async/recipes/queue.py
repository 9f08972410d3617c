"""Queues whose items are claimed, and come back when their consumer fails or dies."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import anyio

from etcd_async import ops
from etcd_async._keys import check_patience, to_bytes, to_key
from etcd_async._loss import Guard, OnLoss, check_on_loss
from etcd_async.errors import ClaimLost, QueueTimeout
from etcd_async.lease import check_ttl
from etcd_async.options import CLIENT_DEFAULT, Timeout
from etcd_async.recipes._consumer import Consumer
from etcd_async.recipes._queue_keys import LOWEST, QueueKeys, priority_of
from etcd_async.recipes._standing import Standing
from etcd_async.services import Services
from etcd_async.types import KeyValue

__all__ = ["Claim", "PriorityQueue", "Queue"]


class Queue:
    """
    Items that are worked off in the order in which they were put; made by ``client.queue(name)``.

    A consumer claims an item, and deletes it by acknowledging it when the work is done. If it fails, or dies, the item
    is back in its old place. So each item is done at least once, and by nobody else at the same time; see `Claim`.

    An item comes after all those whose put had ended when its own began.

    Args:
        client: The client.
        name: The queue's name; its keys are ``<name>/items/...``, ``<name>/claims/...`` and ``<name>/line/...``. Keep
            others out of there.
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
        return Claim(Consumer(self._client, self._keys, self._ttl), self.name, timeout=timeout, on_loss=on_loss)

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


class Claim(Standing[ClaimLost]):
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

    _contender: Consumer

    def __init__(self, consumer: Consumer, name: bytes, *, timeout: float | None, on_loss: OnLoss) -> None:
        check_on_loss(on_loss)
        check_patience(timeout)
        self._contender = consumer
        self._name = name
        self._timeout = timeout
        self._guard = Guard(consumer.loss, on_loss)
        self._is_entered = False
        self._is_over = False

    @property
    def kv(self) -> KeyValue:
        """The item as it lies in etcd; its ``text()`` and ``json()`` read the value."""
        item = self._present.item
        assert item is not None, "claimed"
        return item

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

    async def acknowledge(self, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """
        Delete the item before the body ends: its work is done. Harmless if the claim was ended already.

        Args:
            timeout: Seconds; None for no limit.

        Raises:
            ClaimLost: The item was not this consumer's any more; another one does it, or did it, again.
            EtcdError: With ``maybe_applied``, the item may be gone; otherwise it is handed out again.
        """
        if self._is_over:
            return
        consumer = self._present
        self._is_over = True
        try:
            await consumer.settle(timeout)
        finally:
            await consumer.leave()

    async def release(self) -> None:
        """Put the item back before the body ends. Harmless if the claim was ended already."""
        self._is_over = True
        await self._contender.leave()

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
        if swallowed:  # otherwise it was acknowledged, or that failed, or the body did
            self._guard.raise_loss(exc, swallowed)

    @property
    def _present(self) -> Consumer:
        if self._contender.item is None:
            raise RuntimeError("nothing is claimed yet: async with queue.claim() as item")
        return self._contender

    async def _obtain(self) -> None:
        if self._timeout == 0:
            if not await self._contender.try_take():
                raise QueueTimeout(f"there is nothing to claim in the queue {self._name!r}")
            return
        with anyio.move_on_after(self._timeout) as limit:
            await self._contender.take()
        if limit.cancelled_caught:
            hindrance = self._contender.hindrance
            raise QueueTimeout(f"nothing was had of the queue {self._name!r} within {self._timeout:g} s: {hindrance}")
