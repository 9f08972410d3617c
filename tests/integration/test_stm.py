"""Transactions of functions: isolated as their level says, run again on conflict, written whole or not at all."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etcd_async import (
    Client,
    DecryptionFailed,
    Delete,
    FutureRevision,
    Isolation,
    KeyValue,
    LeaseNotFound,
    Namespace,
    PermissionDenied,
    Range,
    StatusCode,
    StmResult,
    TooManyConflicts,
    TooManyOps,
    Transaction,
)
from etcd_async.crypto import Encryption, Keyring
from etcd_async.testing import EtcdServer
from tests.support.live import within

LEVELS: list[Isolation] = ["serializable_snapshot", "serializable", "repeatable_reads", "read_committed"]
ONE_REVISION = LEVELS[:2]
GUARDING_READS = LEVELS[:3]

numbers = itertools.count()


async def number(client: Client | Namespace | Transaction, key: str) -> int:
    kv = await client.get(key)
    return 0 if kv is None else int(kv.value)


class Interfering:
    """A function of a transaction that has others do something in the middle of its first attempts."""

    def __init__(self, others: Callable[[], Awaitable[object]], times: int = 1) -> None:
        self.attempts = 0
        self._others = others
        self._times = times

    async def interfere(self) -> None:
        self.attempts += 1
        if self.attempts <= self._times:
            await self._others()


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

    async def update() -> None:
        for each in range(30):
            await client.put_many(dict.fromkeys(keys, str(each)))

    updating = asyncio.create_task(update())
    seen: list[list[int]] = []
    while not updating.done():
        seen.append((await within(client.stm(read, isolation=isolation))).value)
    await updating
    assert all(len(set(each)) == 1 for each in seen)
    assert len({each[0] for each in seen}) > 1


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

    async def update() -> None:
        for each in range(30):
            await client.put_many(dict.fromkeys(keys, str(each)))

    updating = asyncio.create_task(update())
    while not updating.done():
        assert len((await within(client.stm(read))).value) == 1
    await updating


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


# Conflicts, limits and unusual states.


class Recording(Client):
    """A client that knows what transactions it has sent."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(endpoint)
        self.sent: list[Sequence[object]] = []

    async def txn(self, when: Any = (), then: Any = (), otherwise: Any = (), **options: Any) -> Any:
        self.sent.append([*then, *otherwise])
        return await super().txn(when, then, otherwise, **options)


@pytest.mark.parametrize("isolation", LEVELS)
async def test_no_transaction_that_only_reads_is_sent(etcd_server: EtcdServer, isolation: Isolation) -> None:
    """etcd before 3.5.5 panics when one of those is cancelled (https://github.com/etcd-io/etcd/issues/14110)."""
    async with Recording(etcd_server.endpoint) as client:
        await client.put("b", "1")
        others = Interfering(lambda: client.put("a", "1"))

        async def read(t: Transaction) -> None:
            await t.get("a")
            await others.interfere()
            await t.get("b")

        async def write(t: Transaction) -> None:
            await read(t)
            t.delete("b")

        await client.stm(read, isolation=isolation, prefetch=["a"])
        assert client.sent == []
        others = Interfering(lambda: client.put("a", "2"))
        await client.stm(write, isolation=isolation, prefetch=["a"])
        assert len(client.sent) == others.attempts
        assert all(any(isinstance(op, Delete) for op in ops) for ops in client.sent)


async def test_conflicts_go_on_until_nobody_interferes(client: Client) -> None:
    others = Interfering(lambda: client.put("n", str(100 * others.attempts)), times=4)

    async def increase(t: Transaction) -> None:
        found = await number(t, "n")
        await others.interfere()
        t.put("n", str(found + 1))

    result = await within(client.stm(increase))
    assert (await number(client, "n"), result.attempts) == (401, 5)


async def test_attempts_may_be_limited(client: Client) -> None:
    others = Interfering(lambda: client.put("n", "10"), times=10)

    async def increase(t: Transaction) -> None:
        found = await number(t, "n")
        await others.interfere()
        t.put("n", str(found + 1))

    with pytest.raises(TooManyConflicts, match="3 attempts"):
        await client.stm(increase, max_attempts=3)
    assert (others.attempts, await number(client, "n")) == (3, 10)


@pytest.mark.parametrize("isolation", ONE_REVISION)
async def test_an_attempt_after_a_conflict_is_of_one_revision_too(client: Client, isolation: Isolation) -> None:
    """Etcd's own recipe mixes what the conflict told with newer keys here."""
    await client.put_many({"x": "1", "y": "1"})
    others = Interfering(lambda: client.put_many({"x": "2", "y": "2"}))
    more = Interfering(lambda: client.put_many({"x": "3", "y": "3"}), times=1)
    seen: list[tuple[int, int]] = []

    async def work(t: Transaction) -> None:
        if not seen:
            x, y = await number(t, "x"), 1
            await others.interfere()
        else:
            y = await number(t, "y")
            await more.interfere()
            x = await number(t, "x")
        seen.append((x, y))
        t.put("z", str(x + y))

    await within(client.stm(work, isolation=isolation))
    assert seen == [(1, 1), (2, 2), (3, 3)]


@pytest.mark.parametrize("isolation", LEVELS)
async def test_keys_read_ahead_and_not_used_are_not_compared(client: Client, isolation: Isolation) -> None:
    await client.put_many({"a": "1", "b": "1", "c": "1"})
    others = Interfering(lambda: client.put("c", "2"))

    async def work(t: Transaction) -> int:
        await others.interfere()
        found = await number(t, "a") + await number(t, "b")
        t.put("a", str(found))
        return found

    result = await client.stm(work, isolation=isolation, prefetch=["c", "a", "b", "missing", b"a"])
    assert (result.value, result.attempts) == (2, 1)


@pytest.mark.parametrize("isolation", ONE_REVISION)
async def test_keys_read_ahead_are_as_of_the_beginning(client: Client, isolation: Isolation) -> None:
    await client.put_many({"a": "1", "b": "1"})
    others = Interfering(lambda: client.put_many({"a": "2", "b": "2"}))

    async def work(t: Transaction) -> tuple[int, int]:
        await others.interfere()
        return await number(t, "a"), await number(t, "b")

    assert (await client.stm(work, isolation=isolation, prefetch=["a"])).value == (1, 1)


async def test_a_history_compacted_meanwhile_runs_it_again(client: Client) -> None:
    await client.put_many({"x": "1", "y": "1"})

    async def forget() -> None:
        await client.put_many({"x": "2", "y": "2"})
        await client.compact((await client.put("z", "")).revision)

    others = Interfering(forget)

    async def read(t: Transaction) -> tuple[int, int]:
        x = await number(t, "x")
        await others.interfere()
        return x, await number(t, "y")

    result = await within(client.stm(read))
    assert (result.value, result.attempts) == ((2, 2), 2)


async def test_too_many_keys_are_refused_and_nothing_is_written(client: Client) -> None:
    async def read_many(t: Transaction) -> None:
        for each in range(129):
            await t.get(f"k{each}")
        t.put("x", "1")

    async def write_many(t: Transaction) -> None:
        for each in range(129):
            t.put(f"k{each}", "")

    for work in (read_many, write_many):
        with pytest.raises(TooManyOps) as caught:
            await client.stm(work)
        assert not caught.value.maybe_applied
    assert await client.count(prefix="") == 0


async def test_nonsense_is_refused(client: Client) -> None:
    async def nothing(t: Transaction) -> None:
        return

    with pytest.raises(ValueError, match="isolation must be one of serializable_snapshot, "):
        await client.stm(nothing, isolation="snapshot")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="prefetch"):
        await client.stm(nothing, prefetch="x")
    with pytest.raises(ValueError, match="max_attempts"):
        await client.stm(nothing, max_attempts=0)


async def test_keys_of_a_namespace(client: Client) -> None:
    async def work(t: Transaction) -> None:
        t.put("x", str(await number(t, "x") + 1))

    inside = client.namespaced("/app/")
    for _ in range(2):
        await inside.stm(work)
    assert await client.keys() == [b"/app/x"]
    assert await number(inside, "x") == 2


@pytest.fixture
async def secret(client: Client, etcd_server: EtcdServer) -> AsyncIterator[Client]:
    """A client that encrypts everything, on the same server as the plain *client*."""
    async with Client(etcd_server.endpoint, encryption=Encryption(Keyring.generate())) as secret:
        yield secret


@pytest.mark.parametrize("isolation", GUARDING_READS)
async def test_encrypted_keys_are_guarded_as_well(secret: Client, isolation: Isolation) -> None:
    async def increase(t: Transaction) -> None:
        t.put("n", str(await number(t, "n") + 1))

    await within(asyncio.gather(*(secret.stm(increase, isolation=isolation) for _ in range(20))), 30)
    assert await number(secret, "n") == 20


async def test_a_value_that_cant_be_opened_says_so(client: Client, secret: Client) -> None:
    await client.put("plain", "v")

    async def read(t: Transaction) -> None:
        await t.get("plain")

    async def overwrite(t: Transaction) -> None:
        with pytest.raises(DecryptionFailed):
            await t.get("plain")
        t.put("plain", "sealed")

    with pytest.raises(DecryptionFailed):
        await secret.stm(read)
    await secret.stm(overwrite)
    kv = await secret.get("plain")
    assert kv is not None
    assert kv.value == b"sealed"


class Refusing(Client):
    """A client some of whose reads are refused, as by a member that is behind or by permissions."""

    def __init__(self, endpoint: str, refusal: Callable[[Range], Exception | None]) -> None:
        super().__init__(endpoint)
        self._refusal = refusal

    async def do(self, op: Any, **options: Any) -> Any:
        if isinstance(op, Range) and (error := self._refusal(op)):
            raise error
        return await super().do(op, **options)


async def test_a_member_that_is_behind_is_asked_to_catch_up(etcd_server: EtcdServer, client: Client) -> None:
    await client.put_many({"a": "1", "b": "2"})

    def behind(op: Range) -> Exception | None:
        return FutureRevision(StatusCode.OUT_OF_RANGE, "required revision is a future one") if op.serializable else None

    async def read(t: Transaction) -> list[int]:
        return [await number(t, "a"), await number(t, "b")]

    async with Refusing(etcd_server.endpoint, behind) as refusing:
        assert (await refusing.stm(read)).value == [1, 2]


async def test_an_error_of_reading_ahead_comes_alone(etcd_server: EtcdServer) -> None:
    def forbidden(op: Range) -> Exception | None:
        return PermissionDenied(StatusCode.PERMISSION_DENIED, "no") if op.key != b"a" else None

    async def nothing(t: Transaction) -> None:
        return

    async with Refusing(etcd_server.endpoint, forbidden) as refusing:
        with pytest.raises(PermissionDenied):
            await refusing.stm(nothing, prefetch=["a", "b", "c"])


# Many at once.


async def test_a_bank_with_many_clients_at_once_keeps_its_sum_at_every_revision(
    client: Client, etcd_server: EtcdServer
) -> None:
    accounts = [f"account/{each}" for each in range(4)]
    begin = (await client.put_many(dict.fromkeys(accounts, "100"))).revision

    def transfer(source: str, target: str) -> Callable[[Transaction], Awaitable[None]]:
        async def move(t: Transaction) -> None:
            have = await number(t, source)
            amount = have // 3
            t.put(source, str(have - amount))
            t.put(target, str(await number(t, target) + amount))

        return move

    async def audit(t: Transaction) -> int:
        return sum([await number(t, account) for account in accounts])

    async def clerk(seed: int) -> None:
        async with Client(etcd_server.endpoint) as own:
            for each in range(10):
                source, target = accounts[(seed + each) % 4], accounts[(seed * 3 + each + 1) % 4]
                if source != target:
                    await own.stm(transfer(source, target))
                assert (await own.stm(audit)).value == 400

    await within(asyncio.gather(*(clerk(seed) for seed in range(8))), 40)
    end = (await client.put("end", "")).revision
    for revision in range(begin, end):
        found = await client.range(prefix="account/", revision=revision)
        assert sum(int(kv.value) for kv in found) == 400


KEYS = ["a", "b", "c", "d"]


@dataclass
class Program:
    """A transaction that reads some keys, then writes its name into some and deletes others."""

    isolation: Isolation
    reads: list[str]
    puts: set[str]
    deletes: set[str]
    prefetch: set[str]
    name: str = field(default_factory=lambda: str(next(numbers)))

    async def __call__(self, t: Transaction) -> dict[str, str | None]:
        seen = {}
        for key in self.reads:
            kv = await t.get(key)
            seen[key] = kv.text() if kv else None
        for key in self.puts:
            t.put(key, self.name)
        for key in self.deletes - self.puts if self.puts else ():
            t.delete(key)
        return seen


programs = st.builds(
    Program,
    isolation=st.sampled_from(GUARDING_READS),
    reads=st.lists(st.sampled_from(KEYS), unique=True),
    puts=st.sets(st.sampled_from(KEYS), max_size=2),
    deletes=st.sets(st.sampled_from(KEYS), max_size=1),
    prefetch=st.sets(st.sampled_from(KEYS), max_size=2),
    name=st.builds(lambda: str(next(numbers))),
)


@given(st.lists(st.lists(programs, min_size=1, max_size=4), min_size=2, max_size=6))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_random_transactions_are_as_if_one_after_the_other(client: Client, tasks: list[list[Program]]) -> None:
    """The order is that of their revisions; each has seen exactly what those before it left."""
    own = client.namespaced(f"/{next(numbers)}/")
    done: list[tuple[int, bool, Program, dict[str, str | None]]] = []

    async def run(several: list[Program]) -> None:
        for program in several:
            result = await own.stm(program, isolation=program.isolation, prefetch=program.prefetch)
            done.append((result.revision, not program.puts, program, result.value))

    await within(asyncio.gather(*(run(several) for several in tasks)), 30)
    state: dict[str, str] = {}
    for _, only_read, program, seen in sorted(done, key=lambda each: each[:2]):
        if program.reads:
            assert seen == {key: state.get(key) for key in program.reads}
        if not only_read:
            state = {key: value for key, value in state.items() if key not in program.deletes}
            state |= dict.fromkeys(program.puts, program.name)
    assert {kv.key.decode(): kv.text() for kv in await own.range(prefix="")} == state
