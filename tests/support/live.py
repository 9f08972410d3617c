"""What tests on a live server need: deadlines, tasks that do not outlive a test, and the server's own counters."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, TypeVar

from etcd_async import Client
from etcd_async.testing import EtcdServer, FaultProxy

T = TypeVar("T")

PATIENCE: Final = 20.0
"""Seconds until a test takes what it waits for to be missing; who promises a time says so itself."""


async def within(awaitable: Awaitable[T], seconds: float = PATIENCE) -> T:
    """Return what *awaitable* does, or fail after *seconds*."""
    async with asyncio.timeout(seconds):
        return await awaitable


async def take(source: AsyncIterator[T], number: int, seconds: float = PATIENCE) -> list[T]:
    """Return the next *number* items of *source*, or fail after *seconds*."""
    async with asyncio.timeout(seconds):
        return [await anext(source) for _ in range(number)]


async def until(check: Callable[[], Awaitable[bool]], seconds: float = PATIENCE) -> None:
    """Ask *check*, which is a round trip to the server, again and again until it says yes."""
    async with asyncio.timeout(seconds):
        while not await check():
            pass


async def lose_answer(proxy: FaultProxy, is_done: Callable[[], Awaitable[bool]]) -> None:
    """
    Reset the connections of *proxy*, which swallows answers, as soon as the server has done what it was asked.

    Another client must tell whether that *is_done*. That bytes were swallowed tells nothing: etcd also sends some of
    its own, which may be all that was lost before the request has even left.
    """
    await until(is_done)
    proxy.cut()
    proxy.heal()


async def caught_up(endpoints: Iterable[str]) -> None:
    """Wait until each of these members has applied whatever any of them has told of: it answers a read of now."""
    for endpoint in endpoints:
        async with Client(endpoint, timeout=20) as client:
            await client.get("/caught-up")


async def forever() -> None:
    """Wait for something that never happens."""
    await asyncio.Event().wait()


async def turns(number: int) -> None:
    """Let the event loop turn *number* times."""
    for _ in range(number):
        await asyncio.sleep(0)


@asynccontextmanager
async def running(coroutine: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Run *coroutine* beside the body; it is cancelled at the end, if it has not ended."""
    task = asyncio.create_task(coroutine)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


class Ticker:
    """
    A clock that stands still while the machine has no time for this process: a hundredth of a second counts as two at
    most, however long it took.

    Attributes:
        seconds: How long it has been going.
    """

    def __init__(self) -> None:
        self.seconds: float = 0.0

    async def go(self) -> None:
        """Go, until cancelled."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            self.seconds += min(time.monotonic() - before, 0.02)


@asynccontextmanager
async def ticking() -> AsyncIterator[Ticker]:
    """A clock that goes while the body runs."""
    ticker = Ticker()
    async with running(ticker.go()):
        yield ticker


async def metric(server: EtcdServer, line: str) -> float:
    """Return the server's own count of something; *line* is its name in ``/metrics``, with labels if it has some."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.ports.metrics)
    try:
        writer.write(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
        text = (await reader.read()).decode()
    finally:
        writer.close()
        await writer.wait_closed()
    found = [each.removeprefix(line) for each in text.splitlines() if each.startswith(f"{line} ")]
    return float(found[0]) if found else 0.0


async def until_versioned(server: EtcdServer) -> None:
    """Wait until the server's cluster has agreed on its version, which takes a new one a moment or up to 5 s."""
    line = ".".join(server.version.split(".")[:2])
    await until(partial(_has_version, server, line), 30)


async def _has_version(server: EtcdServer, version: str) -> bool:
    return await metric(server, f'etcd_cluster_version{{cluster_version="{version}"}}') == 1


async def streams_started(server: EtcdServer, service: str, method: str) -> float:
    """Return how many two-way streams of *method* clients have ever opened."""
    labels = f'grpc_method="{method}",grpc_service="etcdserverpb.{service}",grpc_type="bidi_stream"'
    return await metric(server, f"grpc_server_started_total{{{labels}}}")


async def watchers(server: EtcdServer) -> float:
    """Return how many watches the server has."""
    return await metric(server, "etcd_debugging_mvcc_watcher_total")
