"""Streams on several endpoints: where they are opened, what their errors say, and what is learned from them."""

import pytest

from etcd_async._transport.metadata import COMMON_METADATA, HAS_LEADER
from etcd_async._transport.methods import LEASE_KEEP_ALIVE, RANGE_STREAM, WATCH
from etcd_async.errors import (
    DeadlineExceeded,
    InvalidAuthToken,
    NoLeader,
    RequestTooLarge,
    StatusCode,
    Unavailable,
)
from etcd_async.options import Backoff
from tests.unit.transport.callers import ROOT, A, B, C, caller_of, lost, no_leader, refused, stale, token, with_token
from tests.unit.transport.fakes import SILENCE, FakeStream, Network

pytestmark = pytest.mark.loops("asyncio", "uvloop")


async def test_one_request_on_a_duplex_stream_gets_its_one_answer(network: Network) -> None:
    network.messages = [b"answer"]
    assert await caller_of(A).ask(LEASE_KEEP_ALIVE, b"request", timeout=5.0) == b"answer"
    [stream] = network.streams
    assert stream.sent == [b"request"]
    assert not stream.is_ended
    assert stream.is_cancelled
    assert network.asked[0].deadline == 1005.0


async def test_a_request_on_a_duplex_stream_is_repeated_like_a_read(network: Network) -> None:
    network.openings[A] = refused(A)
    network.messages = [b"answer"]
    caller = caller_of(A, B)
    for _ in range(2):
        assert await caller.ask(LEASE_KEEP_ALIVE, b"request", timeout=5.0) == b"answer"
    assert A in network.places()


async def test_a_stream_that_ends_without_an_answer_is_a_failed_attempt(network: Network) -> None:
    network.messages = [None]
    with pytest.raises(Unavailable, match="without an answer"):
        await caller_of(A, backoff=Backoff(initial=60.0, maximum=60.0)).ask(LEASE_KEEP_ALIVE, b"", timeout=5.0)


async def test_a_duplex_stream_asks_for_a_leader_and_carries_the_token(network: Network) -> None:
    network.logins = [token("t1")]
    stream = await caller_of(A, credentials=ROOT).open(WATCH, timeout=5.0)
    assert network.asked[0].metadata == (*with_token("t1"), *HAS_LEADER)
    assert network.asked[0].deadline is None
    assert stream.endpoint.text == A
    stream.send(b"one")
    stream.send(b"two")
    assert network.streams[0].sent == [b"one", b"two"]
    assert not network.streams[0].is_ended
    stream.cancel()
    assert network.streams[0].is_cancelled


async def test_a_server_stream_sends_its_one_request(network: Network) -> None:
    network.messages = [b"1", b"2", None]
    stream = await caller_of(A).open(RANGE_STREAM, b"request", timeout=5.0)
    assert [await stream.receive() for _ in range(3)] == [b"1", b"2", None]
    assert network.streams[0].sent == [b"request"]
    assert network.streams[0].is_ended
    assert network.asked[0].metadata == COMMON_METADATA


async def test_a_stream_whose_one_request_may_not_be_sent_is_given_up(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send(self: FakeStream, payload: bytes, *, end: bool = False) -> None:
        raise RequestTooLarge(StatusCode.RESOURCE_EXHAUSTED, "too large")

    monkeypatch.setattr(FakeStream, "send", send)
    with pytest.raises(RequestTooLarge):
        await caller_of(A).open(RANGE_STREAM, b"request", timeout=5.0)
    assert network.streams[0].is_cancelled


async def test_a_stream_is_opened_on_another_endpoint_if_one_is_down(network: Network) -> None:
    network.openings[A] = refused(A)
    caller = caller_of(A, B)
    assert {(await caller.open(WATCH, timeout=5.0)).endpoint.text for _ in range(3)} == {B}


async def test_a_stream_that_can_not_be_opened_in_time_is_given_up(network: Network) -> None:
    network.openings[A] = SILENCE
    with pytest.raises(DeadlineExceeded, match="connecting"):
        await caller_of(A).open(WATCH, timeout=0.0)


async def test_a_lost_stream_is_an_error_for_users_and_sets_its_endpoint_aside(network: Network) -> None:
    network.messages = [lost(A)]
    caller = caller_of(A)
    stream = await caller.open(WATCH, timeout=5.0)
    with pytest.raises(Unavailable, match="connection lost"):
        await stream.receive()
    assert not caller.endpoints()[0].is_healthy


async def test_a_stream_ended_by_a_member_without_leader_sets_it_aside(network: Network) -> None:
    network.messages = [no_leader()]
    caller = caller_of(A)
    stream = await caller.open(WATCH, timeout=5.0)
    with pytest.raises(NoLeader):
        await stream.receive()
    assert not caller.endpoints()[0].is_healthy


@pytest.mark.parametrize("is_told", [True, False])
async def test_a_token_refused_on_a_stream_is_replaced(network: Network, is_told: bool) -> None:
    network.logins = [token("t1"), token("t2")]
    network.messages = [stale()]
    caller = caller_of(A, credentials=ROOT)
    stream = await caller.open(WATCH, timeout=5.0)
    if is_told:  # by an answer on the stream
        stream.refused(stale())
    else:
        with pytest.raises(InvalidAuthToken):
            await stream.receive()
    await caller.open(WATCH, timeout=5.0)
    assert network.asked[1].metadata == (*with_token("t2"), *HAS_LEADER)


async def test_a_stream_is_opened_on_an_endpoint_that_is_avoided_only_if_there_is_no_other(network: Network) -> None:
    caller = caller_of(A, B, C)
    avoided = [caller.endpoint(A), caller.endpoint(B)]
    assert {(await caller.open(WATCH, timeout=5.0, avoid=avoided)).endpoint.text for _ in range(6)} == {C}
    network.openings[C] = refused(C)
    assert (await caller.open(WATCH, timeout=5.0, avoid=avoided)).endpoint.text in (A, B)
