"""Endpoints that are set aside, probed and taken back; new lists of endpoints; and what clients say about them."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from random import Random

import pytest

from etcd_async import _codec
from etcd_async._pb.etcdserverpb import StatusResponse
from etcd_async._protocol.endpoints import parse
from etcd_async._transport import prober
from etcd_async._transport.caller import Caller
from etcd_async._transport.failure import AttemptFailed
from etcd_async._transport.methods import PUT, RANGE, WATCH
from etcd_async.errors import ClientClosed, DeadlineExceeded, NoLeader, Unavailable, error_for
from etcd_async.options import Backoff
from etcd_async.types import EndpointState
from tests.unit.transport.fakes import SILENCE, FakeChannel, Network
from tests.unit.transport.support import settled

pytestmark = pytest.mark.loops("asyncio", "uvloop")

A, B, C = "http://a:1", "http://b:1", "http://c:1"
QUICK = Backoff(initial=0.0001, maximum=0.0002)
NEVER = Backoff(initial=1000.0, maximum=1000.0)


@asynccontextmanager
async def caller_of(*endpoints: str, probes: Backoff = QUICK) -> AsyncIterator[Caller]:
    caller = Caller([parse(each) for each in endpoints], backoff=QUICK, probes=probes, random=Random(0))
    try:
        yield caller
    finally:
        await caller.aclose()


def refused(endpoint: str) -> AttemptFailed:
    return AttemptFailed(endpoint, "connection refused", sent=False)


async def ask_all(caller: Caller) -> None:
    """Make enough calls for each endpoint to get one."""
    for _ in caller.addresses():
        await caller.unary(RANGE, b"", timeout=5.0)


async def is_taken_back(caller: Caller) -> None:
    """Wait until every endpoint is in turn."""
    async with asyncio.timeout(10):
        while not all(state.is_healthy for state in caller.endpoints()):
            await caller.roster.change()


def channel_of(network: Network, endpoint: str) -> FakeChannel:
    [channel] = [channel for channel in network.channels if channel.endpoint.text == endpoint]
    return channel


async def test_a_failed_endpoint_is_probed_until_it_works_and_no_call_goes_there_before(network: Network) -> None:
    network.answers[A] = [refused(A), b"answer"]
    network.probes[A] = [refused(A), refused(A), _codec.encode(StatusResponse(leader=1))]
    async with caller_of(A, B) as caller:
        await ask_all(caller)
        state = caller.endpoints()[0]
        assert (state.is_healthy, state.failures, state.last_error) == (False, 1, "connection refused")
        await is_taken_back(caller)
        assert network.probed == [A, A, A]
        assert network.places().count(A) == 1
        await ask_all(caller)
        assert network.places().count(A) == 2


async def test_calls_pass_over_an_endpoint_that_is_set_aside(network: Network) -> None:
    network.answers[A] = [refused(A), b"answer"]
    async with caller_of(A, B, probes=NEVER) as caller:
        for _ in range(5):
            await ask_all(caller)
        assert network.places().count(A) == 1


async def test_a_call_that_has_nowhere_else_to_go_finds_out_by_itself(network: Network) -> None:
    network.answers[A] = [refused(A), b"answer"]
    async with caller_of(A, probes=NEVER) as caller:
        assert await caller.unary(RANGE, b"", timeout=5.0) == b"answer"
        assert caller.endpoints()[0].is_healthy


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (StatusResponse(leader=0), "the member has no leader"),
        (StatusResponse(leader=1, is_learner=True), "the member is a learner"),
    ],
)
async def test_a_member_that_answers_but_can_not_serve_stays_aside(
    network: Network, status: StatusResponse, reason: str
) -> None:
    network.answers[A] = [error_for(14, "etcdserver: no leader")]
    network.probes[A] = [_codec.encode(status)]
    async with caller_of(A, B) as caller:
        await ask_all(caller)
        await network.until(lambda: len(network.probed) >= 3)
        state = caller.endpoints()[0]
        assert not state.is_healthy
        assert state.last_error == reason


@pytest.mark.parametrize(("code", "is_healthy"), [(12, True), (16, True), (14, False)])
async def test_a_probe_that_is_refused_was_answered_unless_nobody_could(
    network: Network, code: int, is_healthy: bool
) -> None:
    network.answers[A] = [refused(A), b"answer"]
    network.probes[A] = [error_for(code, "unavailable"), SILENCE]
    async with caller_of(A, B) as caller:
        await ask_all(caller)
        await network.until(lambda: len(network.probed) == (1 if is_healthy else 2))
        await asyncio.sleep(0)
        assert caller.endpoints()[0].is_healthy is is_healthy


async def test_an_answer_to_a_probe_that_can_not_be_read_is_none(network: Network) -> None:
    network.answers[A] = [refused(A), b"answer"]
    network.probes[A] = [b"\xff\xff", SILENCE]
    async with caller_of(A, B) as caller:
        await ask_all(caller)
        await network.until(lambda: len(network.probed) == 2)
        assert caller.endpoints()[0].last_error == "its status can't be read"


async def test_an_endpoint_that_keeps_a_call_waiting_is_asked_and_stays_in_turn_if_it_answers(
    network: Network,
) -> None:
    async with caller_of(A, B) as caller:
        await ask_all(caller)
        channel_of(network, A).on_slow()
        channel_of(network, A).on_slow()
        await network.until(lambda: network.probed == [A])
        await asyncio.sleep(0)
        assert all(state.is_healthy for state in caller.endpoints())
        assert network.probed == [A]


async def test_an_endpoint_that_has_just_proved_well_is_not_asked_again_for_a_while(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with caller_of(A) as caller:
        await ask_all(caller)
        channel_of(network, A).on_slow()
        await network.until(lambda: network.probed == [A])
        await settled()
        channel_of(network, A).on_slow()
        await settled()
        assert network.probed == [A]
        now = time.monotonic()
        monkeypatch.setattr(caller.roster._prober, "_clock", lambda: now + 60.0)
        channel_of(network, A).on_slow()
        await network.until(lambda: network.probed == [A, A])


async def test_a_silent_connection_is_left_to_those_who_wait_there_and_the_endpoint_set_aside(
    network: Network,
) -> None:
    network.probes[A] = [DeadlineExceeded(), _codec.encode(StatusResponse(leader=1))]
    async with caller_of(A, B, probes=NEVER) as caller:
        await ask_all(caller)
        channel = channel_of(network, A)
        channel.on_slow()
        await network.until(lambda: len(network.probed) == 2)
        # The second answer, on a new connection, was asked for before the endpoint was set aside: the next one counts.
        assert caller.endpoints()[0].last_error == f"no answer within {prober.PATIENCE:g} s"
        assert len(channel.renewed) == 1


async def test_what_is_not_in_the_list_is_not_probed(network: Network) -> None:
    async with caller_of(A) as caller:
        await caller.unary(RANGE, b"", timeout=5.0, endpoint=caller.endpoint(C))
        channel_of(network, C).on_slow()
        await asyncio.sleep(0)
        assert network.probed == []


async def test_a_stream_counts_as_an_answer_only_when_something_was_heard_on_it(network: Network) -> None:
    network.answers[A] = [refused(A)]
    async with caller_of(A, probes=NEVER) as caller:
        with pytest.raises(Unavailable):
            await caller.unary(PUT, b"", timeout=1.0)
        network.messages = [b"message"]
        stream = await caller.open(WATCH, timeout=5.0)
        assert not caller.endpoints()[0].is_healthy
        await stream.receive()
        assert caller.endpoints()[0].is_healthy


async def test_probes_end_with_the_client(network: Network) -> None:
    network.answers[A] = [refused(A), b"answer"]
    network.probes[A] = [SILENCE]
    async with caller_of(A, B) as caller:
        await ask_all(caller)
        await network.until(lambda: network.probed == [A])
    left = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("etcd_async")]
    assert not left
    with pytest.raises(ClientClosed):
        await caller.roster.change()


# States.


async def test_the_state_says_what_is_connected_and_since_when_it_fails(network: Network) -> None:
    network.answers[A] = [refused(A), b"answer"]
    async with caller_of(A, B, probes=NEVER) as caller:
        assert caller.endpoints() == (EndpointState(A), EndpointState(B))
        before = datetime.now(UTC)
        await ask_all(caller)
        after = datetime.now(UTC)
        channel_of(network, A).is_connected = False
        down, up = caller.endpoints()
        assert up == EndpointState(B, is_connected=True)
        assert (down.is_connected, down.is_healthy, down.last_error) == (False, False, "connection refused")
        assert down.failing_since is not None
        assert abs((down.failing_since - before).total_seconds()) < (after - before).total_seconds() + 0.1
        assert caller.endpoints() == (down, up)


async def test_a_change_of_a_connection_is_told(network: Network) -> None:
    async with caller_of(A) as caller:
        await ask_all(caller)
        waiting = asyncio.create_task(caller.roster.change())
        await asyncio.sleep(0)
        assert not waiting.done()
        channel_of(network, A).on_change()
        await asyncio.wait_for(waiting, 10)


# New lists.


async def test_calls_go_to_a_new_list_and_the_channels_of_others_are_left(network: Network) -> None:
    async with caller_of(A, B) as caller:
        await ask_all(caller)
        caller.set_endpoints([parse(B), parse(C)])
        assert [address.text for address in caller.addresses()] == [B, C]
        network.asked.clear()
        await ask_all(caller)
        assert set(network.places()) == {B, C}
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [channel.has_left for channel in network.channels] == [
            channel.endpoint.text == A for channel in network.channels
        ]


async def test_with_a_new_list_idle_channels_to_other_endpoints_are_left_too(network: Network) -> None:
    async with caller_of(A) as caller:
        for endpoint in (B, C):
            await caller.unary(RANGE, b"", timeout=5.0, endpoint=caller.endpoint(endpoint))
        channel_of(network, C).is_idle = False  # a snapshot, say
        caller.set_endpoints([parse(A)])
        await settled()
        assert [channel.endpoint.text for channel in network.channels if channel.has_left] == [B]
        assert set(caller.roster.channels) == {C}


async def test_an_endpoint_that_leaves_the_list_before_its_probe_is_not_probed(network: Network) -> None:
    async with caller_of(A, B) as caller:
        await ask_all(caller)
        channel_of(network, A).on_slow()
        caller.set_endpoints([parse(B)])
        await settled()
        assert network.probed == []
        assert set(caller.roster.channels) == {B}


async def test_a_list_of_nothing_is_refused_and_the_old_one_stays(network: Network) -> None:
    async with caller_of(A, B) as caller:
        with pytest.raises(ValueError, match="at least one"):
            caller.set_endpoints([])
        assert repr(caller) == f"{A}, {B}"


async def test_a_member_without_leader_is_set_aside(network: Network) -> None:
    network.messages = [error_for(14, "etcdserver: no leader")]
    async with caller_of(A, B, probes=NEVER) as caller:
        stream = await caller.open(WATCH, timeout=5.0)
        with pytest.raises(NoLeader):
            await stream.receive()
        assert [state.is_healthy for state in caller.endpoints()].count(False) == 1


async def test_the_probes_of_an_endpoint_end_as_soon_as_a_call_finds_that_it_works(network: Network) -> None:
    network.answers[A] = [refused(A), b"answer"]
    async with caller_of(A, probes=NEVER) as caller:
        await caller.unary(RANGE, b"", timeout=5.0)
        async with asyncio.timeout(10):
            while any(task.get_name().startswith("etcd_async.probe") for task in asyncio.all_tasks()):  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert network.probed == []
