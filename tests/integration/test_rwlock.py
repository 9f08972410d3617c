"""Read-write locks: readers together, writers alone, in the order in which they came."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from etcd_async import Client, Holding, LockLost, LockTimeout, put
from etcd_async.crypto import Encryption, Keyring
from etcd_async.testing import EtcdServer
from tests.integration.support import TERM, lease_of_key, nothing_left, until_expired, until_keys
from tests.support.live import forever, running, within


@asynccontextmanager
async def waiting(client: Client, holding: Holding, place: int) -> AsyncIterator[asyncio.Task[None]]:
    """Have a task wait for *holding*, as the *place*-th contender; it keeps what it gets until the end."""
    async with running(holding.acquire()) as task:
        await until_keys(client, "x/", place)
        yield task
    await holding.release()


async def test_readers_are_in_together(client: Client) -> None:
    lock = client.rwlock("x", ttl=10)
    async with asyncio.timeout(10), lock.read() as one, lock.read() as two:
        assert one.is_held
        assert two.is_held
        assert await client.keys() == sorted([one.key, two.key])
        assert one.key.startswith(b"x/read/")
    assert await nothing_left(client)


async def test_a_writer_is_alone(client: Client) -> None:
    lock = client.rwlock("x", ttl=10)
    async with asyncio.timeout(10), lock.write() as writer:
        assert writer.key.startswith(b"x/write/")
        assert not await lock.read().try_acquire()
        assert not await lock.write().try_acquire()
        assert await client.keys() == [writer.key]
        assert len(await client.leases.list()) == 1
    async with asyncio.timeout(10), lock.read():
        assert not await lock.write().try_acquire()
        assert await lock.read().try_acquire()


async def test_a_waiting_writer_holds_up_the_readers_after_it(client: Client) -> None:
    lock = client.rwlock("x", ttl=10)
    first = lock.read()
    await first.acquire()
    writer = lock.write()
    async with waiting(client, writer, 2) as writing, waiting(client, lock.read(), 3) as reading:
        assert not await lock.read().try_acquire()
        assert not writing.done()
        assert not reading.done()
        await first.release()
        await within(writing)
        assert not reading.done()
        await writer.release()
        await within(reading)


async def test_a_writer_waits_for_all_readers_before_it(client: Client) -> None:
    lock = client.rwlock("x", ttl=10)
    readers = [lock.read() for _ in range(3)]
    for reader in readers:
        await reader.acquire()
    async with waiting(client, lock.write(), 4) as writing:
        for left, reader in enumerate(readers):
            await until_keys(client, "x/", 4 - left)
            assert not writing.done()
            await reader.release()
        await within(writing)


async def test_a_writer_that_gives_up_lets_the_readers_behind_it_in(client: Client) -> None:
    lock = client.rwlock("x", ttl=10)
    async with lock.read():
        async with running(lock.write().acquire()) as writer:
            await until_keys(client, "x/", 2)
            reader = lock.read()
            async with running(reader.acquire()) as reading:
                await until_keys(client, "x/", 3)
                assert not reading.done()
                writer.cancel()
                await within(reading)
        await reader.release()
    assert await nothing_left(client)


async def test_readers_and_writers_enter_in_the_order_they_came(client: Client) -> None:
    lock = client.rwlock("x", ttl=10)
    kinds = "rrwrwwrr"
    entered: list[tuple[str, int]] = []

    async def work(kind: str) -> None:
        async with lock.read() if kind == "r" else lock.write() as held:
            entered.append((kind, held.fencing_token))

    async with asyncio.timeout(30), asyncio.TaskGroup() as group, lock.write():
        for place, kind in enumerate(kinds):
            group.create_task(work(kind))
            await until_keys(client, "x/", place + 2)
    groups = [sorted(entered[:2]), [entered[2]], [entered[3]], entered[4:5], entered[5:6], sorted(entered[6:])]
    in_order = [each for group in groups for each in group]
    assert "".join(kind for kind, _ in in_order) == kinds
    assert in_order == sorted(in_order, key=lambda each: each[1])


async def test_a_timeout_leaves_nothing(client: Client) -> None:
    patient = client.rwlock("x", ttl=10)
    hasty = client.rwlock("x", ttl=10, timeout=0.2)
    async with patient.write() as writer:
        for holding in (hasty.read(), hasty.write(), client.rwlock("x", timeout=0).read()):
            with pytest.raises(LockTimeout, match=r"lock b'x' for (read|writ)ing"):
                await holding.acquire()
        assert await client.keys() == [writer.key]
        assert len(await client.leases.list()) == 1


@pytest.mark.parametrize("kind", ["read", "write"])
async def test_a_waiter_whose_lease_is_lost_fails_at_once(client: Client, kind: str) -> None:
    lock = client.rwlock("x", ttl=600)  # so long that the waiter hears of the end by its key
    async with lock.write() as writer, running(getattr(lock, kind)().acquire()) as waiter:
        await until_keys(client, "x/", 2)
        (key,) = set(await client.keys(prefix="x/")) - {writer.key}
        await client.leases.revoke(await lease_of_key(client, key))
        with pytest.raises(LockLost):
            await within(waiter)
        assert not writer.is_lost


@pytest.mark.parametrize("kind", ["read", "write"])
async def test_a_lost_key_cancels_the_body(client: Client, kind: str) -> None:
    async def hold() -> None:
        async with asyncio.timeout(10), getattr(client.rwlock("x", ttl=30), kind)() as held:
            await client.delete(held.key)
            await forever()

    with pytest.raises(LockLost, match="deleted"):
        await hold()
    assert await nothing_left(client)


async def test_a_loss_may_only_be_signalled_and_owned_guards_writes(client: Client) -> None:
    async with client.rwlock("x", ttl=30, on_loss="signal").write() as held:
        assert (await client.txn([held.owned], [put("/y", "1")])).succeeded
        await client.delete(held.key)
        assert isinstance(await within(held.lost()), LockLost)
        assert held.is_lost
        assert not (await client.txn([held.owned], [put("/y", "2")])).succeeded


async def test_a_reader_that_dies_makes_way(client: Client) -> None:
    lock = client.rwlock("x", ttl=10)
    lease = await client.leases.grant(3)
    await client.put("x/read/dead", "", lease=lease.id)
    async with asyncio.timeout(15), lock.write():
        assert await client.count(prefix="x/read/") == 0


async def test_held_far_beyond_its_term(client: Client) -> None:
    lock = client.rwlock("x", ttl=TERM)
    async with lock.read() as reader, waiting(client, lock.write(), 2) as writing:
        await until_expired(client, TERM + 2)
        assert not reader.is_lost
        assert not writing.done()


async def test_under_encryption(client: Client, etcd_server: EtcdServer) -> None:
    async with Client(etcd_server.endpoint, encryption=Encryption(Keyring.generate())) as secret:
        async with asyncio.timeout(10), secret.rwlock("x").read(), secret.rwlock("x").read():
            assert not await client.rwlock("x").write().try_acquire()
        async with asyncio.timeout(10), secret.rwlock("x").write():
            assert not await client.rwlock("x").read().try_acquire()


async def test_locks_of_a_namespace_are_its_own(client: Client) -> None:
    inside = client.namespaced("/app/")
    async with asyncio.timeout(10), inside.rwlock("x").read():
        assert not await inside.rwlock("x").write().try_acquire()
        async with client.rwlock("x").write():
            assert await inside.rwlock("x").read().try_acquire()


async def test_nonsense_is_refused(client: Client) -> None:
    with pytest.raises(ValueError, match="on_loss"):
        client.rwlock("x", on_loss="ignore")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="timeout"):
        client.rwlock("x", timeout=-1)
    with pytest.raises(ValueError, match="name"):
        client.rwlock("")
    with pytest.raises(ValueError, match="ttl"):
        client.rwlock("x", ttl=0)
