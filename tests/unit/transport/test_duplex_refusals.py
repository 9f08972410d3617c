"""What the driver of a duplex stream makes of refusals, and of messages that can't be read or sent."""

import pytest

from etcd_async import _codec
from etcd_async._pb.etcdserverpb import AuthenticateResponse
from etcd_async._protocol.machine import Reopen
from etcd_async._transport import duplex as module
from etcd_async._transport.endings import MAX_PROTOCOL_ERRORS, MAX_REFUSALS
from etcd_async.errors import (
    EtcdError,
    InvalidAuthToken,
    ProtocolError,
    RequestTooLarge,
    ResponseTooLarge,
    RpcError,
    StatusCode,
    error_for,
)
from etcd_async.options import Credentials
from tests.unit.transport.fakes import Answer, FakeStream, Network
from tests.unit.transport.staging import A, B, no_leader, noted_pauses, staged
from tests.unit.transport.support import settled

pytestmark = pytest.mark.loops("asyncio", "debug", "uvloop")


def denied() -> RpcError:
    return error_for(StatusCode.PERMISSION_DENIED, "etcdserver: permission denied")


def stale() -> InvalidAuthToken:
    return InvalidAuthToken(StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token")


async def test_a_refusal_that_one_part_has_caused_ends_that_part_only(network: Network) -> None:
    async with staged(network) as stage:
        stream = await stage.speaking(0, "one")
        stage.machine.culprit = "one is refused"
        stream.put(denied())
        await stage.listener.heard("one is refused")
        await stage.speaking(1, "two")


async def test_a_denial_is_final_only_after_a_new_login(network: Network) -> None:
    network.logins = logins("t1", "t2")
    async with staged(network, credentials=Credentials("root", "pw")) as stage:
        (await stage.speaking(0, "one")).put(denied())
        second = await stage.speaking(1, "two")
        assert [dict(stream.metadata)["token"] for stream in network.streams] == ["t1", "t2"]
        assert not stage.listener.outputs
        second.put(denied())
        await stage.listener.heard("failed: PermissionDenied")


async def test_one_endpoint_that_knows_no_watches_is_no_reason_to_give_up(network: Network) -> None:
    unknown = error_for(StatusCode.UNIMPLEMENTED, "unknown service")
    async with staged(network, A, B) as stage:
        (await stage.speaking(0, "one")).put(unknown)
        second = await stage.speaking(1, "two")
        assert not stage.listener.outputs
        second.put(unknown)
        await stage.listener.heard("failed: RpcError")


async def test_a_refusal_that_may_pass_is_final_after_some_in_a_row(network: Network) -> None:
    async with staged(network) as stage:
        for number in range(MAX_REFUSALS):
            assert not stage.listener.outputs
            stream = await stage.speaking(number, "one")
            stream.put(error_for(StatusCode.RESOURCE_EXHAUSTED, "etcdserver: too many requests"))
        await stage.listener.heard("failed: TooManyRequests")


@pytest.mark.parametrize(
    "error", [denied(), error_for(StatusCode.UNIMPLEMENTED, "unknown service"), ResponseTooLarge("too large")]
)
async def test_what_no_stream_will_cure_is_told_to_the_users(
    network: Network, error: EtcdError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "wait", lambda *arguments: 0.0)
    async with staged(network) as stage:
        stream = await stage.speaking(0, "one")
        stream.put(error)
        await stage.listener.heard(f"failed: {type(error).__name__}")
        await settled()
        assert len(network.streams) == 1
        await stage.speaking(1, "two")  # for those who come later


async def test_after_an_answer_that_was_too_large_the_next_stream_is_asked_for_less(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "wait", lambda *arguments: 0.0)
    async with staged(network) as stage:
        stage.machine.max_answer, stage.machine.can_do_with_less = 7, True
        (await stage.speaking(0, "one")).put(ResponseTooLarge("too large"))
        stage.machine.max_answer = None
        second = await stage.speaking(1, "two")
        assert [stream.limit for stream in network.streams] == [7, None]
        second.put(ResponseTooLarge("too large"))
        await stage.listener.heard("failed: ResponseTooLarge")


async def test_a_user_who_can_not_log_in_is_told(network: Network) -> None:
    network.logins = [
        error_for(StatusCode.INVALID_ARGUMENT, "etcdserver: authentication failed, invalid user ID or password")
    ]
    async with staged(network, credentials=Credentials("root", "wrong")) as stage:
        stage.machine.wants_stream = True
        stage.duplex.wake()
        await stage.listener.heard("failed: AuthFailed")


def logins(*tokens: str) -> list[Answer]:
    return [_codec.encode(AuthenticateResponse(token=token)) for token in tokens]


async def test_a_token_that_the_stream_is_refused_for_is_replaced(network: Network) -> None:
    network.logins = logins("t1", "t2")
    async with staged(network, credentials=Credentials("root", "pw")) as stage:
        stream = await stage.speaking(0, "one")
        stream.put(stale())
        await network.stream(1)
        assert [dict(stream.metadata)["token"] for stream in network.streams] == ["t1", "t2"]


async def test_a_token_that_one_answer_refuses_is_replaced_and_the_stream_reopened(network: Network) -> None:
    network.logins = logins("t1", "t2")
    async with staged(network, credentials=Credentials("root", "pw")) as stage:
        stage.machine.on_answer = lambda answer: [Reopen(stale())]
        stream = await stage.speaking(0, "one")
        stream.put(b"refused")
        await network.stream(1)
        assert stream.is_cancelled
        assert [dict(stream.metadata)["token"] for stream in network.streams] == ["t1", "t2"]
        assert stage.listener.outputs == []


async def test_the_first_token_that_is_refused_is_replaced_at_once_and_the_next_after_a_pause(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = noted_pauses(monkeypatch)
    network.logins = logins("t1", "t2", "t3")
    async with staged(network, credentials=Credentials("root", "pw")) as stage:
        stage.machine.on_answer = lambda answer: [Reopen(stale())]
        (await stage.speaking(0, "one")).put(b"refused")
        second = await network.stream(1)
        assert pauses == []
        second.put(b"refused")
        await network.stream(2)
        assert len(pauses) == 1


async def test_without_a_user_a_demand_for_one_is_told_after_a_few_streams(network: Network) -> None:
    async with staged(network) as stage:
        stage.machine.on_answer = lambda answer: [Reopen(stale())]
        await stage.speaking(0, "one")
        for number in range(MAX_REFUSALS):
            assert stage.listener.outputs == []
            (await network.stream(number)).put(b"refused")
        await stage.listener.heard("failed: InvalidAuthToken")
        assert len(network.streams) == MAX_REFUSALS


async def test_a_member_that_can_not_serve_is_left(network: Network) -> None:
    async with staged(network, A, B) as stage:
        stage.machine.on_answer = lambda answer: [Reopen(no_leader())]
        stream = await stage.speaking(0, "one")
        stream.put(b"refused")
        await network.stream(1)
        assert sorted(network.places()) == [A, B]


MALFORMED = b"\xff"


async def test_a_malformed_message_costs_the_stream_and_too_many_in_a_row_all(network: Network) -> None:
    async with staged(network) as stage:
        for number in range(MAX_PROTOCOL_ERRORS):
            stream = await stage.speaking(number, "one")
            stream.put(MALFORMED)
        await stage.listener.heard("failed: ProtocolError")


async def test_a_malformed_message_after_a_good_one_begins_the_count_anew(network: Network) -> None:
    async with staged(network) as stage:
        for number in range(MAX_PROTOCOL_ERRORS - 1):
            (await stage.speaking(number, "one")).put(MALFORMED)
        good = await stage.speaking(MAX_PROTOCOL_ERRORS - 1, "one")
        good.put(b"a")
        good.put(None)
        (await stage.speaking(MAX_PROTOCOL_ERRORS, "one")).put(ProtocolError("nonsense"))
        await stage.speaking(MAX_PROTOCOL_ERRORS + 1, "one")
        assert stage.listener.outputs == ["heard a"]


async def test_a_request_that_is_too_large_to_be_sent_is_told(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: FakeStream, payload: bytes) -> None:
        raise RequestTooLarge(StatusCode.RESOURCE_EXHAUSTED, "etcdserver: request is too large")

    async with staged(network) as stage:
        await stage.speaking(0, "one")
        monkeypatch.setattr(FakeStream, "send", refuse)
        stage.machine.requests.append("large")
        stage.duplex.wake()
        await stage.listener.heard("failed: RequestTooLarge")
