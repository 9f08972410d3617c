"""Handing leadership over: who is asked, in which order, and what happens when the leader changes meanwhile."""

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest

from etcd_async import _codec, _leader
from etcd_async._core import Core
from etcd_async._protocol.endpoints import Endpoint, parse
from etcd_async._transport import methods
from etcd_async._transport.methods import Method
from etcd_async.errors import (
    Attempt,
    ClientClosed,
    DeadlineExceeded,
    EtcdError,
    NoLeader,
    NotLeader,
    StatusCode,
    Unavailable,
)
from etcd_async.wire import (
    Member,
    MemberListResponse,
    MoveLeaderRequest,
    MoveLeaderResponse,
    ResponseHeader,
    StatusResponse,
)

A, B, C = "http://a:2379", "http://b:2379", "http://c:2379"
IDS = {A: 1, B: 2, C: 3}
NOT_LEADER = NotLeader(StatusCode.FAILED_PRECONDITION, "etcdserver: not leader")


class Servers:
    """
    Three members as a caller reaches them.

    Attributes:
        leader: Which one leads.
        moves: Where a MoveLeader went, and whom it named.
        down: What asking an endpoint raises.
        refusals: What the next MoveLeader calls raise, after a function was called.
        also: What every member advertises beside and before its own URL.
    """

    def __init__(self, *own: str, leader: int = 1) -> None:
        self.own = own or tuple(IDS)
        self.leader = leader
        self.moves: list[tuple[str, int]] = []
        self.down: dict[str, EtcdError] = {}
        self.refusals: list[Callable[[], None]] = []
        self.also: list[str] = []

    def addresses(self) -> tuple[Endpoint, ...]:
        return tuple(map(parse, self.own))

    def endpoint(self, text: str) -> Endpoint:
        return parse(text)

    async def unary(
        self,
        method: Method,
        payload: bytes,
        *,
        timeout: float | None,
        repeatable: bool | None = None,
        endpoint: Endpoint | None = None,
    ) -> bytes:
        assert timeout is None or timeout > 0
        if endpoint is not None and endpoint.text in self.down:
            raise self.down[endpoint.text]
        if method is methods.MEMBER_LIST:
            listed = [Member(id=number, client_ur_ls=[*self.also, url]) for url, number in IDS.items()]
            return _codec.encode(MemberListResponse(members=listed))
        assert endpoint is not None
        if method is methods.STATUS:
            header = ResponseHeader(member_id=IDS[endpoint.text])
            return _codec.encode(StatusResponse(header=header, leader=self.leader))
        return self._move(endpoint, _codec.decode(MoveLeaderRequest, payload).target_id)

    def _move(self, endpoint: Endpoint, target: int) -> bytes:
        self.moves.append((endpoint.text, target))
        if self.refusals:
            self.refusals.pop(0)()
            raise NOT_LEADER
        return _codec.encode(MoveLeaderResponse())

    def becomes(self, leader: int) -> Callable[[], None]:
        return lambda: setattr(self, "leader", leader)


async def move(servers: Servers, target: int, seconds: float | None = 5.0) -> None:
    await _leader.move(cast(Core, SimpleNamespace(caller=servers, clock=time.monotonic)), target, seconds)


@pytest.mark.parametrize("seconds", [5.0, None])
async def test_the_leader_is_asked_and_nobody_else(seconds: float | None) -> None:
    servers = Servers(leader=2)
    await move(servers, 3, seconds)
    assert servers.moves == [(B, 3)]


async def test_a_leader_that_is_no_endpoint_of_the_client_is_asked_at_its_own_address() -> None:
    servers = Servers(A, leader=3)
    await move(servers, 2)
    assert servers.moves == [(C, 2)]


async def test_advertised_nonsense_is_passed_over() -> None:
    servers = Servers(A, leader=3)
    servers.also = ["ftp://c", "https://c:1"]
    await move(servers, 2)
    assert servers.moves == [(C, 2)]


async def test_a_client_that_uses_tls_takes_its_token_to_no_plain_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    secure = "https://a:2379"
    monkeypatch.setitem(IDS, secure, 1)
    servers = Servers(secure, leader=3)
    with pytest.raises(EtcdError, match=f"no endpoint that this client may use: {C}"):
        await move(servers, 2)
    assert servers.moves == []
    servers.also = ["https://c:2379"]
    await move(servers, 2)
    assert servers.moves == [("https://c:2379", 2)]


async def test_whoever_leads_already_needs_no_office() -> None:
    servers = Servers(leader=2)
    await move(servers, 2)
    assert servers.moves == []


async def test_a_leader_that_has_just_changed_is_looked_for_once_more() -> None:
    servers = Servers(leader=1)
    servers.refusals = [servers.becomes(2)]
    await move(servers, 3)
    assert servers.moves == [(A, 3), (B, 3)]


async def test_a_hand_over_whose_answer_was_lost_is_not_made_again() -> None:
    servers = Servers(leader=1)
    servers.refusals = [servers.becomes(3)]  # the first try did it, and its repetition met an old leader
    await move(servers, 3)
    assert servers.moves == [(A, 3)]


async def test_a_leader_that_changes_twice_is_an_error() -> None:
    servers = Servers(leader=1)
    servers.refusals = [servers.becomes(2), servers.becomes(1)]
    with pytest.raises(NotLeader):
        await move(servers, 3)


async def test_endpoints_that_are_down_are_passed_over() -> None:
    servers = Servers(leader=3)
    servers.down = {A: Unavailable([Attempt(A, "refused")]), B: DeadlineExceeded(attempts=[Attempt(B, "silent")])}
    await move(servers, 1)
    assert servers.moves == [(C, 1)]


async def test_when_all_are_down_each_is_named() -> None:
    servers = Servers(A, B)
    servers.down = {A: Unavailable([Attempt(A, "refused")]), B: DeadlineExceeded(attempts=[Attempt(B, "silent")])}
    with pytest.raises(Unavailable) as caught:
        await move(servers, 1)
    assert set(caught.value.attempts) == {Attempt(A, "refused"), Attempt(B, "silent")}


async def test_a_refusal_is_told_rather_than_silence() -> None:
    servers = Servers(A, B)
    servers.down = {A: Unavailable([Attempt(A, "refused")]), B: ClientClosed()}
    with pytest.raises(ClientClosed):
        await move(servers, 1)


async def test_without_a_leader_there_is_nothing_to_hand_over() -> None:
    servers = Servers(leader=0)
    servers.down = {A: Unavailable([Attempt(A, "refused")])}
    with pytest.raises(NoLeader):
        await move(servers, 1)


async def test_a_leader_that_is_no_member_any_more_is_no_leader() -> None:
    servers = Servers(A, leader=9)
    with pytest.raises(NoLeader):
        await move(servers, 1)
