"""Keeps a client's endpoints those that the members of its cluster advertise."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Final

import anyio

from etcd_async import _codec
from etcd_async._core import Core
from etcd_async._pb.etcdserverpb import Member, MemberListRequest, MemberListResponse, ResponseHeader, StatusResponse
from etcd_async._protocol.endpoints import Endpoint, parse
from etcd_async._transport import methods
from etcd_async.errors import Attempt, ClientClosed, EtcdError, Unavailable

__all__ = ["EndpointSync"]

TIMEOUT: Final = 5.0  # as clientv3's autoSync
PROBE_TIMEOUT: Final = 2.0

_logger = logging.getLogger("etcd_async")


class EndpointSync:
    """
    Asks for the list of members, and takes over where they may be reached.

    Members that have not started and learners are left out. A URL that the client does not use yet is taken only if the
    same cluster answers there: what members advertise may be meant for another network, and lead nowhere or astray.

    Args:
        core: The client's.
        is_secure: Whether endpoints without a scheme use TLS.
    """

    def __init__(self, core: Core, *, is_secure: bool) -> None:
        self._core = core
        self._is_secure = is_secure

    async def once(self, seconds: float | None) -> None:
        """
        Take over the endpoints that are advertised now; if none of them can be reached, the old ones stay.

        Raises:
            Unavailable: No advertised endpoint answers; names each with the reason. Or nobody told the list.
            EtcdError: No member advertises an endpoint that this client may use.
        """
        answer = await self._core.caller.unary(methods.MEMBER_LIST, _REQUEST, timeout=seconds)
        members = _codec.decode(MemberListResponse, answer)
        advertised = self._usable(_advertised(members.members))
        if not advertised:
            raise EtcdError("no member of the cluster advertises an endpoint that this client may use")
        failures = await self._failures(advertised, _cluster_of(members.header))
        if len(failures) == len(advertised):
            raise Unavailable([Attempt(endpoint.text, reason) for endpoint, reason in failures.items()])
        present = self._core.caller.addresses()
        wanted = [endpoint for endpoint in advertised if endpoint in present or endpoint not in failures]
        if set(wanted) != set(present):
            self._core.caller.set_endpoints(wanted)

    def start(self, interval: float) -> None:
        """Do that every *interval* seconds; failures are logged."""
        self._core.tasks.start("etcd_async.endpoint_sync", lambda: self._repeat(interval))

    async def _repeat(self, interval: float) -> None:
        while True:
            await anyio.sleep(interval)
            try:
                await self.once(TIMEOUT)
            except ClientClosed:
                raise
            except EtcdError as error:
                _logger.warning("the endpoints stay as they are: %s", error)

    def _usable(self, endpoints: Iterable[Endpoint]) -> list[Endpoint]:
        """Return *endpoints*; without the plain ones if this client speaks TLS only: it may send a password."""
        needs_tls = all(self._uses_tls(endpoint) for endpoint in self._core.caller.addresses())
        return [endpoint for endpoint in endpoints if self._uses_tls(endpoint) or not needs_tls]

    def _uses_tls(self, endpoint: Endpoint) -> bool:
        return self._is_secure if endpoint.tls is None else endpoint.tls

    async def _failures(self, endpoints: Sequence[Endpoint], cluster: int) -> dict[Endpoint, str]:
        """Return which of *endpoints* do not lead to *cluster*, and why."""
        failures: dict[Endpoint, str] = {}

        async def check(endpoint: Endpoint) -> None:
            reason = await self._reason(endpoint, cluster)
            if reason:
                failures[endpoint] = reason

        try:
            async with anyio.create_task_group() as group:
                for endpoint in endpoints:
                    group.start_soon(check, endpoint)
        except ExceptionGroup as errors:  # each says that the client was closed meanwhile
            raise errors.exceptions[0] from None
        return failures

    async def _reason(self, endpoint: Endpoint, cluster: int) -> str:
        try:
            answer = await self._core.caller.unary(methods.STATUS, b"", timeout=PROBE_TIMEOUT, endpoint=endpoint)
            status = _codec.decode(StatusResponse, answer)
        except ClientClosed:
            raise
        except (EtcdError, _codec.DecodeError) as error:
            return str(error)
        return "" if _cluster_of(status.header) == cluster else "another cluster answers there"


_REQUEST: Final = _codec.encode(MemberListRequest(linearizable=True))


def _advertised(members: Iterable[Member]) -> list[Endpoint]:
    """Return where *members* say that clients may reach them; each once, in their order."""
    found: dict[Endpoint, None] = {}
    for member in members:
        if member.name and not member.is_learner:  # a member without a name has not started
            found |= dict.fromkeys(_parsed(member.client_ur_ls))
    return list(found)


def _parsed(urls: Iterable[str]) -> Iterable[Endpoint]:
    for url in urls:
        try:
            yield parse(url)
        except ValueError as error:
            _logger.warning("a member advertises what is no endpoint: %s", error)


def _cluster_of(header: ResponseHeader | None) -> int:
    return header.cluster_id if header is not None else 0
