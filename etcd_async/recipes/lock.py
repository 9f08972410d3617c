"""A fair, fenced lock whose holder knows when it is lost."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import anyio

from etcd_async import ops
from etcd_async._keys import check_patience, to_key
from etcd_async._loss import Guard, OnLoss, check_on_loss
from etcd_async.errors import LockLost, LockTimeout
from etcd_async.lease import check_ttl
from etcd_async.recipes._contest import Contender
from etcd_async.services import Services

__all__ = ["Lock"]


class Lock:
    """
    At most one holder at a time, first come, first served; made by ``client.lock(name)``.

    ``async with`` waits for the lock, and enters only with it. While it is held its lease is kept alive. If the lease
    or the lock's key is lost all the same (the client was cut off for *ttl* seconds, somebody deleted the key), the
    body is cancelled, and `LockLost` raised when it has unwound; with ``on_loss="signal"`` only `is_lost` and `lost`
    tell. A client that is cut off learns of the loss before anybody else can enter, because its term counts from when
    the last renewal was sent. What can't be taken back can still come late: guard writes to etcd with ``owned``, and
    others with ``fencing_token``.

    A lock object can be used again, but not by two tasks at once. The body must stay in the task that entered it.

    Args:
        client: The client.
        name: The lock's name: its contenders' keys are ``<name>/<lease id>``, as those of etcd's own ``Mutex``.
            All keys under ``<name>/`` count as contenders: keep others, and locks named ``<name>/...``, out of there.
        ttl: Seconds after which others may enter when the holder has died; etcd's minimum is about 2.
        timeout: Seconds to wait for the lock at most; None for no limit, 0 takes it only if nobody has or wants it.
        on_loss: ``"cancel"`` or ``"signal"``.
    """

    def __init__(
        self,
        client: Services,
        name: str | bytes,
        *,
        ttl: float,
        timeout: float | None = None,
        on_loss: OnLoss = "cancel",
    ) -> None:
        check_on_loss(on_loss)
        check_patience(timeout)
        self.name: bytes = to_key(name, "name")
        self._client = client
        self._ttl = check_ttl(ttl)
        self._timeout = timeout
        self._on_loss = on_loss
        self._busy = False
        self._contender: Contender | None = None
        self._guard: Guard | None = None

    @property
    def is_held(self) -> bool:
        """True from acquiring to releasing, also if the lock was lost in between."""
        return self._contender is not None

    @property
    def key(self) -> bytes:
        """The key that stands for this holder."""
        return self._held.key

    @property
    def fencing_token(self) -> int:
        """A number that is higher for each holder after the one before: the revision that created `key`."""
        return self._held.revision

    @property
    def owned(self) -> ops.Compare:
        """Holds in a transaction only while this holder has the lock: ``client.txn(when=[lock.owned], then=[...])``."""
        return self._held.owned

    @property
    def is_lost(self) -> bool:
        """True once a lock that was held is no longer."""
        return self._contender is not None and self._contender.is_lost

    async def lost(self) -> LockLost:
        """Wait until the lock is lost and return why."""
        reason = await self._held.loss.wait()
        assert isinstance(reason, LockLost)
        return reason

    async def acquire(self) -> None:
        """
        Wait for the lock; release it with `release`. A loss is only signalled: there is no body to cancel.

        Raises:
            LockTimeout: The timeout passed; nothing of the attempt stays behind.
            LockLost: The lease was lost while waiting.
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
                raise LockTimeout(f"lock {self.name!r} stayed held by others for {self._timeout:g} s")
        finally:
            await self._end(contender)

    async def try_acquire(self) -> bool:
        """Take the lock if nobody holds or waits for it; return whether it was had. Release it with `release`."""
        contender = self._begin()
        try:
            if await contender.try_join():
                self._contender = contender
            return self._contender is not None
        finally:
            await self._end(contender)

    async def _acquire_at_once(self) -> None:
        if not await self.try_acquire():
            raise LockTimeout(f"lock {self.name!r} is held by others")

    async def release(self) -> None:
        """Let the next one enter. Harmless if the lock is not held, or no longer this holder's."""
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
            raise RuntimeError(f"lock {self.name!r} is not held")
        return self._contender

    def _begin(self) -> Contender:
        if self._busy or self._contender is not None:
            raise RuntimeError(f"this lock object is in use: make another with client.lock({self.name!r})")
        self._busy = True
        return Contender(self._client, self.name + b"/", self._ttl, LockLost)

    async def _end(self, contender: Contender) -> None:
        self._busy = False
        if self._contender is not contender:
            await contender.leave()
