"""What several tests of faults need: loop turns, what a client still has open, and who is connected where."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, Final, TypeVar

from etcd_async import Client, EtcdError, Lease, PutResult, Watch
from etcd_async.testing import EtcdServer
from tests.support.live import PATIENCE, until, watchers, within

T = TypeVar("T")

QUICK: Final = ("--heartbeat-interval=10", "--election-timeout=100")
"""Arguments of an etcd that elects itself in a tenth of a second; its shortest lease is 1 s."""

STEADY: Final = ("--election-timeout=5000",)
"""Arguments of a cluster that keeps its leader although the machine stands still for some seconds."""

UNFORGETFUL: Final = ("--backend-batch-interval=10m", "--backend-batch-limit=1000000")
"""
Arguments that keep etcd 3.5.1 from losing an acknowledged write when it is killed (see `EtcdServer`).

Without them a transaction of a hundred keys was once gone after the restart while later ones were there.
"""

KIB: Final = 1024
MIB: Final = 1024 * 1024

_OF_PROXIES = ("etcd_async.proxy", "etcd_async.testing._link")


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start


def start(coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start *coroutine* as a task of the test."""
    return asyncio.create_task(coroutine)


async def in_turn(work: Callable[[int], Awaitable[T]], numbers: Iterable[int], *, workers: int) -> list[T]:
    """Do *work* for each of *numbers*, so many at a time, and return the results in order."""
    numbered = enumerate(numbers)
    results: dict[int, T] = {}

    async def run() -> None:
        for index, number in numbered:
            results[index] = await work(number)

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(run())
    return [results[index] for index in sorted(results)]


async def outcome(work: Awaitable[T]) -> T | EtcdError:
    """Return what *work* returns, or its error if that is one of ours."""
    try:
        return await work
    except EtcdError as error:
        return error


async def written(client: Client, key: str, lease: Lease | None = None) -> int:
    """Write *key* until that is acknowledged, which may be more than once, and return its revision."""
    while not isinstance(result := await outcome(client.put(key, "v", lease=lease, timeout=3)), PutResult):
        pass
    return result.revision


async def until_renewed(lease: Lease, reader: Client, *, after: float | None = None, seconds: float = PATIENCE) -> None:
    """Wait until *lease* was renewed by a request sent *after* some moment of ``time.monotonic()``, or after now."""
    moment = time.monotonic() if after is None else after

    async def is_renewed() -> bool:
        await reader.get("/clock", timeout=seconds)
        return lease.expires_at > moment + lease.ttl

    await until(is_renewed, seconds)


async def seen_until(watch: Watch, revision: int) -> list[int]:
    """Return the revisions of all events up to *revision*."""
    seen: list[int] = []
    async for event in watch:
        seen.append(event.revision)
        if event.revision >= revision:
            break
    return seen


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel *task* and wait until it has ended, in whichever way."""
    task.cancel()
    await within(asyncio.wait([task]))
    if not task.cancelled():
        task.exception()


def tasks() -> set[asyncio.Task[Any]]:
    """Return all tasks of this loop but those of a proxy, which come and go with its connections."""
    return {task for task in asyncio.all_tasks() if not task.get_name().startswith(_OF_PROXIES)}


def own_tasks() -> list[str]:
    """Return the names of the clients' own tasks in this loop, in order."""
    return sorted(task.get_name() for task in tasks() if task.get_name().startswith("etcd_async"))


def open_exchanges(client: Client) -> int:
    """Return how many calls and streams are open on the client's connections, or wait to be."""
    channels = client._core.caller._channels.values()
    outboxes = [connection.outbox for channel in channels for connection in channel._connector.live]
    return sum(len(outbox.open) + len(outbox._waiting) for outbox in outboxes)


class Baseline:
    """What a client and its server have when nothing goes on; `check` waits until it is so again."""

    def __init__(self, client: Client, server: EtcdServer) -> None:
        self._client = client
        self._server = server
        self._tasks: list[str] = []
        self._everybody: set[asyncio.Task[Any]] = set()

    async def take(self) -> None:
        """Use everything once, so that what stays open is open, and note what there is then."""
        async with self._client.watch("/baseline"), self._client.lease(ttl=60):
            await self._client.get("/baseline")
        await self.idle()
        self._tasks = own_tasks()
        self._everybody = tasks()

    async def idle(self) -> None:
        """Wait until no call is open and no watch or lease is left, here and on the server."""
        await until(self._is_idle)

    async def check(self) -> None:
        """Wait until nothing is left of what happened since `take`, and fail with what it is if something stays."""
        with suppress(TimeoutError):
            await until(self._is_as_before, 15.0)
            return
        assert await self._client.leases.list() == []
        assert await watchers(self._server) == 0
        assert open_exchanges(self._client) == 0
        assert own_tasks() == self._tasks
        assert tasks() <= self._everybody

    async def _is_idle(self) -> bool:
        leases = await self._client.leases.list()
        return not leases and await watchers(self._server) == 0 and open_exchanges(self._client) == 0

    async def _is_as_before(self) -> bool:
        return await self._is_idle() and own_tasks() == self._tasks and tasks() <= self._everybody
