"""A server that means harm: it loses its connection, or its call, in bounded memory and time, and harms nobody else."""

import asyncio
import time
import tracemalloc
from types import TracebackType
from typing import Final, Self

import pytest
from h2.events import ConnectionTerminated

from etcd_async._protocol import frames
from etcd_async._protocol.headers import literal
from etcd_async._transport.channel import Channel
from etcd_async._transport.failure import AttemptFailed
from etcd_async.errors import DeadlineExceeded, ProtocolError, RpcError, StatusCode
from tests.support.h2server import H2Server, Request, prefixed, raw_frame
from tests.support.hostile import END, START, HostileServer, Script, answer
from tests.support.live import within
from tests.unit.transport.support import PATH, call, channel_to, options, run_out, warm

pytestmark = pytest.mark.loops("asyncio", "uvloop")

MIB: Final = 1024 * 1024
MOST_MEMORY: Final = 8 * MIB
MOST_SECONDS: Final = 5.0
LARGE: Final = literal(b"x", b"y" * 4000)
INSERTS: Final = b"\x40\x01x\x7f\xa1\x1e" + b"y" * 4000  # a field of 4000 bytes, to be kept in the dynamic table
ENDS: Final = ("the server broke HTTP/2", "the server floods", "the server said goodbye")
ONE_XX: Final = b"\x08\x03103"

FLOODS: Final[dict[str, Script]] = {
    "pings": Script(forever=raw_frame(6, 0, 0, b"floodfld") * 1000),
    "pings, reading nothing": Script(forever=raw_frame(6, 0, 0, b"floodfld") * 1000, reads=False),
    "ping answers": Script(forever=raw_frame(6, 1, 0, b"floodfld") * 1000),
    "settings": Script(forever=raw_frame(4, 0, 0, b"\0\4\0\0\xff\xff") * 1000),
    "settings, reading nothing": Script(forever=raw_frame(4, 0, 0) * 1000, reads=False),
    "windows of the connection": Script(forever=frames.window_update(0, 1) * 1000),
    "windows of a stream": Script(forever=frames.window_update(3, 1) * 1000),
    "unknown frames": Script(forever=raw_frame(0xFA, 0, 3, b"x" * 100) * 1000),
    "priorities": Script(forever=raw_frame(2, 0, 3, bytes(5)) * 1000),
    "empty data": Script(raw_frame(1, 4, 3, START), raw_frame(0, 0, 3) * 1000),
    "padding only": Script(raw_frame(1, 4, 3, START), raw_frame(0, 8, 3, b"\xff" + bytes(255)) * 100),
    "empty data of a stream that is over": Script(answer(1), raw_frame(0, 0, 1) * 1000),
    "resets of a stream that is over": Script(answer(1), raw_frame(3, 0, 1, bytes(4)) * 1000),
    "headers of a stream that is over": Script(answer(1), raw_frame(1, 4, 1, START) * 1000),
    "large headers of a stream that is over": Script(answer(1), raw_frame(1, 4, 1, LARGE * 4) * 100),
    "header bombs, each just under the limit": Script(
        answer(1) + raw_frame(1, 4, 1, INSERTS), raw_frame(1, 4, 1, b"\xbe" * 15) * 1000
    ),
    "early hints": Script(forever=raw_frame(1, 4, 3, ONE_XX) * 1000),
    "goodbyes": Script(forever=raw_frame(7, 0, 0, b"\x7f\xff\xff\xff\0\0\0\0" + b"x" * 1000) * 100),
    "headers without end": Script(raw_frame(1, 0, 3, START), raw_frame(9, 0, 3, LARGE)),
    "headers without end or content": Script(raw_frame(1, 0, 3, START), raw_frame(9, 0, 3)),
    "half a frame without end": Script(raw_frame(1, 4, 3, START) + b"\xff\xff\xff\0\0\0\0\0\3", bytes(65536)),
}


class Effort:
    """
    What a block took.

    Attributes:
        seconds: How long the processor worked, whatever else the machine did meanwhile.
        peak: The most memory that was allocated in it at one time, in bytes.
    """

    def __enter__(self) -> Self:
        tracemalloc.start()
        self._began = time.process_time()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.process_time() - self._began
        self.peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()


async def disturbed(other: Channel, task: "asyncio.Task[bytes]") -> float:
    """Call *other* again and again while *task* is not done; return how long the processor worked in the longest."""
    longest = 0.0
    while not task.done():
        began = time.process_time()
        assert await within(call(other)) == b"fine"
        longest = max(longest, time.process_time() - began)
    return longest


@pytest.mark.parametrize("script", FLOODS.values(), ids=FLOODS)
async def test_a_flood_ends_its_connection_soon_in_little_memory_and_stops_no_other(script: Script) -> None:
    async with H2Server(answers=lambda request: request.answer(b"fine")) as good, channel_to(good) as other:
        with HostileServer(script) as server:
            async with channel_to(server.endpoint) as channel:
                assert await within(call(other)) == b"fine"
                with Effort() as effort:
                    first, second = call(channel), call(channel)
                    longest = await disturbed(other, second)
                error = second.exception()
                assert isinstance(error, AttemptFailed)
                assert error.reason.startswith(ENDS)
                assert error.sent
                assert effort.peak < MOST_MEMORY
                assert effort.seconds < MOST_SECONDS
                assert longest < MOST_SECONDS / 2
                await within(asyncio.wait([first]))
                assert first.exception() is None or isinstance(first.exception(), AttemptFailed)
                assert await within(call(channel)) == b"well"


async def test_a_message_in_tiny_pieces_and_a_frame_in_single_bytes_still_come_through() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        task = call(channel)
        request = await (await server.request()).whole()
        body = prefixed(b"x" * 300)
        said = answer(request.stream_id)[: len(START) + 9]
        said += b"".join(raw_frame(0, 0, request.stream_id, body[at : at + 1]) for at in range(len(body)))
        said += raw_frame(1, 5, request.stream_id, END)
        connection = channel._connector.current
        assert connection is not None
        for at in range(len(said)):
            connection.data_received(said[at : at + 1])
        assert await within(task) == b"x" * 300


def invalid_utf8(request: Request) -> None:
    block = b"\x88\x0f\x10\x10application/grpc" + literal(b"grpc-status", b"5")
    block += literal(b"grpc-message", b"etcdserver: \xff\xfe key %ff\x1b[2J not found")
    request.peer.write(raw_frame(1, 5, request.stream_id, block))


def no_number(request: Request) -> None:
    request.refuse("1e3", "what")


def huge_number(request: Request) -> None:
    request.refuse("9" * 5000, "what")


def long_message(request: Request) -> None:
    request.refuse(13, "x" * 60_000)


def two_ends(request: Request) -> None:
    request.answer(b"pong")
    request.peer.write(raw_frame(1, 5, request.stream_id, b"\x00\x0bgrpc-status\x015") * 2)


def data_behind_the_end(request: Request) -> None:
    request.answer(b"pong")
    request.peer.write(raw_frame(0, 1, request.stream_id, prefixed(b"more")))


def trailers_that_do_not_end(request: Request) -> None:
    request.send_headers()
    request.send_message(b"pong")
    request.peer.write(raw_frame(1, 4, request.stream_id, END))


def length_beyond_the_data(request: Request) -> None:
    request.send_headers()
    request.send_data(b"\0" + (1000).to_bytes(4, "big") + b"short")
    request.send_trailers()


def absurd_status(request: Request) -> None:
    request.peer.write(raw_frame(1, 5, request.stream_id, literal(b":status", b"-200 OK" * 100)))


@pytest.mark.parametrize(
    ("answers", "code", "said"),
    [
        (invalid_utf8, StatusCode.NOT_FOUND, "\ufffd\ufffd key \ufffd"),
        (no_number, StatusCode.UNKNOWN, "what (grpc-status out of range)"),
        (huge_number, StatusCode.UNKNOWN, "what (grpc-status out of range)"),
        (long_message, StatusCode.INTERNAL, "x" * 1000),
        (absurd_status, StatusCode.UNKNOWN, "HTTP -1"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_an_odd_refusal_is_an_error_of_its_call_only(answers: object, code: StatusCode, said: str) -> None:
    async with H2Server() as server, channel_to(server) as channel:
        await warm(server, channel)
        task = call(channel)
        assert callable(answers)
        answers(await (await server.request()).whole())
        with pytest.raises(RpcError) as caught:
            await within(task)
        assert caught.value.code is code
        assert said in caught.value.message
        assert str(caught.value).encode()
        assert len(server.peers) == 1
        await warm(server, channel)


@pytest.mark.parametrize("answers", [two_ends, data_behind_the_end], ids=lambda value: value.__name__)
async def test_what_comes_behind_the_end_of_an_answer_changes_nothing(answers: object) -> None:
    async with H2Server() as server, channel_to(server) as channel:
        for _ in range(3):
            task = call(channel)
            assert callable(answers)
            answers(await (await server.request()).whole())
            assert await within(task) == b"pong"
        assert len(server.peers) == 1


@pytest.mark.parametrize(
    ("answers", "said"),
    [(trailers_that_do_not_end, "in the middle"), (length_beyond_the_data, "cut its last message short")],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_an_answer_that_contradicts_itself_is_an_error_of_its_call_only(answers: object, said: str) -> None:
    async with H2Server() as server, channel_to(server) as channel:
        task = call(channel)
        assert callable(answers)
        answers(await (await server.request()).whole())
        with pytest.raises(ProtocolError, match=said) as caught:
            await within(task)
        assert caught.value.maybe_applied
        await warm(server, channel)
        assert len(server.peers) == 1


async def test_trailers_that_never_come_are_waited_for_until_the_deadline() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        await warm(server, channel)
        task = call(channel, deadline=time.monotonic() + 60)
        request = await server.request()
        request.send_headers()
        request.send_message(b"pong")
        await request.peer.echo()
        run_out(channel)
        with pytest.raises(DeadlineExceeded) as caught:
            await within(task)
        assert caught.value.maybe_applied
        assert await request.reset() == 8


@pytest.mark.parametrize(
    ("block", "code"),
    [
        (b"\x80", 9),  # index 0
        (b"\xff\x80\x80\x80\x80\x80\x01", 9),  # an index beyond every table
        (b"\x3f\xe2\x7f", 9),  # a table larger than we allow
        (b"\x88\x20", 9),  # a change of the table's size that does not come first
        (b"\x00\x81\xff\x01a", 9),  # Huffman code that ends in nothing
        (b"\x00\x7f\xff\xff\xff\xff\x0fa", 9),  # a name longer than its block
        (b"\x3f" + b"\x80" * 16_000 + b"\x01", 9),  # a number of thousands of digits
        (b"\x00\x01a\x01", 9),  # cut short
        (INSERTS + b"\xbe" * 17, 11),  # 68 kB in 4 kB
    ],
)
async def test_header_blocks_that_lie_end_the_connection(block: bytes, code: int) -> None:
    async with H2Server() as server, channel_to(server) as channel:
        tasks = [call(channel), call(channel)]
        request = await (await server.request()).whole()
        await (await server.request()).whole()
        request.peer.write(raw_frame(1, 4, request.stream_id, block))
        for task in tasks:
            with pytest.raises(AttemptFailed, match="broke HTTP/2"):
                await within(task)
        assert (await request.peer.event(ConnectionTerminated)).error_code == code
        await warm(server, channel)


@pytest.mark.parametrize("last_id", [2, 2**31 - 2, 2**31 + 1, 2**32 - 1])
async def test_an_odd_last_stream_of_a_goodbye_is_taken_as_a_number(last_id: int) -> None:
    async with H2Server() as server, channel_to(server) as channel:
        tasks = [call(channel) for _ in range(2)]
        first, second = [await (await server.request()).whole() for _ in tasks]
        first.peer.goaway(last_id)
        first.answer(b"first")
        assert await within(tasks[0]) == b"first"
        if last_id & (2**31 - 1) < second.stream_id:
            with pytest.raises(AttemptFailed) as caught:
                await within(tasks[1])
            assert not caught.value.sent
        else:
            second.answer(b"second")
            assert await within(tasks[1]) == b"second"


async def test_a_goodbye_that_takes_its_words_back_is_not_believed() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        tasks = [call(channel) for _ in range(2)]
        first, _ = [await (await server.request()).whole() for _ in tasks]
        first.peer.goaway(first.stream_id)
        with pytest.raises(AttemptFailed):
            await within(tasks[1])
        first.peer.goaway(2**31 - 1)
        first.answer(b"first")
        assert await within(tasks[0]) == b"first"
        await warm_elsewhere(server, channel)


async def warm_elsewhere(server: H2Server, channel: Channel) -> None:
    """Make a call, and see that it takes another connection than the first."""
    task = call(channel)
    request = await server.request()
    assert request.peer is not server.peers[0]
    request.answer(b"")
    await within(task)


async def test_every_stream_reset_at_once_is_an_error_of_each_call() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        tasks = [call(channel) for _ in range(1000)]
        for _ in tasks:
            (await server.request()).abandon(2)
        results = await within(asyncio.gather(*tasks, return_exceptions=True))
        assert all(isinstance(each, AttemptFailed) and each.sent for each in results)
        assert len(server.peers) == 1
        await warm(server, channel)


async def test_messages_without_content_fill_no_memory() -> None:
    window = 65_535
    made = options(stream_window=window, connection_window=2 * window)
    async with H2Server() as server, channel_to(server, made) as channel:
        stream = await channel.open(PATH)
        request = await server.request()
        request.send_headers()
        request.send_data(prefixed(b"") * 100_000)
        await request.peer.echo()
        assert len(stream._messages) == window // 5
        for _ in range(100_000):
            assert await within(stream.receive()) == b""
        stream.cancel()
