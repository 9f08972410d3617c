"""Calls that take long, connections nobody has patience for, and endpoints that are left."""

import asyncio
import time
from contextvars import ContextVar

import pytest

from etcd_async._protocol.endpoints import parse
from etcd_async._transport import channel as module
from etcd_async._transport.calls import Slow, Unary
from etcd_async._transport.channel import LOOK_INTERVAL, SLOW_AGE, Channel, looks_within
from etcd_async._transport.failure import AttemptFailed
from etcd_async.errors import DeadlineExceeded
from etcd_async.options import TransportOptions
from tests.support.h2server import H2Server
from tests.support.live import within
from tests.unit.transport.support import PATH, QUICK, call, channel_to, warm

pytestmark = pytest.mark.loops("asyncio", "uvloop")


@pytest.fixture
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_INTERVAL", 0.001)


def slow_call(channel: Channel, looks: int = 2) -> asyncio.Task[bytes]:
    return asyncio.create_task(channel.unary(PATH, b"", deadline=None, looks=looks))


async def test_a_slow_call_says_so_and_goes_on(quick_looks: None) -> None:
    async with H2Server() as server, channel_to(server) as channel:
        task = slow_call(channel)
        request = await server.request()
        with pytest.raises(Slow) as caught:
            await within(task)
        request.answer(b"at last")
        assert await within(caught.value.answer) == b"at last"


async def test_a_slow_call_may_be_given_up(quick_looks: None) -> None:
    async with H2Server() as server, channel_to(server) as channel:
        task = slow_call(channel)
        request = await server.request()
        with pytest.raises(Slow) as caught:
            await within(task)
        caught.value.abandon()
        assert await request.reset() == 8  # CANCEL
        assert not caught.value.answer.done()


async def test_a_call_whose_answer_has_begun_is_not_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_INTERVAL", 3600)  # nobody looks before it has begun
    slow = asyncio.Event()
    async with H2Server() as server:
        channel = Channel(parse(server.endpoint), tls=None, options=TransportOptions(), on_slow=slow.set)
        task = slow_call(channel)
        request = await server.request()
        request.send_headers()
        request.peer.write(b"\0\0\3\0\0" + request.stream_id.to_bytes(4, "big") + b"\0\0\0")
        await begun(channel)
        monkeypatch.setattr(module, "LOOK_INTERVAL", 0.001)
        channel._stop_looking()
        channel._look()
        await within(slow.wait())  # as often as it takes to say so
        assert not task.done()
        request.peer.write(b"\0\0\4\0\0" + request.stream_id.to_bytes(4, "big") + b"\0\2ok")
        request.send_trailers()
        assert await within(task) == b"ok"
        await channel.aclose()


async def begun(channel: Channel) -> None:
    """Wait until a part of the answer to the one call of *channel* is there."""
    connection = channel._connector.current
    assert connection is not None
    (waiting,) = connection.outbox.unfinished()
    assert isinstance(waiting, Unary)
    async with asyncio.timeout(10):
        while not waiting._has_started:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)


async def test_a_call_that_does_not_want_to_know_only_makes_its_channel_suspicious(quick_looks: None) -> None:
    heard: list[int] = []
    slow = asyncio.Event()

    def on_slow() -> None:
        heard.append(1)
        if len(heard) == 2:
            slow.set()

    async with H2Server() as server:
        channel = Channel(parse(server.endpoint), tls=None, options=TransportOptions(), on_slow=on_slow)
        task = slow_call(channel, looks=0)
        request = await server.request()
        await within(slow.wait())
        request.answer(b"answer")
        assert await within(task) == b"answer"
        await channel.aclose()


async def test_nobody_looks_after_a_channel_without_calls(quick_looks: None) -> None:
    async with H2Server() as server, channel_to(server) as channel:
        await warm(server, channel)
        async with asyncio.timeout(10):
            while channel._looking is not None:  # noqa: ASYNC110 - a timer tells nobody
                await asyncio.sleep(0)


async def test_closing_ends_the_looks() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        task = slow_call(channel)
        await server.request()
        await channel.aclose()
        assert channel._looking is None
        assert await within(asyncio.wait([task])) is not None
        assert task.exception() is not None


@pytest.mark.parametrize(("timeout", "looks"), [(None, SLOW_AGE), (5.0, SLOW_AGE), (1.6, 4), (0.8, 2), (0.01, 2)])
def test_a_call_with_little_time_is_slow_sooner(timeout: float | None, looks: int) -> None:
    assert looks_within(timeout) == looks


def test_an_ordinary_call_is_slow_after_more_than_a_second() -> None:
    assert 1.0 <= (SLOW_AGE - 1) * LOOK_INTERVAL < SLOW_AGE * LOOK_INTERVAL < 1.21


# Patience.


async def test_who_has_no_patience_leaves_the_connection_to_the_next(quick_looks: None) -> None:
    async with H2Server(greets=False) as server, channel_to(server) as channel:
        with pytest.raises(AttemptFailed, match=r"no connection within 0\.01 s") as caught:
            await channel.unary(PATH, b"", deadline=None, patience=0.01)
        assert not caught.value.sent
        task = call(channel)
        server.greets = True
        peer = await server.peer()
        peer.h2.receive_data(b"".join(peer.reads))
        peer.flush()
        (await server.request()).answer(b"pong")
        assert await within(task) == b"pong"
        assert len(server.peers) == 1


async def test_a_deadline_before_the_end_of_patience_is_a_deadline() -> None:
    async with H2Server(greets=False) as server, channel_to(server) as channel:
        with pytest.raises(DeadlineExceeded, match="while connecting"):
            await channel.unary(PATH, b"", deadline=time.monotonic() + 0.01, patience=10)


async def test_a_stream_has_no_more_patience_than_it_is_given() -> None:
    async with H2Server(greets=False) as server, channel_to(server) as channel:
        with pytest.raises(AttemptFailed, match=r"no connection within 0\.01 s"):
            await channel.open(PATH, patience=0.01)


# Connections that are left.


async def test_a_silent_connection_is_left_by_new_calls_and_kept_for_those_on_it() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        await warm(server, channel)
        waiting = call(channel)
        request = await server.request()
        seen = []
        for since in (0.0, time.monotonic() + 1):  # something was heard, nothing was heard
            channel.renew(since=since)
            seen.append(channel.is_connected)
        assert seen == [True, False]
        task = call(channel)
        other = await server.request()
        assert other.peer is not request.peer
        other.answer(b"new")
        request.answer(b"old")
        assert [await within(waiting), await within(task)] == [b"old", b"new"]
        await request.peer.lost()


async def test_a_silent_connection_without_calls_is_closed_at_once() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        await warm(server, channel)
        channel.renew(since=time.monotonic() + 1)
        await (await server.peer()).lost()


async def test_leaving_an_endpoint_lets_calls_end_and_makes_no_other_connection() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        await warm(server, channel)
        waiting = call(channel)
        request = await server.request()
        leaving = asyncio.create_task(channel.leave(10))
        await asyncio.sleep(0)
        with pytest.raises(AttemptFailed, match="no longer in use") as caught:
            await call(channel)
        assert not caught.value.sent
        request.answer(b"answer")
        assert await within(waiting) == b"answer"
        await within(leaving)


async def test_what_does_not_end_is_lost_when_its_endpoint_is_left() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        stream = await channel.open(PATH)
        await server.request()
        await within(channel.leave(0.01))
        with pytest.raises(AttemptFailed, match="no longer in use"):
            await within(stream.receive())


async def test_leaving_an_endpoint_ends_the_attempt_to_connect_there() -> None:
    async with H2Server(greets=False) as server, channel_to(server) as channel:
        waiting = call(channel)
        await server.peer()
        await within(channel.leave(10))
        with pytest.raises(AttemptFailed, match="no longer in use"):
            await within(waiting)


async def test_a_channel_says_when_it_is_connected_and_when_not() -> None:
    said: list[bool] = []
    async with H2Server() as server:
        channel = Channel(
            parse(server.endpoint),
            tls=None,
            options=TransportOptions(),
            backoff=QUICK,
            on_change=lambda: said.append(channel.is_connected),
        )
        await warm(server, channel)
        (await server.peer()).cut()
        async with asyncio.timeout(10):
            while len(said) < 2:  # noqa: ASYNC110 - the callback is what is tested
                await asyncio.sleep(0)
        await channel.aclose()
    assert said == [True, False]


async def test_a_connection_belongs_to_nobodys_context() -> None:
    request_id: ContextVar[str] = ContextVar("request_id", default="none")
    seen: list[str] = []
    async with H2Server() as server:
        channel = Channel(
            parse(server.endpoint),
            tls=None,
            options=TransportOptions(),
            on_change=lambda: seen.append(request_id.get()),
        )
        request_id.set("the first request")
        await warm(server, channel)
        await channel.aclose()
    assert seen[0] == "none"
