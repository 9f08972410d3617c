"""Server streams and duplex streams against a scripted server."""

import asyncio
import time

import anyio
import pytest
from h2.events import RequestReceived
from h2.settings import SettingCodes

from etcd_async._transport.failure import AttemptFailed
from etcd_async.errors import (
    ClientClosed,
    DeadlineExceeded,
    PermissionDenied,
    ProtocolError,
    RequestTooLarge,
    ResponseTooLarge,
)
from tests.support.h2server import H2Server, Request, prefixed
from tests.support.live import within
from tests.unit.transport.support import call, channel_to, options, run_out, warm

pytestmark = pytest.mark.loops("asyncio", "uvloop")

WATCH = "/etcdserverpb.Watch/Watch"
CANCEL = 8


async def test_messages_go_both_ways_until_both_have_ended() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        stream = await channel.open(WATCH, metadata=(("hasleader", "true"),))
        stream.send(b"one")
        stream.send(b"two")
        request = await server.request()
        assert (request.path, request.headers["hasleader"]) == (WATCH, "true")
        assert await request.message(1) == b"two"
        assert request.messages == [b"one", b"two"]
        request.send_headers()
        request.send_message(b"uno")
        assert await within(stream.receive()) == b"uno"
        stream.send(b"three", end=True)
        await request.whole()
        assert request.messages[2] == b"three"
        request.send_trailers()
        assert await within(stream.receive()) is None
        assert await within(stream.receive()) is None
        await request.peer.echo()
        assert request.reset_code is None


async def test_a_stream_may_end_its_side_without_a_message_or_later() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        for sends in (True, False):
            stream = await channel.open(WATCH)
            if sends:
                stream.send(b"x")
                await (request := await server.request()).message()
                stream.end()
            else:
                stream.end()
                request = await server.request()
            stream.end()
            await request.whole()
            with pytest.raises(RuntimeError):
                stream.send(b"y")
            request.refuse(0)
            assert await within(stream.receive()) is None


async def test_the_open_and_its_first_messages_leave_in_one_write() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        await warm(server, channel)
        peer = await server.peer()
        before = len(peer.reads)
        stream = await channel.open(WATCH)
        stream.send(b"one")
        stream.send(b"two")
        await (await server.request()).message(1)
        assert len(peer.reads) - before == 1
        stream.cancel()


async def test_what_came_before_an_error_is_handed_out_first() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        stream = await channel.open(WATCH)
        request = await server.request()
        request.send_headers()
        request.send_message(b"a")
        request.send_message(b"b")
        request.send_trailers(7, "etcdserver: permission denied")
        await request.peer.echo()
        assert [await within(stream.receive()), await within(stream.receive())] == [b"a", b"b"]
        for _ in range(2):
            with pytest.raises(PermissionDenied):
                await within(stream.receive())


async def test_a_server_that_ends_first_is_told_that_we_are_done_too() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        stream = await channel.open(WATCH)
        request = await server.request()
        request.refuse(0)
        assert await within(stream.receive()) is None
        assert await request.reset() == 0
        stream.send(b"dropped")
        stream.end()


async def test_cancel_resets_the_stream_and_forgets_everything() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        stream = await channel.open(WATCH)
        request = await server.request()
        request.send_headers()
        request.send_message(b"never read")
        await request.peer.echo()
        stream.cancel()
        stream.cancel()
        assert await request.reset() == CANCEL
        with pytest.raises(AttemptFailed, match="cancelled here"):
            await within(stream.receive())
        assert channel.is_connected


async def test_a_stream_cancelled_before_its_bytes_left_is_never_seen() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        await warm(server, channel)
        stream = await channel.open(WATCH)
        stream.send(b"secret")
        stream.cancel()
        await warm(server, channel)
        assert len((await server.peer()).events(RequestReceived)) == 2


async def test_cancelling_the_receiver_leaves_the_stream_as_it_was() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        stream = await channel.open(WATCH)
        request = await server.request()
        with anyio.move_on_after(0.01):
            await stream.receive()
        receiver = asyncio.create_task(stream.receive())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another task"):
            await stream.receive()
        request.send_headers()
        request.send_message(b"here")
        assert await within(receiver) == b"here"
        stream.cancel()


async def test_a_waiting_receiver_is_told_of_the_end() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        stream = await channel.open(WATCH)
        request = await server.request()
        receiver = asyncio.create_task(stream.receive())
        await asyncio.sleep(0)
        request.peer.cut()
        with pytest.raises(AttemptFailed) as caught:
            await within(receiver)
        assert caught.value.sent


async def test_a_refused_stream_was_not_sent() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        stream = await channel.open(WATCH)
        (await server.request()).abandon(7)
        with pytest.raises(AttemptFailed) as caught:
            await within(stream.receive())
        assert not caught.value.sent


async def test_a_stream_has_a_deadline_if_it_was_given_one() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        await warm(server, channel)
        stream = await channel.open(WATCH, deadline=time.monotonic() + 60)
        request = await server.request()
        assert "grpc-timeout" in request.headers
        run_out(channel)
        with pytest.raises(DeadlineExceeded):
            await within(stream.receive())
        assert await request.reset() == CANCEL


async def test_closing_the_channel_ends_its_streams() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        stream = await channel.open(WATCH)
        await server.request()
        receiver = asyncio.create_task(stream.receive())
        await asyncio.sleep(0)
        await within(channel.aclose())
        with pytest.raises(ClientClosed):
            await within(receiver)


async def test_limits_hold_for_messages_of_streams() -> None:
    made = options(max_send_bytes=10, max_receive_bytes=10)
    async with H2Server() as server, channel_to(server, made) as channel:
        stream = await channel.open(WATCH)
        with pytest.raises(RequestTooLarge):
            stream.send(bytes(11))
        stream.send(bytes(10))
        request = await server.request()
        assert await request.message() == bytes(10)
        request.send_headers()
        request.send_data(prefixed(bytes(11)))
        with pytest.raises(ResponseTooLarge):
            await within(stream.receive())


@pytest.mark.parametrize("cut", [1, 4, 6])
async def test_a_last_message_cut_short_is_an_error(cut: int) -> None:
    async with H2Server() as server, channel_to(server) as channel:
        stream = await channel.open(WATCH)
        request = await server.request()
        request.send_headers()
        request.send_data(prefixed(b"whole") + prefixed(b"broken")[:cut])
        request.send_trailers()
        assert await within(stream.receive()) == b"whole"
        with pytest.raises(ProtocolError, match="cut its last message short"):
            await within(stream.receive())


async def test_an_unread_stream_holds_at_most_its_window_and_stops_nothing_else() -> None:
    window, unread = 100_000, b"x" * 10_000
    made = options(stream_window=window, connection_window=2 * window)
    async with H2Server() as server, channel_to(server, made) as channel:
        stream = await channel.open(WATCH)
        watched = await server.request()
        watched.send_headers()
        for _ in range(100):
            watched.send_message(unread)
        await watched.peer.echo()
        assert stream.held == window
        assert watched.peer.h2.local_flow_control_window(watched.stream_id) == 0
        server.answers = lambda request: request.answer(b"y" * 1_000_000)
        for _ in range(3):
            assert len(await within(call(channel))) == 1_000_000
        for _ in range(100):
            assert await within(stream.receive()) == unread
        assert stream.held == 0
        stream.cancel()


async def test_a_message_larger_than_the_window_arrives_when_somebody_waits_for_it() -> None:
    made = options(stream_window=65_535, connection_window=65_535)
    async with H2Server() as server, channel_to(server, made) as channel:
        stream = await channel.open(WATCH)
        request = await server.request()
        request.send_headers()
        big = bytes(range(256)) * 4000
        for message in (b"small", big, b"", big, b"last"):
            request.send_message(message)
        request.send_trailers()
        got = [await within(stream.receive()) for _ in range(5)]
        assert got == [b"small", big, b"", big, b"last"]
        assert await within(stream.receive()) is None
        assert (stream.held, len(server.peers)) == (0, 1)


async def test_a_thousand_messages_sent_at_once_arrive_in_order() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        stream = await channel.open(WATCH)
        sent = [b"%d" % number * 100 for number in range(1000)]
        for message in sent:
            stream.send(message)
        stream.end()
        request = await (await server.request()).whole()
        assert request.messages == sent
        stream.cancel()


async def test_open_waits_for_its_turn_among_the_streams_the_server_allows() -> None:
    async with H2Server(settings={SettingCodes.MAX_CONCURRENT_STREAMS: 1}) as server, channel_to(server) as channel:
        first = await channel.open(WATCH)
        second = await channel.open(WATCH)
        second.send(b"second", end=True)
        request = await server.request()
        assert len(request.peer.requests) == 1
        first.cancel()
        waiting = await (await server.request()).whole()
        assert waiting.messages == [b"second"]

        def answer(request: Request) -> None:
            request.send_headers()
            request.send_trailers()

        answer(waiting)
        assert await within(second.receive()) is None
