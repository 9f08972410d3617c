"""A client in another event loop than its own: a clear error, before anything is touched."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from etcd_async._protocol.endpoints import parse
from etcd_async._transport.caller import Caller
from etcd_async._transport.methods import PUT, WATCH
from etcd_async._transport.tasks import Tasks
from etcd_async.client import Client
from etcd_async.errors import ClientClosed
from etcd_async.options import Credentials
from tests.support.h2server import H2Server
from tests.support.live import within

BELONGS = "belongs to the event loop that it was first used in"


async def put(caller: Caller) -> bytes:
    return await caller.unary(PUT, b"", timeout=5.0)


async def watch(caller: Caller) -> Any:
    return await caller.open(WATCH, timeout=5.0)


Use = Callable[[Caller], Awaitable[Any]]
USES = pytest.mark.parametrize("use", [put, watch])


def in_a_loop_of_its_own(use: Use, caller: Caller) -> None:
    async def run() -> None:
        with pytest.raises(RuntimeError, match=BELONGS):
            await within(use(caller))

    asyncio.run(run())


@USES
def test_a_later_run_is_told_and_may_close_the_client(use: Use) -> None:
    async def first() -> Caller:
        async with H2Server(answers=lambda request: request.answer(b"")) as server:
            caller = Caller([parse(server.endpoint)])
            await put(caller)
            [channel] = caller.roster.channels.values()
            channel._connector.cut("the test is over")
            await channel._connector.wait_closed()
            return caller

    caller = asyncio.run(first())
    in_a_loop_of_its_own(use, caller)
    asyncio.run(caller.aclose())


@USES
@pytest.mark.parametrize("endpoints", [1, 2])
def test_another_threads_loop_is_told_and_nothing_is_sent_for_it(use: Use, endpoints: int) -> None:
    async def own() -> None:
        async with H2Server(answers=lambda request: request.answer(b"")) as one, H2Server() as other:
            caller = Caller([parse(one.endpoint)])
            await put(caller)
            if endpoints == 2:
                caller.set_endpoints([parse(other.endpoint)])
            await asyncio.to_thread(in_a_loop_of_its_own, use, caller)
            await caller.aclose()
            await one.peers[0].lost()
            assert len(one.peers[0].requests) == 1
            assert not other.peers

    asyncio.run(own())


async def test_background_tasks_are_not_started_for_another_loop() -> None:
    tasks = Tasks(lambda error: None)
    own = tasks.start("own", asyncio.Event().wait)

    async def start() -> None:
        with pytest.raises(RuntimeError, match=BELONGS):
            tasks.start("foreign", asyncio.Event().wait)

    await asyncio.to_thread(lambda: asyncio.run(start()))
    assert not own.future.done()
    await tasks.aclose()


async def test_a_client_that_has_no_background_tasks_yet_starts_none_in_another_loop() -> None:
    crashes: list[Exception] = []
    tasks = Tasks(crashes.append)
    async with H2Server(answers=lambda request: request.answer(b"")) as server:
        caller = Caller([parse(server.endpoint)], tasks=tasks)
        await put(caller)

        async def start() -> None:
            with pytest.raises(RuntimeError, match=BELONGS):
                tasks.start("foreign", lambda: put(caller))

        await asyncio.to_thread(lambda: asyncio.run(start()))
        assert await within(tasks.start("own", lambda: put(caller)).future) == b""
        await caller.aclose()
        await tasks.aclose()
    assert not crashes


async def test_another_loop_does_not_wait_for_a_login_under_way() -> None:
    async with H2Server() as server:
        caller = Caller([parse(server.endpoint)], credentials=Credentials("root", "pw"))
        login = asyncio.create_task(caller.log_in(timeout=5.0))
        await server.request()
        await asyncio.to_thread(in_a_loop_of_its_own, put, caller)
        await caller.aclose()
        with pytest.raises(ClientClosed):
            await within(login)


async def test_another_loop_may_not_close_a_client_that_is_at_work() -> None:
    async with H2Server(answers=lambda request: request.answer(b"")) as server, Client(server.endpoint) as client:
        await put(client._core.caller)
        await asyncio.to_thread(in_a_loop_of_its_own, lambda _: client.aclose(), client._core.caller)
        await put(client._core.caller)
