"""Leases by their ids, and what holds for their terms and ids."""

from __future__ import annotations

import math
import secrets
from typing import Any

from etcd_async import _codec
from etcd_async._call import call
from etcd_async._core import Core
from etcd_async._keyspace import Keyspace
from etcd_async._pb import etcdserverpb as pb
from etcd_async._transport import methods
from etcd_async.errors import LeaseExists, LeaseNotFound, StatusCode
from etcd_async.ops import LeaseLike, lease_id
from etcd_async.options import CLIENT_DEFAULT, Timeout
from etcd_async.types import LeaseGrant, LeaseTimeToLive

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


def random_id() -> int:
    """
    Return an id for a lease that nobody else has (but with a chance of one in 2**63).

    Not by `random`: programs that seed it alike would have the same leases, and so each other's locks.
    """
    return 1 + secrets.randbelow(_MAX_ID)


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
            return await self._grant_own(random_id(), term, self._core.seconds(timeout))
        if isinstance(id, bool) or not isinstance(id, int):
            raise TypeError(f"id must be an int, not {type(id).__name__}")
        if not 1 <= id <= _MAX_ID:
            raise ValueError(f"id must be from 1 to 2**63-1, not {id}")
        return await self._grant(id, term, self._core.seconds(timeout), repeatable=False)

    async def _grant_own(self, id: int, ttl: int, seconds: float | None) -> LeaseGrant:
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
