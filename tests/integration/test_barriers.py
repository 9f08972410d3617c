"""Barriers: one that is held and released, and one that lets so many in and out together."""

import asyncio
import time
from contextlib import suppress
from typing import Any

import pytest

from etcd_async import (
    BarrierFull,
    BarrierLost,
    BarrierTimeout,
    Client,
    DoubleBarrier,
    KeyExists,
    LimitMismatch,
    Watch,
)
from etcd_async.crypto import Encryption, Keyring
from etcd_async.testing import EtcdServer
from tests.integration.support import TERM, nothing_left, until_keys
from tests.support.live import forever, running, within


async def done(*tasks: asyncio.Task[None]) -> None:
    await within(asyncio.gather(*tasks))


# The plain one.


async def test_an_open_barrier_holds_nobody_up(client: Client) -> None:
    await within(client.barrier("x").wait())
    await client.barrier("x").release()
    await client.put("xy", "")  # etcd's own recipe once took this for its key
    for timeout in (0, 10):
        await within(client.barrier("x").wait(timeout=timeout))


async def test_all_who_wait_go_on_when_it_is_released(client: Client, etcd_server: EtcdServer) -> None:
    await client.barrier("x").hold()
    async with Client(etcd_server.endpoint) as other:
        waiters = [asyncio.create_task(each.barrier("x").wait()) for each in (client, other) for _ in range(5)]
        with pytest.raises(BarrierTimeout, match=r"0\.2 s"):
            await client.barrier("x").wait(timeout=0.2)
        assert not any(waiter.done() for waiter in waiters)
        await other.barrier("x").release()
        await done(*waiters)
    assert await nothing_left(client)


async def test_a_barrier_is_held_by_one(client: Client) -> None:
    await client.barrier("x").hold()
    with pytest.raises(KeyExists, match="held already"):
        await client.barrier("x").hold()
    await client.barrier("x").release()
    await client.barrier("x").hold()


async def test_a_barrier_on_a_lease_opens_when_that_ends(client: Client) -> None:
    lease = await client.leases.grant(60)
    await client.barrier("x").hold(lease=lease.id)
    async with running(client.barrier("x").wait()) as waiter:
        with pytest.raises(BarrierTimeout):
            await client.barrier("x").wait(timeout=0)
        await client.leases.revoke(lease.id)
        await within(waiter)


async def test_a_barrier_whose_history_is_compacted_still_opens(client: Client) -> None:
    await client.barrier("x").hold()
    async with running(client.barrier("x").wait()) as waiter:
        with pytest.raises(BarrierTimeout):
            await client.barrier("x").wait(timeout=0.1)
        await client.compact((await client.put("/y", "")).revision)
        await client.barrier("x").release()
        await within(waiter)


# The double one.


class Member:
    """A task that enters a barrier and leaves it when told to."""

    def __init__(self, barrier: DoubleBarrier) -> None:
        self.barrier = barrier
        self.entered = asyncio.Event()
        self.may_leave = asyncio.Event()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async with self.barrier:
            self.entered.set()
            await self.may_leave.wait()


async def end(*members: Member) -> None:
    for member in members:
        member.task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await member.task


async def test_members_enter_together_and_leave_together(client: Client) -> None:
    members = [Member(client.double_barrier("x", 3, ttl=10))]
    for number in range(1, 3):
        await until_keys(client, "x/waiters/", number)
        assert not any(member.entered.is_set() for member in members)
        members.append(Member(client.double_barrier("x", 3, ttl=10)))
    for member in members:
        await within(member.entered.wait())
    for number, member in enumerate(members[:2]):
        member.may_leave.set()
        await until_keys(client, "x/waiters/", 2 - number)
        assert not any(member.task.done() for member in members)
    members[2].may_leave.set()
    await done(*(member.task for member in members))
    assert await nothing_left(client)


async def test_a_barrier_serves_round_after_round(client: Client, etcd_server: EtcdServer) -> None:
    """Quick members of the next round are not taken for those of the last one, nor refused."""
    rounds: list[list[int]] = [[] for _ in range(8)]

    async def work(client: Client, number: int) -> None:
        for each in range(8):
            async with client.double_barrier("x", 3, ttl=10):
                rounds[each].append(number)
                assert all(len(past) == 3 for past in rounds[:each])

    async with Client(etcd_server.endpoint) as other:
        await within(asyncio.gather(*(work(own, number) for number, own in enumerate((client, client, other)))), 30)
    assert [sorted(each) for each in rounds] == [[0, 1, 2]] * 8
    assert await nothing_left(client)


async def test_too_many_members_are_told(client: Client) -> None:
    members = [Member(client.double_barrier("x", 2, ttl=10)) for _ in range(2)]
    for member in members:
        await within(member.entered.wait())
    with pytest.raises(BarrierFull):
        await client.double_barrier("x", 2, ttl=10).enter()
    members[0].may_leave.set()
    await until_keys(client, "x/waiters/", 1)
    with pytest.raises(BarrierFull):  # the round is not over
        await client.double_barrier("x", 2, ttl=10).enter()
    members[1].may_leave.set()
    await done(*(member.task for member in members))
    assert await nothing_left(client)


async def test_of_many_that_come_at_once_so_many_enter(client: Client) -> None:
    entered: list[int] = []

    async def come(number: int) -> None:
        async with client.double_barrier("x", 4, ttl=10):
            entered.append(number)
            while len(refused) < 6:
                await client.get("/anything")

    async def refusal(number: int) -> None:
        try:
            await come(number)
        except BarrierFull:
            refused.append(number)

    refused: list[int] = []
    await within(asyncio.gather(*(refusal(number) for number in range(10))), 20)
    assert (len(entered), len(refused)) == (4, 6)
    assert await nothing_left(client)


async def test_a_member_that_dies_inside_counts_as_having_left(client: Client) -> None:
    members = [Member(client.double_barrier("x", 4, ttl=10)) for _ in range(2)]
    await until_keys(client, "x/waiters/", 2)
    dead = await client.leases.grant(60)
    await client.put("x/waiters/dead", "", lease=dead.id)
    third = Member(client.double_barrier("x", 4, ttl=10))  # sees all four of them, and opens
    for member in (*members, third):
        await within(member.entered.wait())
        member.may_leave.set()
    await until_keys(client, "x/waiters/", 1)
    assert not any(member.task.done() for member in (*members, third))
    await client.leases.revoke(dead.id)
    await done(*(member.task for member in (*members, third)))


async def test_a_client_that_is_closed_inside_counts_as_having_left_when_its_term_is_over(
    client: Client, etcd_server: EtcdServer
) -> None:
    async with Client(etcd_server.endpoint) as other:
        gone = Member(other.double_barrier("x", 2, ttl=TERM))
        stays = Member(client.double_barrier("x", 2, ttl=10))
        for member in (gone, stays):
            await within(member.entered.wait())
        await other.aclose()
        with pytest.raises(BarrierLost):
            await within(gone.task)
    stays.may_leave.set()
    await done(stays.task)
    assert await nothing_left(client)


async def test_a_member_that_dies_waiting_makes_room_for_another(client: Client) -> None:
    first = Member(client.double_barrier("x", 2, ttl=10))
    await until_keys(client, "x/waiters/", 1)
    await end(first)
    assert await nothing_left(client)
    members = [Member(client.double_barrier("x", 2, ttl=10)) for _ in range(2)]
    for member in members:
        await within(member.entered.wait())
        member.may_leave.set()
    await done(*(member.task for member in members))


async def test_members_that_count_differently_are_told_and_hold_nobody_up(client: Client) -> None:
    async with running(client.double_barrier("x", 2, ttl=30).enter()) as first:
        await until_keys(client, "x/waiters/", 1)
        with pytest.raises(LimitMismatch, match="count 2, not 3"):
            await within(client.double_barrier("x", 3, ttl=30).enter())
        await within(client.double_barrier("x", 2, ttl=30).enter())
        await within(first)


async def test_what_members_that_all_died_left_behind_is_cleaned_up(client: Client) -> None:
    await client.put("x/ready", "7")
    members = [Member(client.double_barrier("x", 2, ttl=10)) for _ in range(2)]
    for member in members:
        await within(member.entered.wait())
        member.may_leave.set()
    await done(*(member.task for member in members))
    assert await nothing_left(client)


async def test_a_body_that_fails_does_not_wait_for_the_others(client: Client) -> None:
    async def fail() -> None:
        async with client.double_barrier("x", 2, ttl=10):
            raise LookupError("mine")

    other = Member(client.double_barrier("x", 2, ttl=10))
    with pytest.raises(LookupError, match="mine"):
        await within(fail())
    other.may_leave.set()
    await done(other.task)
    assert await nothing_left(client)


async def test_timeouts_on_entering_and_on_leaving_leave_nothing_of_the_member(client: Client) -> None:
    with pytest.raises(BarrierTimeout, match="fewer than 2 came"):
        await client.double_barrier("x", 2, ttl=10, timeout=3).enter()
    assert await nothing_left(client)
    other = Member(client.double_barrier("x", 2, ttl=10))
    await until_keys(client, "x/waiters/", 1)
    hasty = client.double_barrier("x", 2, ttl=10, timeout=3)
    await within(hasty.enter())
    with pytest.raises(BarrierTimeout, match="others stayed"):
        await hasty.leave()
    await hasty.leave()
    other.may_leave.set()
    await done(other.task)
    assert await nothing_left(client)


async def test_a_member_whose_key_is_lost_is_told(client: Client) -> None:
    async def stay() -> None:
        async with client.double_barrier("x", 1, ttl=30) as barrier:
            await client.delete(barrier.key)
            await forever()

    with pytest.raises(BarrierLost, match="deleted"):
        await within(stay())
    barrier = client.double_barrier("y", 1, ttl=30, on_loss="signal")
    async with barrier:
        await client.delete(barrier.key)
        assert isinstance(await within(barrier.lost()), BarrierLost)
        assert barrier.is_lost
    assert await client.leases.list() == []


async def test_a_waiter_whose_lease_is_lost_fails_at_once(client: Client) -> None:
    waiter = client.double_barrier("x", 2, ttl=600)  # so long that it hears of the end by its key
    async with running(waiter.enter()) as waiting:
        await until_keys(client, "x/waiters/", 1)
        (lease,) = await client.leases.list()
        await client.leases.revoke(lease)
        with pytest.raises(BarrierLost):
            await within(waiting)
    assert await nothing_left(client)


async def test_leaving_in_the_body_is_leaving(client: Client) -> None:
    async with client.double_barrier("x", 1, ttl=10) as barrier:
        await barrier.leave()
        await barrier.leave()
    with pytest.raises(RuntimeError, match="not inside"):
        assert barrier.key
    assert await nothing_left(client)


async def test_an_object_is_one_member(client: Client) -> None:
    barrier = client.double_barrier("x", 1, ttl=10)
    for _ in range(2):
        async with barrier:
            with pytest.raises(RuntimeError, match="in use"):
                await barrier.enter()
            await barrier.leave()
            with pytest.raises(RuntimeError, match="in use"):
                await barrier.enter()


async def test_a_history_compacted_while_members_wait_does_no_harm(client: Client) -> None:
    first = Member(client.double_barrier("x", 2, ttl=10))
    await until_keys(client, "x/waiters/", 1)
    await client.compact((await client.put("/y", "")).revision)
    second = Member(client.double_barrier("x", 2, ttl=10))
    for member in (first, second):
        await within(member.entered.wait())
    first.may_leave.set()
    await until_keys(client, "x/waiters/", 1)
    await client.compact((await client.put("/y", "")).revision)
    second.may_leave.set()
    await done(first.task, second.task)


async def test_a_member_whose_loop_stood_still_beyond_its_term_does_not_enter(
    client: Client, etcd_server: EtcdServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Client(etcd_server.endpoint) as held_up:
        whole, is_waiting = held_up.watch, asyncio.Event()

        def watch(key: bytes, **options: Any) -> Watch:
            if key == b"x/ready":
                is_waiting.set()
            return whole(key, **options)

        monkeypatch.setattr(held_up, "watch", watch)
        late = asyncio.create_task(held_up.double_barrier("x", 2, ttl=10).enter())
        await within(is_waiting.wait())
        monkeypatch.setattr(held_up._core, "clock", lambda: time.monotonic() + 11)
        async with client.double_barrier("x", 2, ttl=10):
            with pytest.raises(BarrierLost, match="term has passed"):
                await within(late)


async def test_barriers_under_encryption(etcd_server: EtcdServer, client: Client) -> None:
    async with Client(etcd_server.endpoint, encryption=Encryption(Keyring.generate())) as secret:
        members = [Member(secret.double_barrier("x", 2, ttl=10)) for _ in range(2)]
        for member in members:
            await within(member.entered.wait())
            member.may_leave.set()
        await done(*(member.task for member in members))
        await secret.barrier("y").hold()
        with pytest.raises(BarrierTimeout):
            await secret.barrier("y").wait(timeout=0.1)
        await secret.barrier("y").release()
    assert await nothing_left(client)


async def test_barriers_of_a_namespace(client: Client) -> None:
    inside = client.namespaced("/app/")
    members = [Member(inside.double_barrier("x", 2, ttl=10)) for _ in range(2)]
    for member in members:
        await within(member.entered.wait())
    assert await client.count(prefix="/app/x/waiters/") == 2
    async with asyncio.timeout(10), client.double_barrier("x", 1, ttl=10):
        assert await inside.count(prefix="x/waiters/") == 2
    for member in members:
        member.may_leave.set()
    await done(*(member.task for member in members))
    assert await inside.count(prefix="") == 0


async def test_nonsense_is_refused(client: Client) -> None:
    with pytest.raises(ValueError, match="count"):
        client.double_barrier("x", 0)
    with pytest.raises(ValueError, match="name"):
        client.barrier("")
    with pytest.raises(ValueError, match="timeout"):
        await client.barrier("x").wait(timeout=-1)
    with pytest.raises(ValueError, match="positive"):
        client.double_barrier("x", 1, timeout=0)
    with pytest.raises(ValueError, match="on_loss"):
        client.double_barrier("x", 1, on_loss="ignore")  # type: ignore[arg-type]
