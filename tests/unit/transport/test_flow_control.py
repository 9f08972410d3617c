"""Windows in both directions (RFC 9113 §5.2, §6.9)."""

import asyncio

import pytest
from h2.events import ConnectionTerminated, DataReceived
from h2.settings import SettingCodes

from etcd_async._transport.channel import Channel
from etcd_async._transport.failure import AttemptFailed
from etcd_async.errors import ProtocolError
from tests.support.h2server import H2Server, Request, prefixed, raw_frame
from tests.support.live import within
from tests.unit.transport.support import PATH, call, channel_to, options, warm

pytestmark = pytest.mark.loops("asyncio", "uvloop")

MIB = 1024 * 1024
ANSWER_BLOCK = b"\x88\x0f\x10\x10application/grpc"
SMALL = {"stream_window": 65_535, "connection_window": 65_535}


def echo(request: Request) -> None:
    request.answer(request.messages[0])


async def test_a_large_request_and_a_large_answer_pass_small_windows() -> None:
    body = bytes(range(256)) * 8000
    async with H2Server(answers=echo) as server, channel_to(server, options(**SMALL)) as channel:
        assert await within(channel.unary(PATH, body, deadline=None)) == body


async def test_an_answer_of_64_mib_arrives() -> None:
    async with H2Server(answers=lambda r: r.answer(bytes(64 * MIB))) as server, channel_to(server) as channel:
        assert len(await within(channel.unary(PATH, b"", deadline=None), 30)) == 64 * MIB


async def received(requests: list[Request], total: int) -> None:
    await requests[0].peer.until(lambda: sum(len(request.body) for request in requests) >= total)


async def test_many_large_requests_share_the_connections_window_fairly() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        await warm(server, channel)
        peer = await server.peer()
        peer.opens_windows = False
        peer.change_settings({SettingCodes.INITIAL_WINDOW_SIZE: 10 * MIB})
        await peer.echo()
        tasks = [call(channel, bytes(MIB)) for _ in range(4)]
        requests = [await server.request() for _ in tasks]
        total = 0
        for _ in range(20):
            peer.h2.increment_flow_control_window(64 * 1024)
            peer.flush()
            total += 64 * 1024
            await received(requests, total)
            sizes = [len(request.body) for request in requests]
            assert max(sizes) - min(sizes) <= 2 * 16_384
        late = call(channel, b"late and small")
        last = await server.request()
        peer.h2.increment_flow_control_window(5 * 16_384)
        peer.flush()
        assert await last.message() == b"late and small"
        for task in (*tasks, late):
            task.cancel()


async def test_a_smaller_initial_window_makes_open_windows_negative_and_is_waited_out() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        await warm(server, channel)
        peer = await server.peer()
        peer.opens_windows = False
        peer.h2.increment_flow_control_window(MIB)
        task = call(channel, bytes(100_000))
        request = await server.request()
        await peer.until(lambda: len(request.body) == 65_535)
        peer.change_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1000})
        await peer.echo()
        connection = channel._connector.current
        assert connection is not None
        [exchange] = connection.outbox.open.values()
        assert exchange.send_window == 1000 - 65_535
        peer.h2.increment_flow_control_window(64_535, request.stream_id)
        await peer.echo()
        assert len(request.body) == 65_535
        peer.h2.increment_flow_control_window(500, request.stream_id)
        peer.flush()
        await peer.until(lambda: len(request.body) == 66_035)
        peer.change_settings({SettingCodes.INITIAL_WINDOW_SIZE: MIB})
        await request.whole()
        request.answer(b"")
        await within(task)


async def test_larger_frames_are_sent_once_the_server_takes_them() -> None:
    async with H2Server(settings={SettingCodes.MAX_FRAME_SIZE: 50_000}) as server, channel_to(server) as channel:
        await warm(server, channel)
        task = call(channel, bytes(60_000))
        request = await (await server.request()).whole()
        request.answer(b"")
        await within(task)
        sizes = [len(event.data) for event in request.peer.events(DataReceived)]
        assert sizes[1:] == [50_000, 10_005]


async def failed_connection(channel: Channel, server: H2Server, frame: bytes) -> tuple[str, int]:
    """Send *frame* during a call and return the call's reason and the client's error code."""
    task = call(channel)
    request = await (await server.request()).whole()
    request.peer.write(frame)
    with pytest.raises(AttemptFailed) as caught:
        await within(task)
    goodbye = await request.peer.event(ConnectionTerminated)
    return caught.value.reason, int(goodbye.error_code or 0)


async def test_the_connections_window_may_not_pass_its_maximum() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        _, code = await failed_connection(channel, server, raw_frame(8, 0, 0, b"\x7f\xff\xff\xff"))
        assert code == 3


async def test_a_streams_window_past_its_maximum_ends_that_stream_only() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        task = call(channel)
        request = await (await server.request()).whole()
        request.peer.write(raw_frame(8, 0, request.stream_id, b"\x7f\xff\xff\xff"))
        with pytest.raises(ProtocolError, match="past"):
            await within(task)
        assert await request.reset() == 3
        task = call(channel)
        request = await (await server.request()).whole()
        request.peer.write(raw_frame(8, 0, request.stream_id, bytes(4)))
        with pytest.raises(ProtocolError, match="by 0"):
            await within(task)
        assert await request.reset() == 1
        assert len(server.peers) == 1


async def test_a_setting_that_makes_a_window_pass_its_maximum_ends_the_connection() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        grow = raw_frame(8, 0, 1, b"\x7f\xfe\0\0")
        setting = raw_frame(4, 0, 0, b"\0\4" + (2**31 - 1).to_bytes(4, "big"))
        reason, code = await failed_connection(channel, server, grow + setting)
        assert "2^31-1" in reason
        assert code == 3


async def test_a_server_that_overruns_the_streams_window_loses_that_stream() -> None:
    async with H2Server() as server, channel_to(server, options(stream_window=65_535)) as channel:
        stream = await channel.open(PATH)
        request = await server.request()
        request.send_headers()
        start = raw_frame(0, 0, request.stream_id, b"\0" + (MIB).to_bytes(4, "big"))
        request.peer.write(start + raw_frame(0, 0, request.stream_id, bytes(16_384)) * 4)
        assert await request.reset() == 3
        with pytest.raises(ProtocolError, match="window"):
            await within(stream.receive())
        assert channel.is_connected


async def test_a_server_that_overruns_the_connections_window_loses_the_connection() -> None:
    async with H2Server() as server, channel_to(server, options(**SMALL)) as channel:
        start = raw_frame(1, 4, 1, ANSWER_BLOCK) + raw_frame(0, 0, 1, b"\0\0\xff\xff\xff")
        overrun = start + raw_frame(0, 0, 1, bytes(16_384)) * 4
        task = call(channel)
        peer = (await (await server.request()).whole()).peer
        connection = channel._connector.current
        assert connection is not None
        connection.data_received(overrun)  # in one piece, so that nothing can be granted in between
        with pytest.raises(AttemptFailed, match="connection's window"):
            await within(task)
        goodbye = await peer.event(ConnectionTerminated)
        assert goodbye.error_code == 3


async def test_padding_counts_against_the_windows_and_is_granted_again() -> None:
    def answer(request: Request) -> None:
        request.send_headers()
        for _ in range(2000):
            request.peer.h2.send_data(request.stream_id, b"", pad_length=255)
            request.peer.flush()
            if request.peer.h2.local_flow_control_window(request.stream_id) < 1000:
                break
        request.send_data(prefixed(b"pong"))
        request.send_trailers()

    async with H2Server(answers=answer) as server, channel_to(server, options(**SMALL)) as channel:
        for _ in range(3):
            assert await within(call(channel)) == b"pong"


async def test_a_paused_transport_holds_calls_back_and_resuming_lets_them_go() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        await warm(server, channel)
        connection = channel._connector.current
        assert connection is not None
        connection.pause_writing()
        tasks = [call(channel) for _ in range(3)]
        await asyncio.sleep(0)
        assert len(connection.outbox.unfinished()) == 3
        assert not connection.outbox.open
        connection.resume_writing()
        for _ in tasks:
            (await (await server.request()).whole()).answer(b"")
        await within(asyncio.gather(*tasks))


async def test_a_server_that_pings_and_reads_nothing_is_cut_off() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        await warm(server, channel)
        connection = channel._connector.current
        assert connection is not None
        connection.pause_writing()
        task = call(channel)
        for _ in range(400):  # in small doses, which are no flood by themselves
            connection.data_received(raw_frame(6, 0, 0, b"pingping") * 16)
        with pytest.raises(AttemptFailed, match="floods") as caught:
            await within(task)
        assert not caught.value.sent
