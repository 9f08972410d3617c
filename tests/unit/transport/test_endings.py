"""How calls end without an answer: resets, goodbyes, cuts; and the truth about what was sent."""

import asyncio
import time

import pytest
from h2.events import ConnectionTerminated
from h2.settings import SettingCodes

from etcd_async._transport.failure import AttemptFailed
from etcd_async.errors import DeadlineExceeded
from tests.support.h2server import H2Server, Request, raw_frame
from tests.support.live import within
from tests.unit.transport.support import PATH, call, channel_to, options, warm

pytestmark = pytest.mark.loops("asyncio", "uvloop")

FOREVER = 2**31 - 1
ONE_AT_A_TIME = {SettingCodes.MAX_CONCURRENT_STREAMS: 1}


async def failure(task: "asyncio.Task[bytes]") -> AttemptFailed:
    with pytest.raises(AttemptFailed) as caught:
        await within(task)
    return caught.value


@pytest.mark.parametrize(
    ("code", "name", "sent"),
    [
        (0, "NO_ERROR", True),
        (2, "INTERNAL_ERROR", True),
        (7, "REFUSED_STREAM", False),
        (8, "CANCEL", True),
        (11, "ENHANCE_YOUR_CALM", True),
    ],
)
async def test_a_reset_stream_says_why_and_whether_it_was_processed(code: int, name: str, sent: bool) -> None:
    async with H2Server() as server, channel_to(server) as channel:
        task = call(channel)
        (await server.request()).abandon(code)
        error = await failure(task)
        assert (error.sent, error.reason) == (sent, f"the server reset the stream: {name}")
        assert error.endpoint == server.endpoint
        assert channel.is_connected


async def test_a_request_reset_before_all_of_it_had_left_was_not_sent() -> None:
    async with H2Server(settings={SettingCodes.INITIAL_WINDOW_SIZE: 10}) as server, channel_to(server) as channel:
        task = call(channel, bytes(1000))
        (await server.request()).abandon(8)
        assert not (await failure(task)).sent


async def test_a_goodbye_lets_calls_finish_and_new_ones_take_a_new_connection() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        old = call(channel)
        first = await server.request()
        first.peer.goaway(FOREVER)
        await first.peer.echo()
        new = call(channel)
        second = await server.request()
        assert second.peer is not first.peer
        second.answer(b"new")
        assert await within(new) == b"new"
        first.answer(b"old")
        assert await within(old) == b"old"
        await first.peer.lost()
        assert len(server.peers) == 2


async def test_streams_above_the_last_one_were_not_sent() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        tasks = [call(channel) for _ in range(3)]
        first, *_ = [await server.request() for _ in tasks]
        first.peer.goaway(first.stream_id)
        for task in tasks[1:]:
            error = await failure(task)
            assert not error.sent
            assert error.reason == "the server said goodbye: NO_ERROR"
        first.answer(b"one")
        assert await within(tasks[0]) == b"one"
        await first.peer.lost()


async def test_a_second_goodbye_may_lower_the_last_stream() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        task = call(channel)
        request = await server.request()
        request.peer.goaway(FOREVER)
        request.peer.goaway(0)
        assert not (await failure(task)).sent


async def test_the_first_true_reason_is_kept_with_the_servers_own_words() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        task = call(channel)
        request = await (await server.request()).whole()
        request.peer.goaway(FOREVER, 11, b"too_many_pings")
        request.peer.transport.close()
        error = await failure(task)
        assert error.reason == "the server said goodbye: ENHANCE_YOUR_CALM: too_many_pings"
        assert error.sent


async def test_too_many_pings_doubles_the_interval_of_the_next_connections() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        task = call(channel)
        (await server.request()).peer.goaway(0, 11, b"too_many_pings")
        await failure(task)
        assert channel._connector._ping_interval == 20


async def test_a_cut_fails_everything_at_once_with_the_truth_about_sent() -> None:
    async with H2Server(settings=ONE_AT_A_TIME) as server, channel_to(server) as channel:
        tasks = [call(channel) for _ in range(3)]
        request = await (await server.request()).whole()
        request.peer.cut()
        errors = [await failure(task) for task in tasks]
        assert [error.sent for error in errors] == [True, False, False]
        assert len({error.reason for error in errors}) == 1


async def test_a_request_that_left_only_in_part_was_not_sent() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        await warm(server, channel)
        (await server.peer()).opens_windows = False
        task = call(channel, bytes(1_000_000))
        request = await server.request()
        await request.peer.until(lambda: len(request.body) > 60_000)
        request.peer.cut()
        assert not (await failure(task)).sent


async def test_the_server_closing_is_told_as_such() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        task = call(channel)
        request = await (await server.request()).whole()
        request.peer.transport.close()
        error = await failure(task)
        assert (error.sent, error.reason) == (True, "the server closed the connection")


async def test_a_call_whose_time_is_up_when_the_server_resets_it_exceeded_its_deadline() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        await warm(server, channel)
        task = call(channel, deadline=time.monotonic() + 60)
        request = await server.request()
        connection = channel._connector.current
        assert connection is not None
        [exchange] = connection.outbox.unfinished()
        exchange.deadline = time.monotonic()  # of which the timer knows nothing: it can't be first
        request.abandon(8)
        with pytest.raises(DeadlineExceeded):
            await within(task)


@pytest.mark.parametrize(
    ("frame", "code", "said"),
    [
        (raw_frame(0, 0, 99, b"x"), 1, "DATA frame of stream 99"),
        (raw_frame(0, 0, 0, b"x"), 1, "DATA frame of stream 0"),
        (raw_frame(0, 0, 2, b"x"), 1, "DATA frame of stream 2"),
        (raw_frame(1, 4, 99, b"\x88"), 1, "HEADERS frame of stream 99"),
        (raw_frame(3, 0, 99, bytes(4)), 1, "RST_STREAM frame of stream 99"),
        (raw_frame(3, 0, 1, bytes(3)), 6, "RST_STREAM frame of 3 bytes"),
        (raw_frame(8, 0, 99, b"\0\0\0\1"), 1, "WINDOW_UPDATE frame of stream 99"),
        (raw_frame(8, 0, 0, b"\x7f\xff\xff\xff"), 3, ""),
        (raw_frame(8, 0, 0, bytes(4)), 1, ""),
        (raw_frame(4, 0, 1, b""), 1, "SETTINGS frame of stream 1"),
        (raw_frame(4, 0, 0, b"abc"), 6, ""),
        (raw_frame(4, 0, 0, b"\0\4\xff\xff\xff\xff"), 3, ""),
        (raw_frame(5, 4, 1, b"\0\0\0\2\x88"), 1, "pushed"),
        (raw_frame(6, 0, 1, bytes(8)), 1, "PING frame of stream 1"),
        (raw_frame(6, 0, 0, bytes(7)), 6, ""),
        (raw_frame(7, 0, 1, bytes(8)), 1, "GOAWAY frame of stream 1"),
        (raw_frame(7, 0, 0, bytes(7)), 6, "GOAWAY"),
        (raw_frame(9, 4, 1, b"\x88"), 1, "continues nothing"),
        (raw_frame(1, 0, 1, b"\x88") + raw_frame(6, 0, 0, bytes(8)), 1, "interrupted"),
        (raw_frame(1, 0, 1, b"\x88") + raw_frame(0xFA, 0, 1), 1, "interrupted"),
        (raw_frame(1, 0, 1, b"\x88") + raw_frame(9, 4, 3, b"\x88"), 1, "interrupted"),
        (raw_frame(1, 0, 1, b"") + raw_frame(9, 0, 1, b"") * 100, 11, "without end"),
        (raw_frame(1, 0, 1, b"") + raw_frame(9, 0, 1, bytes(16000)) * 5, 11, "without end"),
        (raw_frame(1, 4, 1, b"\xff\xff\xff"), 9, "not HPACK"),
        (raw_frame(1, 4, 1, b"\x40\x01a\x7f\x81\x1e" + b"x" * 3968 + b"\xbe" * 100), 11, "without measure"),
        (raw_frame(0, 0, 1, bytes(16_385)), 6, "16385 bytes"),
        (raw_frame(0, 8, 1, b"\x09abc"), 1, "padding"),
    ],
)
async def test_a_broken_connection_is_told_to_the_peer_and_to_every_call(frame: bytes, code: int, said: str) -> None:
    async with H2Server() as server, channel_to(server) as channel:
        tasks = [call(channel), call(channel)]
        request = await (await server.request()).whole()
        await (await server.request()).whole()
        request.peer.write(frame)
        for task in tasks:
            error = await failure(task)
            assert "the server broke HTTP/2" in error.reason
            assert said in error.reason
            assert error.sent
        goodbye = await request.peer.event(ConnectionTerminated)
        assert goodbye.error_code == code
        again = call(channel)
        (await server.request()).answer(b"again")
        assert await within(again) == b"again"


@pytest.mark.parametrize(
    "frame",
    [
        raw_frame(0xFA, 0xFF, 0, b"abcd"),
        raw_frame(0xFA, 0, 1, b"abcd"),
        raw_frame(0xFA, 0, 99, b"abcd"),
        raw_frame(0x0A, 0, 0, b"\0\5hellox"),
        raw_frame(0x0A, 0, 1, b"\0\0x"),
        raw_frame(2, 0, 1, b"\0\0\0\0\0"),
        raw_frame(2, 0, 99, b"\0\0\0\0\0"),
        raw_frame(6, 1, 0, b"unasked!"),
        raw_frame(4, 0, 0, b"\x33\x33\0\0\0\1"),
        raw_frame(8, 0, 1, b"\0\0\0\1"),
        raw_frame(0, 0, 1, b"") * 100,
    ],
)
async def test_frames_that_mean_nothing_to_us_are_passed_over(frame: bytes) -> None:
    def answer(request: Request) -> None:
        if request.stream_id == 1:
            request.send_headers()
            request.peer.write(frame)
            request.send_message(b"a")
            request.send_trailers()
        else:
            request.answer(b"b")

    async with H2Server(answers=answer) as server, channel_to(server) as channel:
        assert await within(call(channel)) == b"a"
        assert await within(call(channel)) == b"b"
        assert len(server.peers) == 1


async def test_padding_priority_and_continuation_are_understood() -> None:
    def answer(request: Request) -> None:
        block = request.peer.h2.encoder.encode([(":status", "200"), ("content-type", "application/grpc")])
        trailers = request.peer.h2.encoder.encode([("grpc-status", "0")])
        start, rest = block[:3], block[3:]
        request.peer.write(
            raw_frame(1, 8 | 32, request.stream_id, b"\x04\0\0\0\0\7" + start + bytes(4))
            + raw_frame(9, 0, request.stream_id, b"")
            + raw_frame(9, 4, request.stream_id, rest)
            + raw_frame(0, 8, request.stream_id, b"\xff" + b"\0\0\0\0\4po" + bytes(255))
            + raw_frame(0, 8, request.stream_id, b"\0ng")
            + raw_frame(1, 1 | 4 | 8, request.stream_id, b"\0" + trailers)
        )

    async with H2Server(answers=answer) as server, channel_to(server) as channel:
        for _ in range(3):
            assert await within(call(channel)) == b"pong"


async def test_what_trails_a_finished_stream_does_no_harm() -> None:
    def answer(request: Request) -> None:
        request.answer(b"x")
        late = [raw_frame(0, 0, request.stream_id, bytes(10_000)), raw_frame(8, 0, request.stream_id, b"\0\0\0\1")]
        request.peer.write(b"".join(late) * 3)

    small = options(stream_window=65_535, connection_window=65_535)
    async with H2Server(answers=answer) as server, channel_to(server, small) as channel:
        for _ in range(10):
            assert await within(call(channel)) == b"x"
        assert len(server.peers) == 1
        assert await channel.unary(PATH, b"", deadline=None) == b"x"
