"""What is queued up for and then held, by one or by several: the common life of locks and permits."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

import anyio

from etcd_async import ops
from etcd_async._keys import check_patience
from etcd_async._loss import Guard, OnLoss, check_on_loss
from etcd_async.errors import LockLost, LockTimeout
from etcd_async.recipes._contest import Contender

__all__ = ["Holding"]


class Holding:
    """
    A place in a queue, and on reaching its head the right to go on; a `Lock`, or made by an `RWLock` or a `Semaphore`.

    ``async with`` waits for it, and enters only with it. While it is held its lease is kept alive. If the lease or the
    key is lost all the same (the client was cut off for the lease's term, somebody deleted the key), the body is
    cancelled, and `LockLost` raised when it has unwound; with ``on_loss="signal"`` only `is_lost` and `lost` tell. A
    client that is cut off learns of the loss before anybody else can enter, because its term counts from when the last
    renewal was sent. What can't be taken back can still come late: guard writes to etcd with ``owned``, and others with
    ``fencing_token``.

    An object can be used again, but not by two tasks at once. The body must stay in the task that entered it. A waiter
    that is cancelled or times out leaves no key and no lease behind, and one whose lease is lost fails at once.
    """

    def __init__(self, label: str, begin: Callable[[], Contender], *, timeout: float | None, on_loss: OnLoss) -> None:
        check_on_loss(on_loss)
        check_patience(timeout)
        self._label = label
        self._new_contender = begin
        self._timeout = timeout
        self._on_loss = on_loss
        self._busy = False
        self._contender: Contender | None = None
        self._guard: Guard | None = None

    @property
    def is_held(self) -> bool:
        """True from acquiring to releasing, also if it was lost in between."""
        return self._contender is not None

    @property
    def key(self) -> bytes:
        """The key that stands for this holder."""
        return self._held.key

    @property
    def fencing_token(self) -> int:
        """A number that is higher for whoever came later: the revision that created `key`."""
        return self._held.revision

    @property
    def owned(self) -> ops.Compare:
        """Holds in a transaction only while this holder has it: ``client.txn(when=[lock.owned], then=[...])``."""
        return self._held.owned

    @property
    def is_lost(self) -> bool:
        """True once what was held is no longer."""
        return self._contender is not None and self._contender.is_lost

    async def lost(self) -> LockLost:
        """Wait until it is lost and return why."""
        reason = await self._held.loss.wait()
        assert isinstance(reason, LockLost)
        return reason

    async def acquire(self) -> None:
        """
        Wait for it; release it with `release`. A loss is only signalled: there is no body to cancel.

        Raises:
            LockTimeout: The timeout passed; nothing of the attempt stays behind.
            LockLost: The lease was lost while waiting.
            Unavailable, DeadlineExceeded: No server could be reached to join the queue. Once in it, that is waited out.
            RuntimeError: The object is in use: it is held or waited for, or the body of its ``async with`` still runs.
        """
        if self._timeout == 0:
            return await self._acquire_at_once()
        contender = self._begin()
        try:
            with anyio.move_on_after(self._timeout) as limit:
                await contender.join()
                await contender.wait_turn()
                self._contender = contender
            if limit.cancelled_caught:
                raise LockTimeout(f"{self._label} stayed held by others for {self._timeout:g} s")
        finally:
            await self._end(contender)

    async def try_acquire(self) -> bool:
        """Take it if that needs no waiting; return whether it was had. Release it with `release`."""
        contender = self._begin()
        try:
            if await contender.try_join():
                self._contender = contender
            return self._contender is not None
        finally:
            await self._end(contender)

    async def _acquire_at_once(self) -> None:
        if not await self.try_acquire():
            raise LockTimeout(f"{self._label} is held by others")

    async def release(self) -> None:
        """Let the next one enter. Harmless if it is not held, or no longer this holder's."""
        contender, self._contender = self._contender, None
        if contender is not None:
            await contender.leave()

    async def __aenter__(self) -> Self:
        await self.acquire()
        self._guard = Guard(self._held.loss, self._on_loss)
        self._guard.open()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        guard, self._guard = self._guard, None
        assert guard is not None
        try:
            swallowed = guard.close(exc_type, exc, traceback)
        finally:
            await self.release()
        guard.raise_loss(exc, swallowed)

    @property
    def _held(self) -> Contender:
        if self._contender is None:
            raise RuntimeError(f"{self._label} is not held")
        return self._contender

    def _begin(self) -> Contender:
        if self._busy or self._contender is not None or self._guard is not None:
            raise RuntimeError(f"this object for {self._label} is in use: make another")
        self._busy = True
        return self._new_contender()

    async def _end(self, contender: Contender) -> None:
        self._busy = False
        if self._contender is not contender:
            await contender.leave()
