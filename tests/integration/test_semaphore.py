"""Semaphores: so many holders at a time, first come, first served."""

import asyncio
from functools import partial

import pytest

from etcd_async import Client, LimitMismatch, LockLost, LockTimeout, put
from etcd_async.crypto import Encryption, Keyring
from etcd_async.testing import EtcdServer
from tests.integration.support import TERM, lease_of_key, nothing_left, until_expired, until_keys
from tests.support.live import forever, running, until, within


async def test_so_many_are_in_and_nothing_stays_behind(client: Client) -> None:
    inside: list[int] = []
    together: list[int] = []

    async def work() -> None:
        async with client.semaphore("x", limit=3, ttl=10):
            inside.append(1)
            together.append(len(inside))
            while len(together) < 3:  # the first three wait for each other
                await client.get("/anything")
            inside.pop()

    await within(asyncio.gather(*(work() for _ in range(15))), 20)
    assert max(together) == 3
    assert await nothing_left(client)


async def test_waiters_enter_in_the_order_they_came(client: Client) -> None:
    entered: list[int] = []
    until_alone_in_place = [asyncio.Event() for _ in range(6)]

    async def work(number: int) -> None:
        async with client.semaphore("x", limit=2, ttl=10):
            entered.append(number)
            await until_alone_in_place[number].wait()

    async def have_entered(number: int) -> bool:
        await client.get("/anything")
        return len(entered) >= number

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(work(number))
            await until_keys(client, "x/", number + 1)
            await until(partial(have_entered, min(number + 1, 2)))
        for number in range(6):  # whoever leaves, the one who waits for longest enters
            await until(partial(have_entered, min(number + 2, 6)))
            assert entered == list(range(min(number + 2, 6)))
            until_alone_in_place[number].set()
            await until_keys(client, "x/", 5 - number)


async def test_a_waiter_that_gives_up_does_not_let_those_behind_it_in(client: Client) -> None:
    async with client.semaphore("x", limit=1, ttl=10):
        async with running(client.semaphore("x", limit=1, ttl=10).acquire()):
            await until_keys(client, "x/", 2)
            behind = client.semaphore("x", limit=1, ttl=10)
            task = asyncio.create_task(behind.acquire())
            await until_keys(client, "x/", 3)
        await until_keys(client, "x/", 2)
        assert not task.done()
    await within(task)
    await behind.release()
    assert await nothing_left(client)


async def test_try_acquire_says_no_at_once_and_leaves_nothing(client: Client) -> None:
    permits = [client.semaphore("x", limit=2, ttl=10) for _ in range(3)]
    assert [await within(permit.try_acquire()) for permit in permits] == [True, True, False]
    assert await client.keys() == sorted(permit.key for permit in permits[:2])
    await permits[0].release()
    assert await permits[2].try_acquire()
    for permit in permits:
        await permit.release()
    assert await nothing_left(client)


async def test_of_many_that_try_at_once_as_many_as_may_get_it(client: Client) -> None:
    permits = [client.semaphore("x", limit=4, ttl=10) for _ in range(12)]
    got = await within(asyncio.gather(*(permit.try_acquire() for permit in permits)))
    assert got.count(True) == 4
    for permit in permits:
        await permit.release()
    assert await nothing_left(client)


@pytest.mark.parametrize("encrypted", [False, True])
async def test_another_limit_is_refused_for_as_long_as_one_is_in_use(
    etcd_server: EtcdServer, client: Client, encrypted: bool
) -> None:
    encryption = Encryption(Keyring.generate()) if encrypted else None
    async with Client(etcd_server.endpoint, encryption=encryption) as other:
        async with other.semaphore("x", limit=30, ttl=10) as permit:
            for limit in (3, 2, 31, 300):
                with pytest.raises(LimitMismatch, match=f"limit 30, not {limit}"):
                    await other.semaphore("x", limit=limit, ttl=10).acquire()
                with pytest.raises(LimitMismatch):
                    await other.semaphore("x", limit=limit, ttl=10).try_acquire()
            assert await client.keys() == [permit.key]
            assert len(await client.leases.list()) == 1
        async with other.semaphore("x", limit=3, ttl=10) as permit:
            assert permit.key.startswith(b"x/3/")


async def test_a_timeout_leaves_nothing(client: Client) -> None:
    async with client.semaphore("x", limit=1, ttl=10) as permit:
        with pytest.raises(LockTimeout, match=r"semaphore b'x' .* others stayed ahead"):
            await client.semaphore("x", limit=1, ttl=10, timeout=3).acquire()
        with pytest.raises(LockTimeout, match=r"semaphore b'x' is held"):
            await client.semaphore("x", limit=1, ttl=10, timeout=0).acquire()
        assert await client.keys() == [permit.key]
        assert len(await client.leases.list()) == 1


async def test_a_waiter_whose_lease_is_lost_fails_at_once(client: Client) -> None:
    async with client.semaphore("x", limit=1, ttl=60) as permit:
        waiter = client.semaphore("x", limit=1, ttl=600)  # so long that it hears of the end by its key
        async with running(waiter.acquire()) as waiting:
            await until_keys(client, "x/", 2)
            (key,) = set(await client.keys(prefix="x/")) - {permit.key}
            await client.leases.revoke(await lease_of_key(client, key))
            with pytest.raises(LockLost):
                await within(waiting)
        assert not permit.is_lost


async def test_a_lost_key_cancels_the_body_and_lets_the_next_one_in(client: Client) -> None:
    async def hold() -> None:
        async with asyncio.timeout(20), client.semaphore("x", limit=1, ttl=30) as permit:
            async with asyncio.timeout(10):
                await client.delete(permit.key)
                await forever()

    waiter = client.semaphore("x", limit=1, ttl=30)
    with pytest.raises(LockLost, match="deleted"):
        await hold()
    await within(waiter.acquire())
    await waiter.release()
    assert await nothing_left(client)


async def test_a_loss_may_only_be_signalled_and_owned_guards_writes(client: Client) -> None:
    async with client.semaphore("x", limit=2, ttl=30, on_loss="signal") as permit:
        assert (await client.txn([permit.owned], [put("/y", "1")])).succeeded
        await client.delete(permit.key)
        assert isinstance(await within(permit.lost()), LockLost)
        assert not (await client.txn([permit.owned], [put("/y", "2")])).succeeded


async def test_fencing_tokens_only_grow(client: Client) -> None:
    tokens = []
    for _ in range(3):
        async with client.semaphore("x", limit=2, ttl=10) as one, client.semaphore("x", limit=2, ttl=10) as two:
            tokens += [one.fencing_token, two.fencing_token]
    assert tokens == sorted(set(tokens))


async def test_holders_and_waiters_are_kept_far_beyond_their_term(client: Client) -> None:
    permit = client.semaphore("x", limit=1, ttl=TERM)
    await permit.acquire()
    waiter = client.semaphore("x", limit=1, ttl=TERM)
    async with running(waiter.acquire()) as waiting:
        await until_keys(client, "x/", 2)
        await until_expired(client, TERM + 2)
        assert not permit.is_lost
        assert not waiting.done()
        await permit.release()
        await within(waiting)
    await waiter.release()


async def test_a_history_compacted_while_one_waits_does_no_harm(client: Client) -> None:
    permit = client.semaphore("x", limit=1, ttl=30)
    await permit.acquire()
    waiter = client.semaphore("x", limit=1, ttl=30)
    async with running(waiter.acquire()) as waiting:
        await until_keys(client, "x/", 2)
        await client.compact((await client.put("/y", "")).revision)
        await permit.release()
        await within(waiting)
    await waiter.release()


async def test_an_object_takes_one_permit(client: Client) -> None:
    permit = client.semaphore("x", limit=2, ttl=10)
    async with permit:
        with pytest.raises(RuntimeError, match="in use"):
            await permit.acquire()
    await permit.release()


async def test_semaphores_of_a_namespace_are_its_own(client: Client) -> None:
    inside = client.namespaced("/app/")
    async with inside.semaphore("x", limit=1, ttl=10) as permit:
        assert await client.keys() == [b"/app/" + permit.key]
        assert not await inside.semaphore("x", limit=1, ttl=10).try_acquire()
        with pytest.raises(LimitMismatch):
            await inside.semaphore("x", limit=2, ttl=10).acquire()
        async with client.semaphore("x", limit=2, ttl=10):
            assert await client.count(prefix="x/2/") == 1
    assert await nothing_left(client)


async def test_nonsense_is_refused(client: Client) -> None:
    for limit in (0, -1):
        with pytest.raises(ValueError, match="limit"):
            client.semaphore("x", limit=limit)
    with pytest.raises(TypeError, match="limit"):
        client.semaphore("x", limit="3")  # type: ignore[arg-type]
