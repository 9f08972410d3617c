"""Which etcd answers where: members of one cluster may differ, above all while they are upgraded one by one."""

from __future__ import annotations

from typing import Final, TypeAlias
from weakref import WeakKeyDictionary

from etcd_async import _codec
from etcd_async._pb.etcdserverpb import StatusRequest, StatusResponse
from etcd_async._transport.caller import Caller
from etcd_async._transport.callstream import CallStream
from etcd_async._transport.connection import Connection
from etcd_async._transport.methods import STATUS
from etcd_async.errors import EtcdError

Version: TypeAlias = tuple[int, int, int]
"""Major, minor and patch; a pre-release counts as what it leads to."""

TIMEOUT: Final = 5.0

ORDERS_PROGRESS: Final[tuple[Version, ...]] = ((3, 4, 25), (3, 5, 8))
"""From which patch of a minor version on progress of a whole watch stream comes in order with its events."""


def parse_version(text: str) -> Version | None:
    """Read ``3.5.1`` or ``3.8.0-alpha.0``; None if it is nothing of the kind."""
    parts = text.partition("-")[0].split(".")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts):
        return None
    major, minor, patch = map(int, parts)
    return major, minor, patch


def orders_progress(version: Version | None) -> bool:
    """Return whether stream progress of that etcd is in order with events; what is not known is not trusted."""
    if version is None:
        return False
    return any(version[:2] == first[:2] and version >= first for first in ORDERS_PROGRESS) or version >= (3, 6, 0)


class Versions:
    """
    The versions at the other ends of connections, each asked for once.

    A connection leads to one process, so its version stays; the next one may lead to an upgraded, or downgraded, one.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._known: WeakKeyDictionary[Connection, Version] = WeakKeyDictionary()

    async def of(self, stream: CallStream) -> Version | None:
        """Return which etcd *stream* leads to; None if it does not say, or does not want to."""
        known = self._known.get(stream.connection)
        if known is not None:
            return known
        request = _codec.encode(StatusRequest())
        try:
            answer = await self._caller.unary(STATUS, request, timeout=TIMEOUT, endpoint=stream.endpoint)
            version = parse_version(_codec.decode(StatusResponse, answer).version)
        except EtcdError:
            return None
        if version is not None and stream.connection.is_usable:  # else it may be another one that has answered
            self._known[stream.connection] = version
            return version
        return None
