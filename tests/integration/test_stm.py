"""Transactions of functions: isolated as their level says, run again on conflict, written whole or not at all."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest

from etcd_async import (
    Client,
    Isolation,
    KeyValue,
    LeaseNotFound,
    StmResult,
    Transaction,
)
from tests.integration.interference import GUARDING_READS, LEVELS, ONE_REVISION, Interfering, number
from tests.support.live import within

ENOUGH = 6

# What etcd's own tests check (tests/integration/v3_stm_test.go).


async def test_transfers_between_five_accounts_keep_their_sum(client: Client) -> None:
    accounts = [f"foo-{each}" for each in range(5)]
    await client.put_many(dict.fromkeys(accounts, "100"))

    def transfer(source: str, target: str, amount: int) -> Callable[[Transaction], Awaitable[None]]:
        async def move(t: Transaction) -> None:
            t.put(source, str(await number(t, source) - amount))
            t.put(target, str(await number(t, target) + amount))

        return move

    pairs = list(itertools.permutations(accounts, 2))
    moves = [client.stm(transfer(*pair, 7), isolation="repeatable_reads") for pair in pairs]
    await within(asyncio.gather(*moves), 30)
    assert [await number(client, account) for account in accounts] == [100] * 5
    assert {kv.version for kv in await client.range(prefix="foo-")} == {1 + 8}


@pytest.mark.parametrize("isolation", LEVELS)
async def test_a_new_key_is_there_after_the_commit(client: Client, isolation: Isolation) -> None:
    async def write(t: Transaction) -> str:
        t.put("foo", "bar")
        return "done"

    result = await client.stm(write, isolation=isolation)
    kv = await client.get("foo")
    assert kv == KeyValue(b"foo", b"bar", result.revision, result.revision, 1)
    assert result == StmResult("done", result.revision, 1)


async def test_a_cancelled_function_changes_nothing(client: Client) -> None:
    async def write(t: Transaction) -> None:
        t.put("foo", "baz")
        reached.set()
        await asyncio.Event().wait()

    reached = asyncio.Event()
    task = asyncio.create_task(client.stm(write))
    await within(reached.wait())
    task.cancel()
    await within(asyncio.wait([task]))
    assert task.cancelled()
    assert not await client.exists("foo")


@pytest.mark.parametrize("isolation", ONE_REVISION)
async def test_all_reads_are_of_one_revision(client: Client, isolation: Isolation) -> None:
    keys = [f"foo-{each}" for each in range(5)]

    async def read(t: Transaction) -> list[int]:
        return [await number(t, key) for key in keys]

    seen: set[int] = set()
    async with asyncio.TaskGroup() as group:
        group.create_task(_update_until_seen(client, keys, seen))
        while len(seen) < ENOUGH:
            [found] = set((await within(client.stm(read, isolation=isolation))).value)
            seen.add(found)


async def _update_until_seen(client: Client, keys: list[str], seen: set[int]) -> None:
    """Change all of *keys* together, until ENOUGH of their values were seen."""
    for each in itertools.count():
        if len(seen) >= ENOUGH:
            return
        await client.put_many(dict.fromkeys(keys, str(each)))


@pytest.mark.parametrize("isolation", GUARDING_READS)
async def test_a_deletion_of_what_was_read_runs_it_again(client: Client, isolation: Isolation) -> None:
    await client.put("foo", "bar")
    others = Interfering(lambda: client.delete("foo"))

    async def work(t: Transaction) -> bool:
        found = await t.get("foo")
        await others.interfere()
        t.put("foo2", "bar2")
        return found is not None

    result = await within(client.stm(work, isolation=isolation))
    assert (result.value, result.attempts, others.attempts) == (False, 2, 2)
    assert await client.exists("foo2")


async def test_a_blind_write_over_a_newer_key_than_was_read_is_no_conflict(client: Client) -> None:
    await client.put("a", "0")

    async def work(t: Transaction) -> None:
        await t.get("a")
        t.put("b", "1")

    for _ in range(2):
        assert (await client.stm(work)).attempts == 1
    kv = await client.get("b")
    assert kv is not None
    assert kv.version == 2


# What each level allows.


@pytest.mark.parametrize("isolation", LEVELS)
async def test_a_change_of_what_was_read_is_a_conflict_but_for_read_committed(
    client: Client, isolation: Isolation
) -> None:
    others = Interfering(lambda: client.put("n", "10"))

    async def increase(t: Transaction) -> None:
        found = await number(t, "n")
        await others.interfere()
        t.put("n", str(found + 1))

    result = await client.stm(increase, isolation=isolation)
    lost_an_update = isolation == "read_committed"
    assert (await number(client, "n"), result.attempts) == ((1, 1) if lost_an_update else (11, 2))


@pytest.mark.parametrize("isolation", LEVELS)
async def test_a_change_of_what_is_only_written_is_a_conflict_for_snapshots_only(
    client: Client, isolation: Isolation
) -> None:
    others = Interfering(lambda: client.put("only written", "by others"))

    async def work(t: Transaction) -> None:
        await t.get("read")
        await others.interfere()
        t.put("only written", "mine")

    result = await client.stm(work, isolation=isolation)
    assert result.attempts == (2 if isolation == "serializable_snapshot" else 1)


@pytest.mark.parametrize("isolation", LEVELS)
async def test_without_a_read_nothing_can_conflict(client: Client, isolation: Isolation) -> None:
    others = Interfering(lambda: client.put("x", "theirs"))

    async def work(t: Transaction) -> None:
        await others.interfere()
        t.put("x", "mine")

    assert (await client.stm(work, isolation=isolation)).attempts == 1


@pytest.mark.parametrize("isolation", LEVELS)
async def test_keys_changed_together_are_seen_together_or_not_by_level(client: Client, isolation: Isolation) -> None:
    await client.put_many({"x": "1", "y": "1"})
    others = Interfering(lambda: client.put_many({"x": "2", "y": "2"}))
    seen: list[tuple[int, int]] = []

    async def read(t: Transaction) -> None:
        x = await number(t, "x")
        await others.interfere()
        seen.append((x, await number(t, "y")))

    await client.stm(read, isolation=isolation)
    expected = {
        "serializable_snapshot": [(1, 1)],
        "serializable": [(1, 1)],
        "repeatable_reads": [(1, 2), (2, 2)],  # a mixture, but only in an attempt that fails
        "read_committed": [(1, 2)],
    }
    assert seen == expected[isolation]


async def skewed(client: Client, isolation: Isolation) -> int:
    """Let each of two doctors go off call unless that leaves nobody, both at once; return how many stay on call."""
    doctors = ["call/a", "call/b"]
    await client.put_many(dict.fromkeys(doctors, "1"))
    both_have_read = asyncio.Barrier(2)
    first = dict.fromkeys(doctors, True)

    def leave(me: str) -> Callable[[Transaction], Awaitable[None]]:
        async def function(t: Transaction) -> None:
            on_call = [await number(t, doctor) for doctor in doctors]
            if first[me]:
                first[me] = False
                await both_have_read.wait()
            if sum(on_call) > 1:
                t.put(me, "0")

        return function

    await within(asyncio.gather(*(client.stm(leave(doctor), isolation=isolation) for doctor in doctors)))
    return sum([await number(client, doctor) for doctor in doctors])


@pytest.mark.parametrize("isolation", GUARDING_READS)
async def test_write_skew_is_impossible_where_reads_are_guarded(client: Client, isolation: Isolation) -> None:
    assert await skewed(client, isolation) == 1


async def test_write_skew_is_possible_with_read_committed(client: Client) -> None:
    assert await skewed(client, "read_committed") == 0


@pytest.mark.parametrize("isolation", LEVELS)
async def test_a_key_read_again_is_the_same(client: Client, isolation: Isolation) -> None:
    others = Interfering(lambda: client.put("x", "new"))

    async def read(t: Transaction) -> bool:
        before = await t.get("x")
        await others.interfere()
        return await t.get("x") == before

    assert (await client.stm(read, isolation=isolation)).value


# The transaction object.


async def test_reads_see_what_the_transaction_wrote(client: Client) -> None:
    await client.put_many({"kept": "1", "gone": "1"})

    async def work(t: Transaction) -> list[KeyValue | None]:
        t.put("new", "2")
        t.put(b"kept", b"3")
        t.delete("gone")
        t.delete("kept again")
        t.put("kept again", "4")
        return [await t.get(key) for key in ("new", "kept", "gone", "kept again")]

    result = await client.stm(work)
    assert result.value == [KeyValue(b"new", b"2"), KeyValue(b"kept", b"3"), None, KeyValue(b"kept again", b"4")]
    assert {kv.key: kv.value for kv in await client.range(prefix="")} == {
        b"kept": b"3",
        b"kept again": b"4",
        b"new": b"2",
    }
    assert {kv.mod_revision for kv in await client.range(prefix="")} == {result.revision}


async def test_an_error_of_the_function_changes_nothing(client: Client) -> None:
    async def work(t: Transaction) -> None:
        t.put("x", "1")
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await client.stm(work)
    assert not await client.exists("x")


async def test_keys_may_live_on_a_lease(client: Client) -> None:
    async def work(t: Transaction) -> int:
        t.put("x", "1", lease=lease)
        found = await t.get("x")
        return found.lease if found else 0

    async with client.lease(30) as lease:
        assert (await client.stm(work)).value == lease.id
        assert await client.exists("x")
    assert not await client.exists("x")
    with pytest.raises(LeaseNotFound):
        await client.stm(work)


async def test_what_is_over_takes_no_more(client: Client) -> None:
    async def keep(t: Transaction) -> Transaction:
        return t

    t = (await client.stm(keep)).value
    with pytest.raises(RuntimeError, match="over"):
        t.put("x", "late")
    with pytest.raises(RuntimeError, match="over"):
        await t.get("x")


async def test_reads_side_by_side_are_of_one_revision(client: Client) -> None:
    keys = [f"k{each}" for each in range(10)]

    async def read(t: Transaction) -> set[int]:
        return set(await asyncio.gather(*(number(t, key) for key in keys)))

    seen: set[int] = set()
    async with asyncio.TaskGroup() as group:
        group.create_task(_update_until_seen(client, keys, seen))
        while len(seen) < ENOUGH:
            [found] = (await within(client.stm(read))).value
            seen.add(found)


async def test_a_transaction_that_only_reads_tells_its_revision(client: Client) -> None:
    written = await client.put("x", "1")

    async def read(t: Transaction) -> None:
        await t.get("x")
        await t.get("y")

    async def nothing(t: Transaction) -> None:
        return

    for isolation in LEVELS:
        assert (await client.stm(read, isolation=isolation)).revision == written.revision
    assert (await client.stm(nothing)).revision == 0
