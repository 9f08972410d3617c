"""A thousand calls cancelled wherever they happen to be: nothing stays behind, and timeouts around them still work."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import pytest

from etcd_async import Client, get, put, version
from etcd_async.testing import EtcdServer, FaultProxy
from tests.faults.support import Baseline, start
from tests.support.live import turns, within

pytestmark = pytest.mark.faults

CALLS = 1000


async def use_lease(client: Client) -> None:
    async with client.lease(ttl=30) as lease:
        await client.put("/cancelled/leased", "v", lease=lease)


async def use_watch(client: Client) -> None:
    async with client.watch(prefix="/cancelled/") as watch:
        await anext(watch)


async def use_lock(client: Client) -> None:
    async with client.lock("locks/cancelled", ttl=30):
        await client.get("/cancelled/1")


async def use_election(client: Client) -> None:
    async with client.election("elections/cancelled", identity="me", ttl=30).campaign() as leadership:
        await leadership.proclaim("still me")


async def use_scan(client: Client) -> None:
    async for _ in client.scan(prefix="/", page_size=1):
        pass


CallOf = Callable[[Client], Awaitable[object]]

CALLS_OF: list[CallOf] = [
    lambda client: client.get("/cancelled/1"),
    lambda client: client.put("/cancelled/1", "v"),
    lambda client: client.txn(when=[version("/x") == 0], then=[put("/cancelled/2", "v")], otherwise=[get("/x")]),
    lambda client: client.range(prefix="/cancelled/"),
    lambda client: client.leases.time_to_live(1),
    lambda client: client.move("/cancelled/1", "/cancelled/3", overwrite=True),
    use_lease,
    use_watch,
    use_lock,
    use_election,
    use_scan,
]


async def cancel_after(number: int, call: CallOf, client: Client) -> asyncio.Task[object]:
    """Start *call*, cancel it after *number* turns of the loop, and wait for its end."""

    async def run() -> object:
        return await call(client)

    task = start(run())
    await turns(number)
    task.cancel()
    await within(asyncio.wait([task]), 20)
    return task


async def test_a_thousand_calls_cancelled_at_random_leave_nothing(server: EtcdServer, client: Client) -> None:
    chance = random.Random(2)
    baseline = Baseline(client, server)
    await baseline.take()
    ended: list[asyncio.Task[object]] = []
    for first in range(0, CALLS, 20):
        together = [
            cancel_after(chance.randrange(chance.choice([4, 60, 600])), CALLS_OF[each % len(CALLS_OF)], client)
            for each in range(first, first + 20)
        ]
        ended += await asyncio.gather(*together)
    was_cancelled = [task for task in ended if task.cancelled()]
    errors = [task.exception() for task in ended if not task.cancelled() and task.exception() is not None]
    # A move of a key that is not there is the one honest error.
    assert {type(error).__name__ for error in errors} <= {"KeyNotFound"}
    assert len(was_cancelled) > CALLS // 4
    await baseline.check()
    assert await client.keys(prefix="locks/") == []
    assert await client.keys(prefix="elections/") == []


async def test_an_enclosing_timeout_raises_its_own_error_whatever_it_interrupts(
    server: EtcdServer, proxy: FaultProxy, client: Client, distant: Client
) -> None:
    baseline = Baseline(distant, server)
    await baseline.take()
    proxy.hold("to_client")

    async def expire(call: CallOf, seconds: float) -> None:
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(seconds):
                await call(distant)
        assert type(caught.value) is TimeoutError
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    async with asyncio.TaskGroup() as group:
        for call in CALLS_OF:
            for seconds in (0, 0.01, 0.3):
                group.create_task(expire(call, seconds))
    proxy.heal()
    await baseline.check()


async def test_an_enclosing_scope_takes_its_own_cancellation_and_no_more(
    server: EtcdServer, proxy: FaultProxy, client: Client, distant: Client
) -> None:
    baseline = Baseline(distant, server)
    await baseline.take()
    proxy.hold("to_client")

    async def expire(call: CallOf, seconds: float) -> None:
        with anyio.move_on_after(seconds) as scope:
            await call(distant)
        assert scope.cancelled_caught
        await anyio.lowlevel.checkpoint()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    async with anyio.create_task_group() as group:
        for call in CALLS_OF:
            for seconds in (0, 0.01, 0.3):
                group.start_soon(partial(expire, call, seconds))
    proxy.heal()
    await baseline.check()
