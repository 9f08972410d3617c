"""Locks: one holder at a time, first come, first served, and a holder that knows when it is lost."""

import asyncio
import random

import anyio
import pytest

from etcd_async import Client, LeaseNotFound, LockLost, LockTimeout, put
from etcd_async.recipes.lock import Lock
from etcd_async.testing import EtcdServer
from etcd_async.wire import LockRequest, UnlockRequest
from tests.integration.support import TERM, lease_of_key, nothing_left, until_expired, until_keys
from tests.support.live import forever, running, take, turns, until, within


async def test_the_body_runs_with_the_lock_and_nothing_stays_behind(client: Client) -> None:
    async with client.lock("jobs/cleanup", ttl=10) as lock:
        assert (lock.is_held, lock.is_lost) == (True, False)
        assert lock.key.startswith(b"jobs/cleanup/")
        kv = await client.get(lock.key)
        assert kv is not None
        assert (await client.leases.time_to_live(kv.lease)).granted_ttl == 10
    assert not lock.is_held
    assert await nothing_left(client)


async def test_one_holder_at_a_time(client: Client) -> None:
    async def work() -> None:
        async with client.lock("x", ttl=10):
            inside.append(1)
            together.append(len(inside))
            await client.get("/anything")
            inside.pop()

    inside: list[int] = []
    together: list[int] = []
    await within(asyncio.gather(*(work() for _ in range(20))), 20)
    assert together == [1] * 20
    assert await nothing_left(client)


async def test_two_clients_exclude_each_other(client: Client, etcd_server: EtcdServer) -> None:
    async with Client(etcd_server.endpoint) as other, client.lock("x", ttl=10):
        assert not await other.lock("x").try_acquire()
        assert await other.lock("y").try_acquire()


async def test_waiters_enter_in_the_order_they_came(client: Client) -> None:
    async def work(number: int) -> None:
        async with client.lock("x", ttl=10):
            entered.append(number)

    entered: list[int] = []
    async with asyncio.timeout(30), asyncio.TaskGroup() as group, client.lock("x", ttl=10):
        for number in range(8):
            group.create_task(work(number))
            await until_keys(client, "x/", number + 2)
        assert entered == []
    assert entered == list(range(8))


async def test_a_waiter_that_gives_up_does_not_let_those_behind_it_in(client: Client) -> None:
    async def work() -> None:
        async with client.lock("x", ttl=10):
            entered.set()

    entered = asyncio.Event()
    async with client.lock("x", ttl=10):
        async with running(work()):
            await until_keys(client, "x/", 2)
            async with running(work()) as behind:
                await until_keys(client, "x/", 3)
                assert not behind.done()
        await until_keys(client, "x/", 1)
        async with running(work()) as behind:
            async with running(work()):
                await until_keys(client, "x/", 3)
            await until_keys(client, "x/", 2)
            assert not entered.is_set()
            assert not behind.done()


async def test_try_acquire_says_no_at_once_and_leaves_nothing(client: Client) -> None:
    async with client.lock("x", ttl=10) as lock:
        assert not await within(client.lock("x", ttl=10).try_acquire())
        assert await client.keys() == [lock.key]
        assert len(await client.leases.list()) == 1


async def test_try_acquire_takes_a_free_lock_until_it_is_released(client: Client) -> None:
    lock = client.lock("x", ttl=10)
    assert await lock.try_acquire()
    assert lock.is_held
    assert not await client.lock("x").try_acquire()
    await lock.release()
    assert await nothing_left(client)
    assert await lock.try_acquire()
    await lock.release()


async def test_of_many_that_try_at_once_one_gets_it(client: Client) -> None:
    locks = [client.lock("x", ttl=10) for _ in range(20)]
    got = await within(asyncio.gather(*(lock.try_acquire() for lock in locks)))
    assert got.count(True) == 1
    for lock in locks:
        await lock.release()
    assert await nothing_left(client)


async def test_acquire_and_release_work_without_a_body(client: Client) -> None:
    lock = client.lock("x", ttl=10)
    await within(lock.acquire())
    assert await client.keys() == [lock.key]
    await lock.release()
    assert await nothing_left(client)


async def test_releasing_twice_or_too_often_is_harmless(client: Client) -> None:
    lock = client.lock("x", ttl=10)
    await lock.release()
    async with lock:
        await lock.release()
        await lock.release()
        async with client.lock("x", ttl=10) as next_one:
            await lock.release()
            assert await client.exists(next_one.key)
    await lock.release()


async def test_a_lock_object_serves_again_but_not_twice_at_once(client: Client) -> None:
    lock = client.lock("x", ttl=10)
    for _ in range(2):
        async with lock:
            with pytest.raises(RuntimeError, match="in use"):
                await lock.acquire()
            with pytest.raises(RuntimeError, match="in use"):
                await lock.try_acquire()
    with pytest.raises(RuntimeError, match="not held"):
        assert lock.key


async def test_a_lock_released_in_the_body_is_nobodys_until_the_body_has_ended(client: Client) -> None:
    """The end of the body would release it for whoever had it by then, and a loss of it could not cancel the body."""
    async with client.lock("x", ttl=10) as lock:
        await lock.release()
        with pytest.raises(RuntimeError, match="in use"):
            await lock.acquire()
        with pytest.raises(RuntimeError, match="in use"):
            await asyncio.create_task(lock.try_acquire())
    assert await lock.try_acquire()
    await lock.release()


async def test_a_timeout_is_lock_timeout_and_leaves_no_key_and_no_lease(client: Client) -> None:
    async with client.lock("x", ttl=10) as lock:
        with pytest.raises(LockTimeout) as caught:
            async with client.lock("x", ttl=10, timeout=0.3):
                pytest.fail("entered a lock that another holds")
        assert isinstance(caught.value, TimeoutError)
        assert await client.keys() == [lock.key]
        assert len(await client.leases.list()) == 1


async def test_without_patience_a_lock_is_had_only_if_it_is_free(client: Client) -> None:
    async with client.lock("x", ttl=10, timeout=0) as lock:
        with pytest.raises(LockTimeout, match="held by others"):
            await client.lock("x", ttl=10, timeout=0).acquire()
        assert await client.keys(prefix="x/") == [lock.key]


async def test_a_lock_left_in_another_task_says_how_and_stays_with_nobody(client: Client) -> None:
    lock = client.lock("x", ttl=10)
    await asyncio.create_task(lock.__aenter__())
    with pytest.raises(RuntimeError, match="on_loss='signal'"):
        await lock.__aexit__(None, None, None)
    await until_keys(client, "x/", 0)
    assert await client.leases.list() == []


async def test_a_timeout_does_not_limit_the_body(client: Client) -> None:
    async with client.lock("x", ttl=10, timeout=3) as lock:
        await until_expired(client, 3)
        assert not lock.is_lost


async def test_a_cancelled_waiter_leaves_no_key_and_no_lease(client: Client) -> None:
    async def wait() -> None:
        async with client.lock("x", ttl=10):
            pytest.fail("entered a lock that another holds")

    async with client.lock("x", ttl=10) as lock:
        async with running(wait()):
            await until_keys(client, "x/", 2)
        assert await client.keys() == [lock.key]
        assert len(await client.leases.list()) == 1


async def test_a_waiter_cancelled_at_any_point_leaves_no_key_and_no_lease(client: Client) -> None:
    async def wait() -> None:
        async with client.lock("x", ttl=10):
            await forever()

    for number in range(0, 120, 3):
        async with running(wait()):
            await turns(number)  # some turns of the loop further each time
    assert await nothing_left(client)


async def test_the_bodys_own_error_comes_through_and_frees_the_lock(client: Client) -> None:
    with pytest.raises(LookupError, match="mine"):
        async with client.lock("x", ttl=10):
            raise LookupError("mine")
    assert await nothing_left(client)


async def test_fencing_tokens_only_grow(client: Client) -> None:
    tokens = []
    for _ in range(5):
        async with client.lock("x", ttl=10) as lock:
            tokens.append(lock.fencing_token)
            kv = await client.get(lock.key)
            assert kv is not None
            assert kv.create_revision == lock.fencing_token
    assert tokens == sorted(set(tokens))


async def test_owned_guards_writes_for_as_long_as_the_lock_is_held(client: Client) -> None:
    async with client.lock("x", ttl=10, on_loss="signal") as lock:
        owned = lock.owned
        assert (await client.txn(when=[owned], then=[put("/report", "mine")])).succeeded
        await client.delete(lock.key)
        assert not (await client.txn(when=[owned], then=[put("/report", "stolen")])).succeeded
        await client.put(lock.key, "somebody else")
        assert not (await client.txn(when=[owned], then=[put("/report", "stolen")])).succeeded
    kv = await client.get("/report")
    assert kv is not None
    assert kv.value == b"mine"


async def test_a_revoked_lease_cancels_the_body_with_lock_lost(client: Client) -> None:
    async def hold() -> None:
        async with asyncio.timeout(8), client.lock("x", ttl=3) as lock:
            try:
                await client.leases.revoke(await lease_of_key(client, lock.key))
                await forever()
            finally:
                unwound.append(lock.is_lost)

    unwound: list[bool] = []
    with pytest.raises(LockLost):
        await hold()
    assert unwound == [True]
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert await nothing_left(client)


async def test_a_deleted_key_cancels_the_body_at_once_with_lock_lost(client: Client) -> None:
    async def hold() -> None:
        async with asyncio.timeout(10), client.lock("x", ttl=30) as lock:
            await client.delete(lock.key)
            await forever()

    with pytest.raises(LockLost, match="deleted"):
        await hold()
    assert await nothing_left(client)


async def test_a_body_that_lost_its_lock_is_cancelled_at_every_await_but_what_it_shields(client: Client) -> None:
    counts: list[int] = []

    async def work() -> None:
        async with client.lock("x", ttl=10) as lock:
            deleting = asyncio.create_task(client.delete(lock.key))  # whose answer may come after the loss
            for _ in range(2):
                with pytest.raises(asyncio.CancelledError):
                    await within(forever())
            for number in range(30):
                name = f"late-{number}"
                for late in (client.put(name, "v"), client.leases.grant(60), client.auth.add_role(name)):
                    with pytest.raises(asyncio.CancelledError):
                        await late
            with anyio.move_on_after(10, shield=True):
                await deleting
                counts.append(await client.count(prefix="x/"))
                await client.put("/shielded", "v")

    with pytest.raises(LockLost):
        await work()
    assert counts == [0]
    assert await client.keys() == [b"/shielded"]
    await client.delete("/shielded")
    await until(lambda: nothing_left(client))
    assert not [role for role in await client.auth.list_roles() if role.startswith("late-")]


async def test_a_deleted_and_recreated_key_is_lost_too(client: Client) -> None:
    async def hold() -> None:
        async with asyncio.timeout(10), client.lock("x", ttl=30) as lock:
            await client.delete(lock.key)
            await client.put(lock.key, "somebody else")
            await forever()

    with pytest.raises(LockLost):
        await hold()


async def test_a_loss_may_only_be_signalled(client: Client) -> None:
    async with client.lock("x", ttl=30, on_loss="signal") as lock:
        await client.delete(lock.key)
        reason = await within(lock.lost())
        assert lock.is_lost
        assert isinstance(reason, LockLost)


async def test_the_release_of_a_lost_lock_leaves_the_next_holder_alone(client: Client) -> None:
    async with client.lock("x", ttl=30, on_loss="signal") as lost:
        await client.delete(lost.key)
        await within(lost.lost())
        async with asyncio.timeout(10), client.lock("x", ttl=30) as held:
            await lost.release()
            assert await client.keys() == [held.key]
            assert not held.is_lost


async def test_a_waiter_whose_lease_is_lost_fails_at_once(client: Client) -> None:
    async def wait() -> None:
        async with client.lock("x", ttl=600):  # so long that it hears of the end by its key
            pytest.fail("entered a lock that another holds")

    async with client.lock("x", ttl=30) as lock, running(wait()) as waiter:
        await until_keys(client, "x/", 2)
        (waiting,) = set(await client.keys(prefix="x/")) - {lock.key}
        await client.leases.revoke(await lease_of_key(client, waiting))
        with pytest.raises(LockLost):
            await within(waiter)
        assert not lock.is_lost


async def test_a_waiter_enters_when_the_holders_lease_ends(client: Client) -> None:
    async def wait() -> int:
        async with client.lock("x", ttl=10) as lock:
            return lock.fencing_token

    async with client.lock("x", ttl=3, on_loss="signal") as lost, running(wait()) as waiter:
        await until_keys(client, "x/", 2)
        await client.leases.revoke(await lease_of_key(client, lost.key))
        assert await within(waiter) > lost.fencing_token


async def test_a_lock_is_kept_far_beyond_its_term(client: Client) -> None:
    async with client.lock("x", ttl=TERM) as lock:
        await until_expired(client, TERM + 2)
        assert not lock.is_lost
        assert not await client.lock("x").try_acquire()


async def test_a_waiter_is_kept_far_beyond_its_term(client: Client) -> None:
    async def wait() -> None:
        async with client.lock("x", ttl=TERM):
            return

    lock = client.lock("x", ttl=10)
    await lock.acquire()
    async with running(wait()) as waiter:
        await until_keys(client, "x/", 2)
        await until_expired(client, TERM + 2)
        assert not waiter.done()
        await lock.release()
        await within(waiter)


async def test_the_lock_service_of_etcd_queues_with_ours(client: Client) -> None:
    async def serve(name: str) -> None:
        lease = await client.leases.grant(60)
        request = LockRequest(name=b"x", lease=lease.id)
        answer = await client.rpc("/v3lockpb.Lock/Lock", request, timeout=None)
        entered.append(name)
        await client.rpc("/v3lockpb.Lock/Unlock", UnlockRequest(key=answer.key))

    async def ours(name: str) -> None:
        async with client.lock("x", ttl=10):
            entered.append(name)

    entered: list[str] = []
    async with asyncio.timeout(30), asyncio.TaskGroup() as group, client.lock("x", ttl=10):
        for number, contender in enumerate([serve("go 1"), ours("ours 1"), serve("go 2"), ours("ours 2")]):
            group.create_task(contender)
            await until_keys(client, "x/", number + 2)
    assert entered == ["go 1", "ours 1", "go 2", "ours 2"]


async def test_a_lock_held_through_etcds_service_is_not_entered(client: Client) -> None:
    lease = await client.leases.grant(60)
    held = await client.rpc("/v3lockpb.Lock/Lock", LockRequest(name=b"x", lease=lease.id))
    assert not await client.lock("x").try_acquire()
    lock = client.lock("x", ttl=10)
    async with running(lock.acquire()) as waiter:
        await until_keys(client, "x/", 2)
        assert not waiter.done()
        await client.rpc("/v3lockpb.Lock/Unlock", UnlockRequest(key=held.key))
        await within(waiter)
    await lock.release()


async def test_locks_of_names_that_begin_alike_are_apart(client: Client) -> None:
    async with client.lock("x", ttl=10), client.lock("x2", ttl=10), client.lock(b"\xff", ttl=10):
        assert await client.count(prefix="") == 3


async def test_the_loss_names_its_cause(client: Client) -> None:
    lock = Lock(client, "x", ttl=3, on_loss="signal")
    async with lock:
        await client.leases.revoke(await lease_of_key(client, lock.key))
        reason = await within(lock.lost())
        causes = [reason.__cause__, reason.__cause__ and reason.__cause__.__cause__]
        assert "deleted" in str(reason) or any(isinstance(cause, LeaseNotFound) for cause in causes)


async def test_the_queue_is_seen_by_a_watch_of_the_lock(client: Client) -> None:
    async with client.watch(prefix="x/") as watch:
        async with client.lock("x", ttl=10) as lock:
            key = lock.key
        events = await take(watch, 2)
    assert [(event.type, event.kv.key) for event in events] == [("put", key), ("delete", key)]


async def test_programs_that_seed_chance_alike_do_not_share_a_lock(client: Client, etcd_server: EtcdServer) -> None:
    """Ids of leases, which names of keys are made of, are no business of `random`."""
    async with Client(etcd_server.endpoint) as other:
        random.seed(0)
        async with client.lock("x") as lock:
            random.seed(0)
            assert not await other.lock("x").try_acquire()
            assert await client.keys(prefix="x/") == [lock.key]
