"""A lease as a scope: kept alive while the body runs, revoked at its end."""

from __future__ import annotations

import asyncio
import logging
import math
from types import TracebackType
from typing import Self

import anyio

from etcd_async._core import Core
from etcd_async._finish import finish
from etcd_async._loss import Guard, Loss, OnLoss, check_on_loss
from etcd_async._transport.tasks import Background
from etcd_async.errors import ClientClosed, EtcdError, LeaseLost, LeaseNotFound
from etcd_async.lease._leases import Leases, check_ttl, random_id
from etcd_async.options import CLEANUP_TIMEOUT
from etcd_async.types import LeaseGrant

_log = logging.getLogger("etcd_async.lease")


class Lease:
    """
    A lease held by a scope; made by ``client.lease(ttl)``.

    ``async with`` grants it, renews it in the background at a third of its term (earlier if that is less than 2 s), on
    another member if the first one does not answer, and revokes it at the end, with all keys that were put with it. If
    it ends early (it expired because no server could be reached for a whole term, or somebody revoked it) the body is
    cancelled, and `LeaseLost` raised when it has unwound; its ``__cause__`` tells why.
    With ``on_loss="signal"`` only `is_lost` and `lost` tell.

    The term counts from when the renewal was *sent*, so this side never believes in the lease for longer than the
    server does. The body must stay in the task that entered it, unless *on_loss* is ``"signal"``.

    One made by ``client.keep_lease(id)`` takes over a lease that is there already.

    Attributes:
        loss: Fires when the lease is lost.
    """

    def __init__(
        self, core: Core, leases: Leases, ttl: float, *, on_loss: OnLoss, timeout: float | None, existing: int = 0
    ) -> None:
        check_on_loss(on_loss)
        self.loss: Loss = Loss()
        self._core = core
        self._leases = leases
        self._ttl = float(check_ttl(ttl))
        self._expires_at = -math.inf
        self._id = 0
        self._existing = existing
        self._is_kept = False
        self._is_left = False
        self._timeout = timeout
        self._guard = Guard(self.loss, on_loss)

    @property
    def id(self) -> int:
        """Its id, from entering on; before that a RuntimeError, as a key put with no lease would never end."""
        if not self._id:
            raise RuntimeError("enter the lease first: async with client.lease(...) as lease")
        return self._id

    @property
    def ttl(self) -> float:
        """Its term in seconds: as asked for, and as the server granted it from then on."""
        return self._ttl

    @property
    def expires_at(self) -> float:
        """When it ends unless renewed again, on the clock of ``time.monotonic()``."""
        return self._expires_at

    @property
    def is_lost(self) -> bool:
        """
        True once it ended other than by leaving the scope.

        True as well while its term has passed and no answer was read yet, because something held up the event loop.
        """
        return self.loss.is_lost or (self._is_kept and self._core.clock() >= self._expires_at)

    async def lost(self) -> LeaseLost:
        """Wait until the lease is lost and return why."""
        return await self.loss.wait()

    def leave_standing(self) -> None:
        """Renew it no longer, and don't revoke it at the end: it is somebody else's now, or runs out by itself."""
        self._is_kept = False
        self._is_left = True
        self._core.keeper.forget(self.id)

    def renewed(self, ttl: float, expires_at: float) -> None:
        """Take note of a renewal; called by the client."""
        self._ttl, self._expires_at = ttl, expires_at

    def ended(self, reason: EtcdError) -> None:
        """Take note of the end; called by the client."""
        error = LeaseLost(f"lease {self._id:x} ended: {reason}")
        error.__cause__ = reason
        self.loss.fire(error)

    async def __aenter__(self) -> Self:
        if self._id:
            raise RuntimeError("a lease can be entered once: make another with client.lease(...)")
        self._id = self._existing or random_id()
        granted_at = self._core.clock()
        granted = await (self._renew_existing() if self._existing else self._grant())
        self.renewed(float(granted.ttl), granted_at + granted.ttl)
        self._is_kept = True
        self._core.keeper.keep(self._id, self, ttl=self._ttl, granted_at=granted_at)
        self._guard.open()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            swallowed = self._guard.close(exc_type, exc, traceback)
        finally:
            self._is_kept = False
            self._core.keeper.forget(self._id)
            if not self._is_left:
                await self._revoke()
        self._guard.raise_loss(exc, swallowed)

    async def _renew_existing(self) -> LeaseGrant:
        return await self._leases.keep_alive_once(self._existing, timeout=self._timeout)

    async def _grant(self) -> LeaseGrant:
        """Grant the lease; if that is cancelled, it is revoked as soon as it is granted: no lease stays behind."""
        grant = self._core.tasks.start(
            "etcd_async.grant", lambda: self._leases._grant_own(self._id, int(self._ttl), self._timeout)
        )
        try:
            return await asyncio.shield(grant.future)
        except asyncio.CancelledError:
            await self._revoke(after=grant)
            raise
        except EtcdError as error:
            if error.maybe_applied:
                self._core.tasks.start("etcd_async.revoke", self._revoke_now)
            raise

    async def _revoke(self, after: Background[LeaseGrant] | None = None) -> None:
        """
        Revoke the lease, *after* the answer to its grant if that is still to come; wait for it, but not for long, and
        not at all where it is lost: whoever is to hear of that has waited for long enough.

        A task of its own does it, for as long as it takes: a cancellation of the one that waits must not leave the
        lease, and all that hangs on it, to run out by itself. (A shielded scope would hold off only cancellations by
        anyio.)
        """
        if self.loss.is_lost and isinstance(self.loss.reason and self.loss.reason.__cause__, LeaseNotFound):
            return
        try:
            revocation = self._core.tasks.start("etcd_async.revoke", lambda: self._revoke_now(after))
        except ClientClosed as error:
            self._note_unrevoked(error)
        else:
            if not self.loss.is_lost:
                await finish(revocation)

    async def _revoke_now(self, after: Background[LeaseGrant] | None = None) -> None:
        if after is not None and not await _may_have_granted(after):
            return
        with anyio.CancelScope(shield=True):
            try:
                await self._leases.revoke(self._id, timeout=min(self._ttl, CLEANUP_TIMEOUT))
            except LeaseNotFound:
                pass
            except EtcdError as error:
                self._note_unrevoked(error)

    def _note_unrevoked(self, error: EtcdError) -> None:
        _log.warning("lease %x could not be revoked and will run out by itself: %s", self._id, error)


async def _may_have_granted(grant: Background[LeaseGrant]) -> bool:
    """Wait for the end of *grant*, which has a timeout of its own, and return whether the lease may exist."""
    with anyio.CancelScope(shield=True):  # a client that is closed ends the grant, too
        await asyncio.wait([grant.future])
    error = None if grant.future.cancelled() else grant.future.exception()
    return not isinstance(error, EtcdError) or isinstance(error, ClientClosed) or error.maybe_applied
