"""Deadlines and cancellation: nothing stays behind on either side, and scopes around a call work as ever."""

import asyncio
import gc
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from h2.events import RequestReceived
from h2.settings import SettingCodes

from etcd_async._transport.calls import Unary
from etcd_async._transport.failure import AttemptFailed
from etcd_async.errors import DeadlineExceeded
from tests.support.h2server import H2Server, Request
from tests.support.live import running, within
from tests.unit.transport.support import PATH, call, channel_to, run_out, warm

pytestmark = pytest.mark.loops("asyncio", "debug", "uvloop")

CANCEL = 8


def open_streams(channel: object) -> int:
    connection = channel._connector.current  # type: ignore[attr-defined]
    return len(connection.outbox.unfinished())


@asynccontextmanager
async def when_sent(server: H2Server, action: Callable[[], None]) -> AsyncIterator[None]:
    """Do *action* when a request has come to *server*."""

    async def wait() -> None:
        await server.request()
        action()

    async with running(wait()):
        yield


async def test_a_deadline_resets_the_stream_with_cancel() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        await warm(server, channel)
        task = call(channel, deadline=time.monotonic() + 60)
        request = await server.request()
        run_out(channel)
        assert await request.reset() == CANCEL
        with pytest.raises(DeadlineExceeded) as caught:
            await within(task)
        assert caught.value.maybe_applied
        assert open_streams(channel) == 0


async def test_a_deadline_in_the_queue_was_applied_by_nobody() -> None:
    async with H2Server(settings={SettingCodes.MAX_CONCURRENT_STREAMS: 1}) as server, channel_to(server) as channel:
        await warm(server, channel)
        first = call(channel)
        request = await server.request()
        with pytest.raises(DeadlineExceeded) as caught:
            await channel.unary(PATH, b"", deadline=time.monotonic() + 0.02)
        assert not caught.value.maybe_applied
        request.answer(b"first")
        assert await within(first) == b"first"
        assert len(request.peer.events(RequestReceived)) == 2


async def test_a_deadline_that_has_passed_already_ends_the_call_unsent() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        with pytest.raises(DeadlineExceeded):
            await within(channel.unary(PATH, b"", deadline=time.monotonic() - 1))
        await warm(server, channel)
        for attempt in (channel.unary(PATH, b"", deadline=time.monotonic() - 1), channel.open(PATH, deadline=0.0)):
            with pytest.raises(DeadlineExceeded) as caught:
                await within(attempt)
            assert not caught.value.maybe_applied
        await warm(server, channel)
        assert len((await server.peer()).events(RequestReceived)) == 2


async def test_deadlines_of_many_calls_are_kept_each() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        await warm(server, channel)
        started = time.monotonic()

        async def one(delay: float) -> float:
            with pytest.raises(DeadlineExceeded):
                await channel.unary(PATH, b"", deadline=started + delay)
            return time.monotonic() - started - delay

        last = asyncio.create_task(one(3600))
        assert min(await within(asyncio.gather(one(0.09), one(0.03), one(0.06)))) >= 0
        assert not last.done()
        run_out(channel)
        await within(last)


async def test_cancelling_resets_the_stream_with_cancel() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        task = call(channel)
        request = await server.request()
        task.cancel()
        assert await request.reset() == CANCEL
        with pytest.raises(asyncio.CancelledError):
            await task
        assert open_streams(channel) == 0


async def test_a_cancelled_big_request_frees_its_place_in_the_round() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        await warm(server, channel)
        peer = await server.peer()
        peer.opens_windows = False
        big = call(channel, bytes(500_000))
        stuck = await server.request()
        await peer.until(lambda: len(stuck.body) > 60_000)
        big.cancel()
        assert await stuck.reset() == CANCEL
        small = call(channel, b"small")
        request = await server.request()
        peer.opens_windows = True
        peer.h2.increment_flow_control_window(200_000)
        peer.flush()
        assert await request.message() == b"small"
        request.answer(b"ok")
        assert await within(small) == b"ok"


async def test_a_deadline_leaves_the_task_uncancelled_for_the_scopes_around_it() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        task = asyncio.current_task()
        assert task is not None
        with pytest.raises(DeadlineExceeded):
            await channel.unary(PATH, b"", deadline=time.monotonic() + 0.01)
        assert task.cancelling() == 0
        forever = asyncio.Event()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await forever.wait()
        with anyio.move_on_after(0.01) as scope:
            await forever.wait()
        assert scope.cancelled_caught
        assert task.cancelling() == 0


async def test_scopes_around_a_call_end_it_and_nothing_else() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        await warm(server, channel)
        task = asyncio.current_task()
        assert task is not None
        now = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60) as limit, when_sent(server, lambda: limit.reschedule(now)):
                await channel.unary(PATH, b"", deadline=None)
        with anyio.move_on_after(60) as scope:
            async with when_sent(server, lambda: setattr(scope, "deadline", now)):
                await channel.unary(PATH, b"", deadline=None)
        assert scope.cancelled_caught
        with pytest.raises(TimeoutError), anyio.fail_after(60) as last:
            async with when_sent(server, lambda: setattr(last, "deadline", now)):
                await channel.unary(PATH, b"", deadline=None)
        assert task.cancelling() == 0
        assert open_streams(channel) == 0
        peer = await server.peer()
        await peer.until(lambda: [each.reset_code for each in peer.requests.values()] == [None, *[CANCEL] * 3])


async def test_cancelling_in_the_turn_of_the_loss_is_not_swallowed() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        task = call(channel)
        await server.request()
        connection = channel._connector.current
        assert connection is not None
        connection.abort("cut")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_cancelling_in_the_turn_of_the_answer_leaves_nothing() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        task = call(channel)
        request = await (await server.request()).whole()
        connection = channel._connector.current
        assert connection is not None
        plain = connection.data_received

        def receive_and_cancel(data: bytes) -> None:
            plain(data)
            task.cancel()

        connection.data_received = receive_and_cancel  # type: ignore[method-assign]
        request.refuse(5, "no")
        with pytest.raises(asyncio.CancelledError):
            await within(task)
        assert open_streams(channel) == 0


async def test_cancelling_in_the_turn_in_which_a_call_is_found_slow_and_ends_is_quiet() -> None:
    """Its answer has moved to a future that nobody has seen yet when the deadline ends it."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with H2Server() as server, channel_to(server) as channel:
        await warm(server, channel)
        task = asyncio.create_task(channel.unary(PATH, b"ping", deadline=None, looks=1))
        await server.request()
        connection = channel._connector.current
        assert connection is not None
        [exchange] = connection.outbox.unfinished()
        assert isinstance(exchange, Unary)
        exchange.on_look(connection.abandon)
        exchange.on_failed(DeadlineExceeded())
        task.cancel()
        await within(asyncio.wait([task]))
        assert task.cancelled()
        del exchange, task
        gc.collect()
        assert complaints == []
        assert open_streams(channel) == 0


async def test_a_thousand_calls_cancelled_at_random_points_leave_nothing_on_either_side() -> None:
    chance = random.Random(7)

    def answer(request: Request) -> None:
        if chance.random() < 0.5:
            request.answer(b"x" * chance.randrange(50_000))

    limit = {SettingCodes.MAX_CONCURRENT_STREAMS: 20}
    async with H2Server(settings=limit) as server, channel_to(server) as channel:
        await warm(server, channel)
        server.answers = answer

        async def one(number: int) -> None:
            scope = anyio.move_on_after(chance.random() * 0.02)
            with scope:
                await channel.unary(PATH, bytes(chance.randrange(30_000)), deadline=None)
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0

        await within(asyncio.gather(*map(one, range(1000))), 30)
        assert open_streams(channel) == 0
        peer = await server.peer()
        await peer.until(lambda: peer.h2.open_inbound_streams == 0)
        server.answers = lambda request: request.answer(b"well")
        assert await within(call(channel)) == b"well"


async def test_a_waiter_for_a_stream_can_be_cancelled_and_the_rest_keep_their_order() -> None:
    async with H2Server(settings={SettingCodes.MAX_CONCURRENT_STREAMS: 1}) as server, channel_to(server) as channel:
        tasks = [call(channel, b"%d" % number) for number in range(4)]
        first = await server.request()
        tasks[1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[1]
        first.answer(b"")
        for number in (2, 3):
            request = await server.request()
            assert await request.message() == b"%d" % number
            request.answer(b"")
        await within(asyncio.gather(tasks[0], *tasks[2:]))


async def test_waiters_for_a_stream_fail_at_once_when_the_connection_dies() -> None:
    async with H2Server(settings={SettingCodes.MAX_CONCURRENT_STREAMS: 1}) as server, channel_to(server) as channel:
        tasks = [call(channel) for _ in range(3)]
        (await server.request()).peer.cut()
        for task in tasks:
            with pytest.raises(AttemptFailed):
                await within(task)


async def test_more_streams_are_used_as_soon_as_the_server_allows_them() -> None:
    async with H2Server(settings={SettingCodes.MAX_CONCURRENT_STREAMS: 1}) as server, channel_to(server) as channel:
        tasks = [call(channel) for _ in range(3)]
        first = await server.request()
        first.peer.change_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 3})
        rest = [await server.request(), await server.request()]
        for request in (first, *rest):
            request.answer(b"")
        await within(asyncio.gather(*tasks))
