"""The members of the cluster: who they are, and adding, promoting, moving and removing them."""

from __future__ import annotations

import builtins
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from etcd_async import ops
from etcd_async._call import call
from etcd_async._core import Core
from etcd_async._pb import etcdserverpb as pb
from etcd_async._transport import methods
from etcd_async.options import CLIENT_DEFAULT, Timeout

__all__ = ["Cluster", "Member"]

_TCP, _UNIX = ("http", "https"), ("unix", "unixs")
_MOST_SHOWN = 100
_FORBIDDEN = re.compile(r"[\s\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Member:
    """
    One member of a cluster.

    Attributes:
        id: Its id; etcd's tools and logs print it as hexadecimal (``f"{member.id:x}"``).
        name: Its name; empty until it has been started.
        peer_urls: Where the other members reach it.
        client_urls: Where clients reach it, as it was told to advertise; empty until it has been started.
        is_learner: It takes part without a vote, until it is promoted.
    """

    id: int
    name: str = ""
    peer_urls: tuple[str, ...] = ()
    client_urls: tuple[str, ...] = ()
    is_learner: bool = False

    @property
    def is_started(self) -> bool:
        """True if it has been started at least once since it was added."""
        return bool(self.name)


class Cluster:
    """
    The cluster's members; ``client.cluster``.

    The methods that change something are carried out at most once: one that fails without an answer says so by its
    error's ``maybe_applied``; look with `list` before trying again. A change that comes right behind another one may be
    such: etcd's leader drops it without a word, and it fails at its timeout. A read in between
    (``await client.get("k")``) waits until the leader takes the next. Before it agrees to a change etcd makes sure that
    a majority of the members would be up afterwards; if not, it raises `MemberError` ("not enough started members") or
    `ServerError` ("unhealthy cluster", also for some seconds after a member joined or came back).
    """

    def __init__(self, core: Core) -> None:
        self._core = core

    async def list(self, *, serializable: bool = False, timeout: Timeout = CLIENT_DEFAULT) -> list[Member]:
        """
        Return all members, learners and those that were never started included.

        Args:
            serializable: Let the asked member answer alone: served without a leader, but perhaps stale. etcd before 3.5
                always answers so.
            timeout: Seconds; None for no limit.
        """
        answer = await self._call(methods.MEMBER_LIST, pb.MemberListRequest(linearizable=not serializable), timeout)
        return _members(answer.members)

    async def add(self, peer_urls: str | Sequence[str], *, timeout: Timeout = CLIENT_DEFAULT) -> Member:
        """
        Add a member with a vote; then start it with ``--initial-cluster-state=existing``.

        It counts for the majority at once, though it is not there yet: `add_learner` and `promote` are safer.

        Args:
            peer_urls: Where the others will reach it, such as ``"http://10.0.0.4:2380"``; one or several.
            timeout: Seconds; None for no limit.

        Returns:
            The new member, with the id that etcd chose, and without a name until it has started.

        Raises:
            MemberExists: Another member has one of *peer_urls*.
            ValueError: *peer_urls* holds what is no URL of a peer.
        """
        return await self._add(peer_urls, timeout, is_learner=False)

    async def add_learner(self, peer_urls: str | Sequence[str], *, timeout: Timeout = CLIENT_DEFAULT) -> Member:
        """
        Add a member without a vote, which catches up first and can then be promoted; otherwise as `add`. Etcd ≥ 3.4.

        Raises:
            MemberExists: Another member has one of *peer_urls*.
            MemberError: There are learners enough (one, unless the servers are configured otherwise).
            ValueError: *peer_urls* holds what is no URL of a peer.
        """
        return await self._add(peer_urls, timeout, is_learner=True)

    async def promote(self, id: int, *, timeout: Timeout = CLIENT_DEFAULT) -> builtins.list[Member]:
        """
        Give a learner a vote; return the members as they are then.

        Raises:
            LearnerNotReady: It has not caught up with the leader: try again later.
            MemberNotFound: There is no member *id*.
            MemberError: It has a vote already.
        """
        request = pb.MemberPromoteRequest(id=_id(id))
        return _members((await self._call(methods.MEMBER_PROMOTE, request, timeout)).members)

    async def remove(self, id: int, *, timeout: Timeout = CLIENT_DEFAULT) -> builtins.list[Member]:
        """
        Take a member out of the cluster, whether it is up or not; return those that are left. Its server shuts down.

        Raises:
            MemberNotFound: There is no member *id*.
        """
        request = pb.MemberRemoveRequest(id=_id(id))
        return _members((await self._call(methods.MEMBER_REMOVE, request, timeout)).members)

    async def update(
        self, id: int, peer_urls: str | Sequence[str], *, timeout: Timeout = CLIENT_DEFAULT
    ) -> builtins.list[Member]:
        """
        Tell the cluster that a member is to be reached elsewhere; return the members as they are then.

        Raises:
            MemberNotFound: There is no member *id*.
            MemberExists: Another member has one of *peer_urls*.
            ValueError: *peer_urls* holds what is no URL of a peer.
        """
        request = pb.MemberUpdateRequest(id=_id(id), peer_ur_ls=_urls(peer_urls, "peer_urls"))
        return _members((await self._call(methods.MEMBER_UPDATE, request, timeout)).members)

    async def _add(self, peer_urls: str | Sequence[str], timeout: Timeout, *, is_learner: bool) -> Member:
        request = pb.MemberAddRequest(peer_ur_ls=_urls(peer_urls, "peer_urls"), is_learner=is_learner)
        answer = await self._call(methods.MEMBER_ADD, request, timeout)
        return _member(answer.member or pb.Member())

    async def _call(self, method: methods.Method, request: object, timeout: Timeout) -> Any:
        return await call(self._core, method, request, seconds=self._core.seconds(timeout))


def _member(wire: pb.Member) -> Member:
    return Member(wire.id, wire.name, tuple(wire.peer_ur_ls), tuple(wire.client_ur_ls), wire.is_learner)


def _members(wire: Sequence[pb.Member]) -> list[Member]:
    return [_member(each) for each in wire]


def _id(id: object) -> int:
    return ops.at_least(id, "id", 1)


def _urls(urls: object, name: str) -> list[str]:
    """Return one or several URLs as a list; what etcd would not take as such is a ValueError naming *name*."""
    if not isinstance(urls, Sequence) or isinstance(urls, bytes):
        raise TypeError(f"{name} must be str or a sequence of str, not {type(urls).__name__}")
    several = [urls] if isinstance(urls, str) else list(urls)
    if not several:
        raise ValueError(f"{name} must hold at least one URL")
    for url in several:
        if not isinstance(url, str):
            raise TypeError(f"{name} must hold str, not {type(url).__name__}")
        if problem := _problem(url):
            raise ValueError(f"{name} holds {_shown(url)!r}: {problem}")
    return several


def _shown(url: str) -> str:
    """Return what of *url* belongs into an error: little of a long one, and nothing before an @, maybe a password."""
    _, at, host = url.rpartition("@")
    shown = f"…@{host}" if at else url
    return shown if len(shown) <= _MOST_SHOWN else f"{shown[:_MOST_SHOWN]}…"


def _problem(url: str) -> str:
    """Return what is wrong with the URL of a peer, or "": the rules of etcd's ``client/pkg/types/urls.go``."""
    if _FORBIDDEN.search(url):
        return "white space or a control character in it"
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError:
        return "not a URL"
    if split.scheme not in _TCP + _UNIX:
        return "it must begin with http://, https://, unix:// or unixs://"
    if split.scheme in _UNIX:
        return "" if split.netloc or split.path else "no path of a socket in it"
    if not split.hostname or port is None:
        return "it must have the form http://host:port"
    has_more = "@" in split.netloc or split.path or split.query or split.fragment
    return "nothing may stand around host and port" if has_more else ""
