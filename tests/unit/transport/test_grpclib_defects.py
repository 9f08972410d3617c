"""
One test for each of the twelve defects of grpclib 0.4.9 that keep its own calls out of this package.

grpclib makes our connections (`etcd_async._transport.http2`); what went wrong in its calls must not come back in ours.
"""

import asyncio
import time

import anyio
import pytest
from h2.events import PingReceived
from h2.settings import SettingCodes

from etcd_async._transport.failure import AttemptFailed
from etcd_async.errors import ClientClosed, DeadlineExceeded, ResponseTooLarge
from tests.support.h2server import H2Server, raw_frame
from tests.support.live import within
from tests.unit.transport.support import PATH, call, channel_to, options, warm

pytestmark = pytest.mark.loops("asyncio", "uvloop")

FOREVER = 2**31 - 1
MIB = 1024 * 1024


async def test_01_an_unread_stream_does_not_stop_calls_on_its_connection() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        stream = await channel.open(PATH)
        watched = await server.request()
        watched.send_headers()
        watched.send_message(bytes(6 * MIB))
        await watched.peer.echo()
        server.answers = lambda request: request.answer(bytes(MIB))
        assert len(await within(call(channel))) == MIB
        stream.cancel()


async def test_02_a_deadline_or_a_loss_leaves_no_cancellation_behind() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        await warm(server, channel)
        task = asyncio.current_task()
        assert task is not None

        async def outlive_a_deadline() -> None:
            with pytest.raises(DeadlineExceeded):
                await channel.unary(PATH, b"", deadline=time.monotonic() + 0.01)
            await asyncio.Event().wait()

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await outlive_a_deadline()
        asyncio.get_running_loop().call_soon((await server.peer()).cut)
        with anyio.move_on_after(0.05) as scope:
            with pytest.raises(AttemptFailed):
                await channel.unary(PATH, b"", deadline=None)
            await anyio.sleep_forever()
        assert scope.cancelled_caught
        assert task.cancelling() == 0


async def test_03_a_cancel_in_the_turn_of_a_loss_is_not_swallowed() -> None:
    async with H2Server() as server, channel_to(server) as channel:

        async def user() -> str:
            with pytest.raises(AttemptFailed):
                await channel.unary(PATH, b"", deadline=None)
            return "survived its own cancellation"

        for loses_first in (True, False):
            task = asyncio.create_task(user())
            await server.request()
            connection = channel._connector.current
            assert connection is not None
            steps = [lambda now=connection: now.abort("lost"), task.cancel]
            for step in steps if loses_first else reversed(steps):
                step()
            with pytest.raises(asyncio.CancelledError):
                await within(task)


async def test_04_a_graceful_goaway_lets_calls_in_flight_finish() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        task = call(channel)
        request = await (await server.request()).whole()
        request.peer.goaway(FOREVER)
        await request.peer.echo()
        request.answer(b"finished")
        assert await within(task) == b"finished"


async def test_05_the_reason_of_a_goaway_is_kept() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        task = call(channel)
        request = await (await server.request()).whole()
        request.peer.goaway(FOREVER, 11, b"too_many_pings")
        request.peer.transport.close()
        with pytest.raises(AttemptFailed, match="ENHANCE_YOUR_CALM: too_many_pings"):
            await within(task)


async def test_what_a_goaway_says_is_repeated_shortly_and_escaped() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        task = call(channel)
        request = await (await server.request()).whole()
        request.peer.goaway(FOREVER, 0, b"\x1b[2J\n\xff" + b"x" * 5000)
        request.peer.transport.close()
        with pytest.raises(AttemptFailed) as caught:
            await within(task)
        assert caught.value.reason.isprintable()
        assert len(caught.value.reason) < 300


async def test_06_calls_that_wait_for_a_stream_end_with_the_connection() -> None:
    async with H2Server(settings={SettingCodes.MAX_CONCURRENT_STREAMS: 1}) as server, channel_to(server) as channel:
        tasks = [call(channel), call(channel)]
        (await server.request()).peer.cut()
        for task in tasks:
            with pytest.raises(AttemptFailed):
                await within(task)


async def test_07_calls_that_wait_for_the_transport_end_with_the_connection() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        await warm(server, channel)
        peer = await server.peer()
        peer.opens_windows = False
        big = call(channel, bytes(MIB))
        await server.request()
        connection = channel._connector.current
        assert connection is not None
        connection.pause_writing()
        small = call(channel)
        await asyncio.sleep(0)
        peer.cut()
        for task in (big, small):
            with pytest.raises(AttemptFailed) as caught:
                await within(task)
            assert not caught.value.sent


async def test_08_a_black_hole_is_noticed_with_bytes_still_to_be_written() -> None:
    made = options(ping_interval=0.03, ping_timeout=0.03)
    async with H2Server() as server, channel_to(server, made) as channel:
        await warm(server, channel)
        peer = await server.peer()
        peer.transport.pause_reading()
        connection = channel._connector.current
        assert connection is not None
        connection._transport.write(bytes(20 * MIB))
        with pytest.raises(AttemptFailed, match="no sign of life"):
            await within(call(channel))
        peer.transport.abort()


async def test_09_pings_go_on_for_as_long_as_a_stream_is_open() -> None:
    async with H2Server() as server, channel_to(server, options(ping_interval=0.02)) as channel:
        stream = await channel.open(PATH)
        await (await server.request()).peer.event(PingReceived, 5)
        stream.cancel()


@pytest.mark.parametrize("kind", ["unknown", "altsvc", "103"])
async def test_10_frames_and_headers_of_no_concern_are_passed_over(kind: str) -> None:
    async with H2Server() as server, channel_to(server) as channel:
        task = call(channel)
        request = await (await server.request()).whole()
        if kind == "unknown":
            request.peer.write(raw_frame(0xFA, 0, 0, b"abcd"))
        elif kind == "altsvc":
            request.peer.write(raw_frame(10, 0, 0, b"\0\5helloxyzw"))
        else:
            request.send_headers((":status", "103"))
        request.answer(b"pong")
        assert await within(task) == b"pong"


async def test_11_a_message_that_announces_256_mib_is_refused_unread() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        task = call(channel)
        request = await (await server.request()).whole()
        request.send_headers()
        request.send_data(b"\0" + (256 * MIB).to_bytes(4, "big") + bytes(MIB))
        with pytest.raises(ResponseTooLarge):
            await within(task)
        assert await request.reset() == 8


async def test_12_a_closed_channel_stays_closed() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        await warm(server, channel)
        await within(channel.aclose())
        with pytest.raises(ClientClosed):
            await channel.unary(PATH, b"", deadline=None)
        assert len(server.peers) == 1
