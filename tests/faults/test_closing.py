"""A client that is closed with everything in flight: within two seconds, and without a task left."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from etcd_async import Client, ClientClosed, EtcdError, LeaseLost, LockLost, Service, Unavailable
from etcd_async.testing import EtcdServer, FaultProxy
from tests.faults.support import own_tasks, start, tasks
from tests.support.live import forever, ticking, turns, until, within

pytestmark = [pytest.mark.faults, pytest.mark.loops("debug", "uvloop")]

EACH = 20
LIMIT = 1.5  # of two seconds; what is left is for the loop to come to it


class Busy:
    """Everything that a client can be in the midst of."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._entered = 0
        self.tasks: list[asyncio.Task[Any]] = []

    async def begin(self) -> None:
        """Start all of it, and wait until every scope is entered."""
        for number in range(EACH):
            self.tasks += [start(self._watch(number)), start(self._lease())]
        self.tasks += [start(self._lock()), start(self._register()), start(self._observe())]

        async def are_entered() -> bool:
            await self._client.get("/progress")
            return self._entered == 2 * EACH + 3

        await until(are_entered)
        self.tasks.append(start(self._wait_for_lock()))

        async def is_waiting() -> bool:
            return await self._client.count(prefix="busy/lock/") == 2

        await until(is_waiting)

    def call(self) -> None:
        """Make calls, which will be under way when the client is closed."""
        for number in range(EACH):
            self.tasks += [start(self._client.get(f"/get/{number}")), start(self._client.put(f"/put/{number}", "v"))]
            self.tasks.append(start(self._client.watch(f"/late/{number}").__aenter__()))

    async def ends(self) -> list[BaseException | None]:
        """Wait until all of it has ended, and return how."""
        await within(asyncio.wait(self.tasks))
        return [task.exception() for task in self.tasks]

    async def _watch(self, number: int) -> None:
        async with self._client.watch(f"/watch/{number}") as watch:
            self._entered += 1
            await anext(watch)

    async def _lease(self) -> None:
        async with self._client.lease(ttl=30):
            self._entered += 1
            await forever()

    async def _lock(self) -> None:
        async with self._client.lock("busy/lock", ttl=30):
            self._entered += 1
            await forever()

    async def _wait_for_lock(self) -> None:
        async with self._client.lock("busy/lock", ttl=30):
            await forever()

    async def _register(self) -> None:
        async with self._client.register(Service("busy", "1", "localhost:1")), self._client.watch("/never") as watch:
            self._entered += 1
            await anext(watch)

    async def _observe(self) -> None:
        self._entered += 1
        async for _ in self._client.election("busy/election").observe():
            pass


async def check_closing(client: Client, busy: Busy, before: set[asyncio.Task[Any]], *also: type[EtcdError]) -> None:
    """Close *client* and check that all that was under way ends in good time, and how."""
    await turns(1)
    async with ticking() as clock:
        await within(client.aclose(), 20)
        ends = await busy.ends()
        assert clock.seconds < LIMIT
    # A call that is answered while the client closes has no error.
    assert {type(end) for end in ends} <= {ClientClosed, LeaseLost, LockLost, type(None), *also}
    assert sum(isinstance(end, ClientClosed | LeaseLost) for end in ends) > 2 * EACH
    assert own_tasks() == []
    assert tasks() <= before


@asynccontextmanager
async def busy_client(endpoint: str) -> AsyncIterator[tuple[Client, Busy]]:
    async with Client(endpoint) as client:
        busy = Busy(client)
        await busy.begin()
        yield client, busy


async def test_closing_with_everything_in_flight_is_quick_and_clean(server: EtcdServer) -> None:
    before = tasks()
    async with busy_client(server.endpoint) as (client, busy):
        busy.call()
        await check_closing(client, busy, before)


async def test_closing_while_the_server_is_stopped_is_quick_and_clean(server: EtcdServer) -> None:
    before = tasks()
    async with busy_client(server.endpoint) as (client, busy):
        await server.pause()
        busy.call()
        await check_closing(client, busy, before)
        await server.resume()


async def test_closing_while_the_network_swallows_everything_is_quick_and_clean(
    server: EtcdServer, proxy: FaultProxy
) -> None:
    before = tasks()
    async with busy_client(proxy.endpoint) as (client, busy):
        proxy.blackhole()
        busy.call()
        await check_closing(client, busy, before)


async def test_closing_while_the_server_is_down_is_quick_and_clean(server: EtcdServer) -> None:
    before = tasks()
    async with busy_client(server.endpoint) as (client, busy):
        await server.kill()
        busy.call()
        await check_closing(client, busy, before, Unavailable)  # of the calls that the dying server took


@pytest.mark.parametrize("turned", [0, 1, 3, 20])
async def test_closing_in_the_midst_of_leaving_scopes_is_quick_and_clean(server: EtcdServer, turned: int) -> None:
    before = tasks()
    async with busy_client(server.endpoint) as (client, busy):
        await server.pause()
        for task in busy.tasks:
            task.cancel()
        await turns(turned)
        async with ticking() as clock:
            await within(client.aclose(), 20)
            await within(asyncio.wait(busy.tasks))
            assert clock.seconds < LIMIT
        assert all(task.cancelled() for task in busy.tasks)
        assert tasks() <= before
        await server.resume()


async def test_two_clients_of_one_loop_close_in_any_order(server: EtcdServer) -> None:
    before = tasks()
    first, second = Client(server.endpoint), Client(server.endpoint)
    async with first.watch("/k") as watch, second.watch("/k") as other:
        await first.aclose()
        await second.put("/k", "v")
        assert (await within(anext(other))).kv.value == b"v"
        with pytest.raises(ClientClosed):
            await within(anext(watch))
    await start(second.aclose())
    assert tasks() <= before
