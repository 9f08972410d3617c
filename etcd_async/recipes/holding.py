"""What is queued up for and then held, by one or by several: the common life of locks and permits."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

import anyio

from etcd_async._keys import check_patience
from etcd_async._loss import Guard, OnLoss, check_on_loss
from etcd_async.errors import LockLost, LockTimeout
from etcd_async.recipes._contest import Contender
from etcd_async.recipes._standing import Standing

__all__ = ["Holding"]


class Holding(Standing[LockLost]):
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

    def __init__(
        self, label: str, begin: Callable[[], Contender[LockLost]], *, timeout: float | None, on_loss: OnLoss
    ) -> None:
        check_on_loss(on_loss)
        check_patience(timeout)
        self._label = label
        self._new_contender = begin
        self._timeout = timeout
        self._on_loss = on_loss
        self._busy = False
        self._contender: Contender[LockLost] | None = None
        self._guard: Guard | None = None

    @property
    def is_held(self) -> bool:
        """True from acquiring to releasing, also if it was lost in between."""
        return self._contender is not None

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
                raise LockTimeout(f"{self._label} was not had within {self._timeout:g} s: {contender.hindrance}")
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
        self._guard = Guard(self._present.loss, self._on_loss)
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
    def _present(self) -> Contender[LockLost]:
        if self._contender is None:
            raise RuntimeError(f"{self._label} is not held")
        return self._contender

    def _begin(self) -> Contender[LockLost]:
        if self._busy or self._contender is not None or self._guard is not None:
            raise RuntimeError(f"this object for {self._label} is in use: make another")
        self._busy = True
        return self._new_contender()

    async def _end(self, contender: Contender[LockLost]) -> None:
        self._busy = False
        if self._contender is not contender:
            await contender.leave()
