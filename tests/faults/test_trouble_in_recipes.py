"""Recipes of coordination meet with a server that is away, or that answers too late, at the worst moments."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from etcd_async import (
    BarrierLost,
    Client,
    Delete,
    EtcdError,
    Holding,
    LeaseLost,
    LockLost,
    Range,
    StatusCode,
    Unavailable,
    Watch,
)
from etcd_async.errors import RpcError, error_for
from etcd_async.testing import EtcdServer, FaultProxy
from tests.faults.support import start
from tests.support.live import lose_answer, until, watchers, within

pytestmark = pytest.mark.faults


class Meddled(Client):
    """A client with whose calls a test can meddle: before one is made, and instead of making it."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(endpoint)
        self.before_txn: Callable[[Any], Awaitable[None]] | None = None
        self.before_range: Callable[[], Awaitable[None]] | None = None
        self.after_txn: Callable[[], None] = lambda: None
        self.watches_from: int | None = None

    async def txn(self, when: Any = (), then: Any = (), otherwise: Any = (), **options: Any) -> Any:
        if self.before_txn is not None:
            await self.before_txn(then)
        done = await super().txn(when, then, otherwise, **options)
        self.after_txn()
        return done

    def watch(self, *args: Any, **options: Any) -> Watch:
        return super().watch(*args, **options | {"start_revision": self.watches_from or options["start_revision"]})

    async def do(self, op: Any, **options: Any) -> Any:
        if self.before_range is not None and isinstance(op, Range):
            await self.before_range()
        return await super().do(op, **options)


CONTENDERS: dict[str, Callable[[Client], Holding]] = {
    "lock": lambda client: client.lock("x", ttl=30),
    "reader": lambda client: client.rwlock("x", ttl=30).read(),
    "writer": lambda client: client.rwlock("x", ttl=30).write(),
    "semaphore": lambda client: client.semaphore("x", limit=1, ttl=30),
}


async def revoke_all(client: Client) -> None:
    for lease in await client.leases.list():
        await client.leases.revoke(lease)


@pytest.mark.parametrize("kind", CONTENDERS)
async def test_a_lease_that_is_gone_before_the_key_is_put_is_a_loss(
    server: EtcdServer, client: Client, kind: str
) -> None:
    async with Meddled(server.endpoint) as meddled:
        meddled.before_txn = lambda _: revoke_all(client)
        with pytest.raises(LockLost) as caught:
            await within(CONTENDERS[kind](meddled).acquire())
        assert isinstance(caught.value, LeaseLost)
        with pytest.raises(BarrierLost):
            await within(meddled.double_barrier("y", 2, ttl=30).enter())
    assert await client.keys(prefix="") == []


async def test_a_lease_that_is_lost_while_the_key_is_put_is_told_at_once(
    client: Client, distant: Client, proxy: FaultProxy
) -> None:
    """The default timeout of calls is longer than the lease's term."""
    await distant.get("/warm")
    granted = asyncio.Event()

    async def cut_off(_: Any) -> None:
        proxy.blackhole()
        granted.set()

    async with Meddled(proxy.endpoint) as meddled:
        meddled.before_txn = cut_off
        waiting = start(meddled.lock("x", ttl=3).acquire())
        await within(granted.wait())
        with pytest.raises(LockLost):
            await within(waiting)
        proxy.heal()


@pytest.mark.parametrize("kind", CONTENDERS)
async def test_a_server_that_times_out_is_asked_again_while_waiting(
    server: EtcdServer, client: Client, kind: str
) -> None:
    """As a member does that has lost its leader, for longer than a call is repeated."""
    failures = iter([error_for(StatusCode.UNAVAILABLE, "etcdserver: request timed out")] * 2)

    async def time_out() -> None:
        if error := next(failures, None):
            assert isinstance(error, RpcError)
            raise error

    async with Meddled(server.endpoint) as meddled:
        meddled.before_range = time_out
        holding = CONTENDERS[kind](meddled)
        await within(holding.acquire())
        assert next(failures, None) is None
        await holding.release()


ATTEMPTS: dict[str, Callable[[Client], AbstractAsyncContextManager[Any]]] = {
    "lock": lambda client: client.lock("x", ttl=1, timeout=0),
    "reader": lambda client: client.rwlock("x", ttl=1, timeout=0).read(),
    "semaphore": lambda client: client.semaphore("x", limit=1, ttl=1, timeout=0),
    "election": lambda client: client.election("x", ttl=1).campaign(timeout=0),
}


@pytest.mark.parametrize("kind", ATTEMPTS)
async def test_what_is_had_at_once_is_not_entered_by_who_reads_the_answer_after_its_term(
    server: EtcdServer, kind: str
) -> None:
    async with Meddled(server.endpoint) as meddled:
        meddled.after_txn = lambda: time.sleep(4)  # the whole loop stands still; the server may grant 2 s, not 1
        with pytest.raises(LeaseLost, match="term"):
            async with ATTEMPTS[kind](meddled):
                pytest.fail("entered")


WAITS: dict[str, Callable[[Client, float], Awaitable[Any]]] = {
    "lock": lambda client, patience: client.lock("x", ttl=30, timeout=patience).acquire(),
    "semaphore": lambda client, patience: client.semaphore("s", limit=1, ttl=30, timeout=patience).acquire(),
    "election": lambda client, patience: client.election("x", ttl=30).campaign(timeout=patience).__aenter__(),
    "queue": lambda client, patience: client.queue("q", ttl=30).claim(timeout=patience).__aenter__(),
    "barrier": lambda client, patience: client.barrier("b").wait(timeout=patience),
    "double barrier": lambda client, patience: client.double_barrier("d", 2, ttl=30, timeout=patience).enter(),
}


@pytest.mark.parametrize("kind", WAITS)
async def test_who_waits_in_vain_is_told_whether_for_others_or_for_a_server(
    client: Client, distant: Client, proxy: FaultProxy, kind: str
) -> None:
    await client.put_many({"x/0": "", "s/1/0": "", "b": ""})  # somebody is there, whom nobody sees leave
    with pytest.raises(TimeoutError) as caught:
        await within(WAITS[kind](distant, 3))
    assert "no server answered" not in str(caught.value)
    proxy.blackhole()
    with pytest.raises(TimeoutError, match="no server answered"):
        await within(WAITS[kind](distant, 0.2))


async def test_a_key_that_can_not_be_looked_at_any_more_is_a_loss(client: Client, server: EtcdServer) -> None:
    """Nobody would hear of its deletion: here the watch can't go on, and why not can't be found out."""

    async def refuse() -> None:
        raise error_for(StatusCode.DATA_LOSS, "etcdserver: corrupt cluster")

    await client.put("/some", "history")
    await client.compact((await client.put("/some", "more")).revision)
    async with Meddled(server.endpoint) as meddled:
        meddled.watches_from = 1
        meddled.before_range = refuse
        lock = meddled.lock("x", ttl=30, on_loss="signal")
        assert await lock.try_acquire()
        with pytest.raises(LockLost, match="can't be watched"):
            raise await within(lock.lost())
        await lock.release()


async def test_looking_at_a_barrier_does_not_wait_for_a_server(server: EtcdServer) -> None:
    async with Client(server.endpoint, timeout=1) as client:
        await client.get("/warm")
        await server.kill()
        with pytest.raises(EtcdError):
            await within(client.barrier("x").wait(timeout=0), 5)


async def test_a_double_barrier_whose_opening_is_unanswered_lets_everybody_in(
    server: EtcdServer, client: Client, proxy: FaultProxy
) -> None:
    async with Meddled(proxy.endpoint) as meddled:
        await meddled.get("/warm")
        last, first = meddled.double_barrier("x", 2, ttl=30), client.double_barrier("x", 2, ttl=30)
        entering = start(first.enter())

        async def first_waits() -> bool:
            return await watchers(server) == 2

        await until(first_waits)
        cutting: list[asyncio.Task[None]] = []

        async def lose_the_opening(then: Any) -> None:
            if then[0].key == b"x/ready" and not isinstance(then[0], Delete) and not cutting:
                proxy.blackhole("to_client")
                cutting.append(start(lose_answer(proxy, lambda: client.exists("x/ready"))))

        meddled.before_txn = lose_the_opening
        await within(last.enter())
        await within(entering)
        assert len(cutting) == 1
        await within(asyncio.gather(first.leave(), last.leave()))
    assert await client.keys(prefix="x") == []


async def test_a_member_that_can_not_take_the_mark_away_has_left(server: EtcdServer, client: Client) -> None:
    """Of two members one dies inside, and the server is away when the other, the last one, would clear up."""
    async with Meddled(server.endpoint) as meddled:
        leaver, dying = meddled.double_barrier("x", 2, ttl=30), client.double_barrier("x", 2, ttl=30)
        await within(asyncio.gather(leaver.enter(), dying.enter()))

        async def fail(then: Any) -> None:
            if len(then) == 1 and then[0] == Delete(b"x/ready"):
                raise Unavailable([])

        meddled.before_txn = fail
        left, dead = leaver.key, await client.get(dying.key)
        assert dead is not None
        leaving = start(leaver.leave())

        async def waits_for_the_other() -> bool:
            return not await client.exists(left)

        await until(waits_for_the_other)
        await client.leases.revoke(dead.lease)
        await within(leaving)
    assert await client.keys(prefix="x") == [b"x/ready"]
    await within(client.double_barrier("x", 1, ttl=30).enter())
