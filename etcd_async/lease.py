"""Leases: by their ids (`Leases`), and as scopes that keep them alive and end with them (`Lease`)."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from types import TracebackType
from typing import Any, Self

import anyio

from etcd_async import _codec
from etcd_async._call import call
from etcd_async._core import Core
from etcd_async._finish import finish
from etcd_async._keyspace import Keyspace
from etcd_async._loss import Guard, Loss, OnLoss, check_on_loss
from etcd_async._pb import etcdserverpb as pb
from etcd_async._transport import methods
from etcd_async._transport.tasks import Background
from etcd_async.errors import ClientClosed, EtcdError, LeaseExists, LeaseLost, LeaseNotFound, StatusCode
from etcd_async.ops import LeaseLike, lease_id
from etcd_async.options import CLEANUP_TIMEOUT, CLIENT_DEFAULT, Timeout
from etcd_async.types import LeaseGrant, LeaseTimeToLive

__all__ = ["Lease", "Leases", "check_ttl"]

_log = logging.getLogger("etcd_async.lease")
_MAX_ID = _MAX_TTL = 2**63 - 1  # what the wire can hold; etcd's own limit of a term is 9,000,000,000 s


def check_ttl(ttl: float) -> int:
    """Return a term in the whole seconds that etcd counts in, rounded up; what is out of bounds is a ValueError."""
    if isinstance(ttl, bool) or not isinstance(ttl, int | float):
        raise TypeError(f"ttl must be a number of seconds, not {type(ttl).__name__}")
    if not 0 < ttl < math.inf:
        raise ValueError(f"ttl must be positive and finite, not {ttl}")
    if ttl > _MAX_TTL:
        raise ValueError(f"ttl must be less than 2**63 seconds, not {ttl}")
    return min(math.ceil(ttl), _MAX_TTL)


class Leases:
    """Leases by their ids; ``client.leases``. Wherever an id is taken, a `Lease` will do."""

    def __init__(self, core: Core, space: Keyspace) -> None:
        self._core = core
        self._space = space

    async def grant(self, ttl: float, id: int | None = None, *, timeout: Timeout = CLIENT_DEFAULT) -> LeaseGrant:
        """
        Ask the server for a lease. It ends after its term unless somebody renews it: see ``client.lease`` for a scope.

        Args:
            ttl: Seconds until the lease ends unless renewed; rounded up to whole seconds.
            id: The id to use, 1 to 2**63-1; None for one that nobody else has.
            timeout: Seconds; None for no limit.

        Returns:
            The lease with the term that the server granted; it may be longer than *ttl*.

        Raises:
            LeaseExists: *id* is taken.
            LeaseTtlTooLarge: More than 9,000,000,000 s.
        """
        term = check_ttl(ttl)
        if id is None:
            return await self.grant_own(_random_id(), term, self._core.seconds(timeout))
        if isinstance(id, bool) or not isinstance(id, int):
            raise TypeError(f"id must be an int, not {type(id).__name__}")
        if not 1 <= id <= _MAX_ID:
            raise ValueError(f"id must be from 1 to 2**63-1, not {id}")
        return await self._grant(id, term, self._core.seconds(timeout), repeatable=False)

    async def grant_own(self, id: int, ttl: int, seconds: float | None) -> LeaseGrant:
        """Grant a lease under an id that nobody else knows, so that asking twice does no harm."""
        try:
            return await self._grant(id, ttl, seconds, repeatable=True)
        except LeaseExists:  # an earlier try did it, and only its answer was lost
            found = await self.time_to_live(id, timeout=seconds)
        if found.granted_ttl:
            return LeaseGrant(id, found.granted_ttl)
        return await self._grant(id, ttl, seconds, repeatable=True)  # and it has run out since

    async def revoke(self, id: LeaseLike, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """
        End a lease and delete its keys.

        Raises:
            LeaseNotFound: It had ended already. That a repeat finds none is no error: an earlier attempt of this very
                call, whose answer was lost, may have ended it.
        """
        request = pb.LeaseRevokeRequest(id=lease_id(id))
        try:
            await self._call(methods.LEASE_REVOKE, request, timeout)
        except LeaseNotFound as error:
            if not error.maybe_applied:
                raise

    async def keep_alive_once(self, id: LeaseLike, *, timeout: Timeout = CLIENT_DEFAULT) -> LeaseGrant:
        """
        Renew a lease once and return its new term.

        Raises:
            LeaseNotFound: It has ended.
        """
        request = _codec.encode(pb.LeaseKeepAliveRequest(id=lease_id(id)))
        answer = await self._core.caller.ask(methods.LEASE_KEEP_ALIVE, request, timeout=self._core.seconds(timeout))
        response = _codec.decode_keep_alive_response(answer)
        if response.ttl <= 0:
            raise LeaseNotFound(StatusCode.NOT_FOUND, "etcdserver: requested lease not found")
        return LeaseGrant(response.id, response.ttl)

    async def time_to_live(
        self, id: LeaseLike, keys: bool = False, *, timeout: Timeout = CLIENT_DEFAULT
    ) -> LeaseTimeToLive:
        """Tell how long a lease still has, -1 if it does not exist; and with *keys* which keys live on it."""
        request = pb.LeaseTimeToLiveRequest(id=lease_id(id), keys=keys)
        found: pb.LeaseTimeToLiveResponse = await self._call(methods.LEASE_TIME_TO_LIVE, request, timeout)
        return LeaseTimeToLive(found.id, found.ttl, found.granted_ttl, self._space.keys(found.keys))

    async def list(self, *, timeout: Timeout = CLIENT_DEFAULT) -> list[int]:
        """Return the ids of all leases of the cluster, as far as the asked member knows."""
        answer: pb.LeaseLeasesResponse = await self._call(methods.LEASE_LEASES, pb.LeaseLeasesRequest(), timeout)
        return [each.id for each in answer.leases]

    async def _grant(self, id: int, ttl: int, seconds: float | None, *, repeatable: bool) -> LeaseGrant:
        payload = _codec.encode(pb.LeaseGrantRequest(id=id, ttl=ttl))
        answer = await self._core.caller.unary(methods.LEASE_GRANT, payload, timeout=seconds, repeatable=repeatable)
        try:
            granted = _codec.decode(pb.LeaseGrantResponse, answer)
        except _codec.DecodeError as error:
            error.maybe_applied = True
            raise
        return LeaseGrant(granted.id, granted.ttl)

    async def _call(self, method: methods.Method, request: object, timeout: Timeout) -> Any:
        return await call(self._core, method, request, seconds=self._core.seconds(timeout))


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
        self._id = self._existing or _random_id()
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
            "etcd_async.grant", lambda: self._leases.grant_own(self._id, int(self._ttl), self._timeout)
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
        Revoke the lease, *after* the answer to its grant if that is still to come; wait for it, but not for long.

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


def _random_id() -> int:
    """
    Return an id for a lease that nobody else has (but with a chance of one in 2**63).

    Not by `random`: programs that seed it alike would have the same leases, and so each other's locks.
    """
    return 1 + secrets.randbelow(_MAX_ID)
