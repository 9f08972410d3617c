"""Calls that only the cluster's leader serves: where it is, and what to do if it has just changed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import anyio

from etcd_async._call import call
from etcd_async._core import Core
from etcd_async._pb import etcdserverpb as pb
from etcd_async._protocol.endpoints import Endpoint
from etcd_async._transport import methods
from etcd_async.errors import DeadlineExceeded, EtcdError, NoLeader, NotLeader, StatusCode, Unavailable

__all__ = ["move"]


async def move(core: Core, target_id: int, seconds: float | None) -> None:
    """Have the leader hand over to member *target_id*; look for the leader again, once, if it has just changed."""
    search = _Search(core, seconds)
    try:
        await _move(search, target_id)
    except NotLeader:
        await _move(search, target_id)


async def _move(search: _Search, target_id: int) -> None:
    leader_id = await search.run()
    if leader_id != target_id:
        request = pb.MoveLeaderRequest(target_id=target_id)
        endpoint = search.found or await search.advertised(leader_id)
        await call(search.core, methods.MOVE_LEADER, request, seconds=search.left(), endpoint=endpoint)


class _Search:
    """
    Looks for the leader: among the client's own endpoints first, as advertised addresses may lead nowhere from here.

    Attributes:
        core: What asks.
        found: The endpoint of the leader itself, if it is one of the client's.
    """

    def __init__(self, core: Core, seconds: float | None) -> None:
        self.core = core
        self.found: Endpoint | None = None
        self._deadline = None if seconds is None else core.clock() + seconds
        self._leader_id = 0
        self._errors: list[EtcdError] = []

    def left(self) -> float | None:
        """Return the seconds that are left."""
        return None if self._deadline is None else self._deadline - self.core.clock()

    async def run(self) -> int:
        """Ask every endpoint at once, until one says that it leads, and return the leader's id."""
        self.found, self._leader_id, self._errors = None, 0, []
        async with anyio.create_task_group() as group:
            for endpoint in self.core.caller.addresses():
                group.start_soon(self._ask, endpoint, group.cancel_scope)
        if not self._leader_id:
            raise self._failure()
        return self._leader_id

    async def advertised(self, leader_id: int) -> Endpoint:
        """Return where member *leader_id* wants to be reached."""
        request = pb.MemberListRequest(linearizable=True)
        answer: pb.MemberListResponse = await call(self.core, methods.MEMBER_LIST, request, seconds=self.left())
        urls = [url for member in answer.members if member.id == leader_id for url in member.client_ur_ls]
        if not urls:
            raise _no_leader()
        return self._usable(urls)

    def _usable(self, urls: Sequence[str]) -> Endpoint:
        """Return the first of *urls* that can be used; not a plain one, if all others use TLS: the token goes there."""
        found = []
        for url in urls:
            with suppress(ValueError):
                found.append(self.core.caller.endpoint(url))
        own = self.core.caller.addresses()
        needs_tls = all(endpoint.tls for endpoint in own)
        usable = [endpoint for endpoint in found if endpoint.tls or not needs_tls]
        if not usable:
            raise EtcdError(f"the leader advertises no endpoint that this client may use: {', '.join(urls)}")
        return next((endpoint for endpoint in usable if endpoint.tls == own[0].tls), usable[0])

    async def _ask(self, endpoint: Endpoint, scope: anyio.CancelScope) -> None:
        left = self.left()
        seconds = None if left is None else left / 2  # one that swallows everything leaves time for the rest
        try:
            status: pb.StatusResponse = await call(
                self.core, methods.STATUS, pb.StatusRequest(), seconds=seconds, endpoint=endpoint
            )
        except EtcdError as error:
            self._errors.append(error)
            return
        self._leader_id = self._leader_id or status.leader
        if status.header is not None and status.leader == status.header.member_id:
            self.found, self._leader_id = endpoint, status.leader
            scope.cancel()

    def _failure(self) -> EtcdError:
        """Return why no leader was found: a refusal before silence."""
        silent = [error for error in self._errors if isinstance(error, Unavailable | DeadlineExceeded)]
        refused = [error for error in self._errors if error not in silent]
        if refused:
            return refused[0]
        if len(silent) < len(self.core.caller.addresses()):
            return _no_leader()
        return Unavailable([attempt for error in silent for attempt in error.attempts])


def _no_leader() -> NoLeader:
    return NoLeader(StatusCode.UNAVAILABLE, "etcdserver: no leader")
