"""Calls on several endpoints: where they go, what is repeated, and what their errors say."""

import asyncio

import pytest

from etcd_async import _codec
from etcd_async._pb.etcdserverpb import AuthenticateResponse
from etcd_async._transport.channel import SLOW_AGE
from etcd_async._transport.metadata import COMMON_METADATA
from etcd_async._transport.methods import LEASE_GRANT, PUT, RANGE, TXN, WATCH, Method
from etcd_async.errors import (
    Attempt,
    AuthFailed,
    ClientClosed,
    DeadlineExceeded,
    LeaseNotFound,
    PermissionDenied,
    ProtocolError,
    RpcError,
    ServerTimeout,
    StatusCode,
    Unavailable,
    error_for,
)
from etcd_async.options import Backoff, TransportOptions
from tests.unit.transport.callers import ROOT, A, B, C, Clock, caller_of, lost, no_leader, refused, stale
from tests.unit.transport.fakes import SILENCE, Network

pytestmark = pytest.mark.loops("asyncio", "uvloop")


def timed_out() -> RpcError:
    return error_for(StatusCode.UNAVAILABLE, "etcdserver: request timed out")


def first_of(network: Network) -> str:
    return network.places()[0]


async def test_an_answer_comes_back_as_it_is(network: Network) -> None:
    caller = caller_of(A)
    assert await caller.unary(RANGE, b"request", timeout=5.0) == b"answer"
    [asked] = network.asked
    assert (asked.endpoint, asked.path, asked.payload) == (A, "/etcdserverpb.KV/Range", b"request")
    assert (asked.metadata, asked.deadline) == (COMMON_METADATA, 1005.0)


async def test_no_timeout_means_no_deadline(network: Network) -> None:
    await caller_of(A, B).unary(RANGE, b"", timeout=None)
    assert network.asked[0].deadline is None


async def test_calls_take_turns_on_one_channel_per_endpoint(network: Network) -> None:
    caller = caller_of(A, B)
    assert not network.channels
    for _ in range(6):
        await caller.unary(RANGE, b"", timeout=5.0)
    assert sorted(network.places()) == [A, A, A, B, B, B]
    assert len(network.channels) == 2


async def test_a_read_that_was_lost_is_repeated_elsewhere(network: Network) -> None:
    network.answers[A] = [lost(A)]
    caller = caller_of(A, B)
    assert [await caller.unary(RANGE, b"", timeout=5.0) for _ in range(4)] == [b"answer"] * 4
    assert network.places().count(A) == 1  # then it was passed over


async def test_a_write_that_was_lost_is_not_repeated(network: Network) -> None:
    network.answers[A] = network.answers[B] = [lost("it")]
    with pytest.raises(Unavailable) as caught:
        await caller_of(A, B).unary(PUT, b"", timeout=5.0)
    assert len(network.asked) == 1
    assert caught.value.maybe_applied
    assert caught.value.attempts == (Attempt(first_of(network), "connection lost"),)


async def test_a_write_that_never_left_is_made_elsewhere(network: Network) -> None:
    network.answers[A] = [refused(A)]
    caller = caller_of(A, B)
    assert [await caller.unary(PUT, b"", timeout=5.0) for _ in range(4)] == [b"answer"] * 4


async def test_a_write_to_a_member_without_leader_is_made_elsewhere(network: Network) -> None:
    network.answers[A] = [no_leader()]
    caller = caller_of(A, B)
    assert [await caller.unary(PUT, b"", timeout=5.0) for _ in range(4)] == [b"answer"] * 4


@pytest.mark.parametrize("method", [RANGE, PUT])
async def test_with_no_server_at_all_the_error_names_each_with_its_reason_once(
    network: Network, method: Method
) -> None:
    for endpoint in (A, B, C):
        network.answers[endpoint] = [refused(endpoint)]
    with pytest.raises(Unavailable) as caught:
        await caller_of(A, B, C).unary(method, b"", timeout=5.0)
    assert {(each.endpoint, each.reason) for each in caught.value.attempts} == {
        (endpoint, "connection refused") for endpoint in (A, B, C)
    }
    assert len(caught.value.attempts) == 3
    assert not caught.value.maybe_applied
    assert caught.value.__suppress_context__


async def test_the_cause_of_a_failed_attempt_is_kept(network: Network) -> None:
    failure = refused(A)
    failure.__cause__ = ConnectionRefusedError()
    network.answers[A] = [failure]
    with pytest.raises(Unavailable) as caught:
        await caller_of(A).unary(RANGE, b"", timeout=5.0)
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


async def test_a_server_that_does_not_know_whether_it_wrote_is_not_asked_again(network: Network) -> None:
    network.answers[A] = [timed_out(), b"answer"]
    with pytest.raises(ServerTimeout) as caught:
        await caller_of(A).unary(PUT, b"", timeout=5.0)
    assert caught.value.maybe_applied


async def test_a_server_that_could_not_read_is_asked_again(network: Network) -> None:
    network.answers[A] = [timed_out(), b"answer"]
    assert await caller_of(A).unary(RANGE, b"", timeout=5.0) == b"answer"


async def test_a_clear_no_is_raised_at_once_and_nothing_was_applied(network: Network) -> None:
    network.answers[A] = [error_for(StatusCode.PERMISSION_DENIED, "etcdserver: permission denied")]
    with pytest.raises(PermissionDenied) as caught:
        await caller_of(A).unary(PUT, b"", timeout=5.0)
    assert not caught.value.maybe_applied
    assert len(network.asked) == 1


async def test_a_transaction_that_only_reads_is_repeated(network: Network) -> None:
    network.answers[A] = [lost(A), b"answer"]
    assert await caller_of(A).unary(TXN, b"", timeout=5.0, repeatable=True) == b"answer"


async def test_a_transaction_that_only_reads_was_not_applied_even_if_lost(network: Network) -> None:
    network.answers[A] = [lost(A), error_for(StatusCode.INTERNAL, "panic")]
    with pytest.raises(RpcError) as caught:
        await caller_of(A).unary(TXN, b"", timeout=5.0, repeatable=True)
    assert not caught.value.maybe_applied


async def test_a_write_that_may_be_repeated_may_have_been_applied_by_its_lost_attempt(network: Network) -> None:
    network.answers[A] = [lost(A), error_for(StatusCode.NOT_FOUND, "etcdserver: requested lease not found")]
    with pytest.raises(LeaseNotFound) as caught:
        await caller_of(A).unary(LEASE_GRANT, b"", timeout=5.0)
    assert caught.value.maybe_applied


async def test_a_repeatable_method_is_not_repeated_if_the_call_says_no(network: Network) -> None:
    network.answers[A] = [lost(A), b"answer"]
    with pytest.raises(Unavailable) as caught:
        await caller_of(A).unary(LEASE_GRANT, b"", timeout=5.0, repeatable=False)
    assert caught.value.maybe_applied


@pytest.mark.parametrize(("method", "maybe_applied"), [(RANGE, False), (PUT, True)])
async def test_an_answer_that_can_not_be_read_is_final(network: Network, method: Method, maybe_applied: bool) -> None:
    error = ProtocolError("not etcd")
    error.maybe_applied = True  # as the transport says of everything that was sent
    network.answers[A] = [error]
    with pytest.raises(ProtocolError) as caught:
        await caller_of(A).unary(method, b"", timeout=5.0)
    assert caught.value.maybe_applied is maybe_applied


@pytest.mark.parametrize(("method", "maybe_applied"), [(RANGE, False), (PUT, True)])
async def test_the_deadline_tells_what_failed_until_then(network: Network, method: Method, maybe_applied: bool) -> None:
    clock = Clock()
    caller = caller_of(A, clock=clock)
    network.answers[A] = [DeadlineExceeded(attempts=[Attempt(A, "connection refused")], maybe_applied=True)]

    with pytest.raises(DeadlineExceeded) as caught:
        await caller.unary(method, b"", timeout=0.0)
    assert caught.value.maybe_applied is maybe_applied
    assert caught.value.attempts == (Attempt(A, "connection refused"), Attempt(A, "the deadline passed"))


async def test_no_attempt_is_waited_for_that_the_deadline_does_not_allow(network: Network) -> None:
    network.answers[A] = [refused(A)]
    caller = caller_of(A, backoff=Backoff(initial=60.0, maximum=60.0))
    with pytest.raises(Unavailable):
        await caller.unary(RANGE, b"", timeout=5.0)
    assert len(network.asked) == 1


async def test_an_endpoint_that_swallows_everything_costs_what_may_be_repeated_half_of_its_time(
    network: Network,
) -> None:
    clock = Clock()
    caller = caller_of(A, B, clock=clock)
    network.answers[A] = network.answers[B] = [DeadlineExceeded(maybe_applied=True), b"answer"]
    await caller.unary(LEASE_GRANT, b"", timeout=8.0)
    swallowing, answering = network.asked
    assert swallowing.deadline == 1004.0
    assert answering.endpoint != swallowing.endpoint
    assert answering.deadline == 1008.0


async def test_a_read_has_all_of_its_time_on_each_endpoint_and_is_told_when_it_is_slow(network: Network) -> None:
    network.answers[A] = network.answers[B] = [lost("it"), b"answer"]
    await caller_of(A, B).unary(RANGE, b"", timeout=8.0)
    assert [asked.deadline for asked in network.asked] == [1008.0, 1008.0]
    assert [asked.looks for asked in network.asked] == [SLOW_AGE, SLOW_AGE]


@pytest.mark.parametrize(
    ("timeout", "looks", "patience"), [(None, SLOW_AGE, 1.0), (5.0, SLOW_AGE, 1.0), (1.6, 4, 0.8), (0.3, 2, None)]
)
async def test_where_there_are_others_an_endpoint_gets_a_part_of_the_time(
    network: Network, timeout: float | None, looks: int, patience: float | None
) -> None:
    await caller_of(A, B).unary(RANGE, b"", timeout=timeout)
    assert (network.asked[0].looks, network.asked[0].patience) == (looks, patience)
    await caller_of(A).unary(RANGE, b"", timeout=timeout)
    assert (network.asked[1].looks, network.asked[1].patience) == (0, None)


async def test_patience_with_connections_grows_from_round_to_round(network: Network) -> None:
    network.answers[A] = network.answers[B] = [refused("it")]
    with pytest.raises(Unavailable):
        await caller_of(A, B).unary(PUT, b"", timeout=60.0)
    assert [asked.patience for asked in network.asked[:6]] == [1.0, 1.0, 2.0, 2.0, 4.0, 4.0]


async def test_a_write_has_all_of_its_time_on_each_endpoint(network: Network) -> None:
    await caller_of(A, B).unary(PUT, b"", timeout=8.0)
    assert network.asked[0].deadline == 1008.0


async def test_all_the_time_to_connect_is_left_to_the_connection_itself(network: Network) -> None:
    caller = caller_of(A, B, C, options=TransportOptions(connect_timeout=2.0))
    await caller.unary(RANGE, b"", timeout=5.0)
    assert network.channels[0].options.connect_timeout == 2.0


async def test_a_cancelled_call_is_cancelled_at_once(network: Network) -> None:
    network.answers[A] = [SILENCE]
    call = asyncio.create_task(caller_of(A).unary(RANGE, b"", timeout=5.0))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


# Calls on one endpoint of the caller's choice.


async def test_a_call_for_one_endpoint_goes_nowhere_else(network: Network) -> None:
    caller = caller_of(A, B, C)
    for _ in range(6):
        await caller.unary(RANGE, b"", timeout=8.0, endpoint=caller.endpoint(B))
    assert network.places() == [B] * 6
    assert network.asked[0].deadline == 1008.0  # there is no other to leave time for


async def test_a_call_for_one_endpoint_is_repeated_there(network: Network) -> None:
    network.answers[B] = [lost(B), b"answer"]
    caller = caller_of(A, B)
    assert await caller.unary(RANGE, b"", timeout=5.0, endpoint=caller.endpoint(B)) == b"answer"
    assert network.places() == [B, B]


async def test_a_write_for_one_endpoint_is_not_repeated_if_lost(network: Network) -> None:
    network.answers[B] = [lost(B)]
    caller = caller_of(A, B)
    with pytest.raises(Unavailable) as caught:
        await caller.unary(PUT, b"", timeout=5.0, endpoint=caller.endpoint(B))
    assert network.places() == [B]
    assert caught.value.maybe_applied


async def test_a_call_may_go_to_an_endpoint_outside_the_list(network: Network) -> None:
    network.answers["c:1"] = [refused("c:1")]
    caller = caller_of(A, B)
    with pytest.raises(Unavailable) as caught:
        await caller.unary(RANGE, b"", timeout=5.0, endpoint=caller.endpoint("c:1"))
    assert [attempt.endpoint for attempt in caught.value.attempts] == ["c:1"]
    assert set(network.places()) == {"c:1"}
    assert [address.text for address in caller.addresses()] == [A, B]
    assert all(state.is_healthy for state in caller.endpoints())
    for _ in range(4):
        await caller.unary(RANGE, b"", timeout=5.0)
    assert set(network.places()) == {"c:1", A, B}


async def test_a_stream_for_one_endpoint_is_opened_there(network: Network) -> None:
    caller = caller_of(A, B, C)
    for _ in range(6):
        stream = await caller.open(WATCH, timeout=5.0, endpoint=caller.endpoint(C))
        assert stream.endpoint.text == C


async def test_an_endpoint_that_can_not_be_read_is_refused() -> None:
    with pytest.raises(ValueError, match="bad endpoint"):
        caller_of(A).endpoint("ftp://x")


async def test_a_repr_names_the_endpoints() -> None:
    assert repr(caller_of(A, B, credentials=ROOT)) == "http://a:1, http://b:1"


# Closing.


async def test_closing_closes_every_channel_and_refuses_new_calls(network: Network) -> None:
    caller = caller_of(A, B)
    await caller.unary(RANGE, b"", timeout=5.0)
    await caller.aclose()
    await caller.aclose()
    assert [channel.is_closed for channel in network.channels] == [True]
    with pytest.raises(ClientClosed):
        await caller.unary(RANGE, b"", timeout=5.0)


async def test_closing_ends_the_pause_between_attempts(network: Network) -> None:
    network.answers[A] = [refused(A), ClientClosed()]
    caller = caller_of(A, backoff=Backoff(initial=50.0, maximum=50.0))
    call = asyncio.create_task(caller.unary(RANGE, b"", timeout=None))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not call.done()
    await caller.aclose()
    with pytest.raises(ClientClosed):
        await call


async def test_closing_ends_a_login(network: Network) -> None:
    network.logins = [SILENCE]
    caller = caller_of(A, credentials=ROOT)
    call = asyncio.create_task(caller.unary(RANGE, b"", timeout=None))
    for _ in range(3):
        await asyncio.sleep(0)
    await caller.aclose()
    with pytest.raises(ClientClosed):
        await call


async def test_a_caller_is_made_and_closed_without_any_call(network: Network) -> None:
    await caller_of(A, credentials=ROOT).aclose()
    assert not network.channels


async def test_a_repeatable_write_says_that_it_may_have_been_applied_though_the_client_closes_before_its_repeat(
    network: Network,
) -> None:
    network.answers[A] = [lost(A)]
    caller = caller_of(A, backoff=Backoff(initial=1000.0, maximum=1000.0))
    call = asyncio.create_task(caller.unary(LEASE_GRANT, b"", timeout=None))
    await network.until(lambda: len(network.asked) == 1)
    await asyncio.sleep(0)
    await caller.aclose()
    with pytest.raises(ClientClosed) as caught:
        await call
    assert caught.value.maybe_applied


async def test_a_repeatable_write_says_that_it_may_have_been_applied_though_the_next_login_fails(
    network: Network,
) -> None:
    network.logins = [
        _codec.encode(AuthenticateResponse(token="token")),
        error_for(StatusCode.INVALID_ARGUMENT, "etcdserver: authentication failed, invalid user ID or password"),
    ]
    network.answers[A] = [lost(A), stale()]
    with pytest.raises(AuthFailed) as caught:
        await caller_of(A, credentials=ROOT).unary(LEASE_GRANT, b"", timeout=5.0)
    assert caught.value.maybe_applied
    assert len(network.asked) == 2
