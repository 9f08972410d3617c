"""Read-write locks, semaphores and transactions under contention: random contenders, cancellations, losses, kills."""

import asyncio
import itertools
import os
import random
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etcd_async import (
    BarrierFull,
    BarrierTimeout,
    Client,
    EtcdError,
    Event,
    KeyValue,
    LeaseNotFound,
    LockLost,
    LockTimeout,
    Transaction,
    create_revision,
    put,
)
from etcd_async.testing import EtcdServer, FaultProxy
from tests.faults.processes import ROOT
from tests.faults.sharing import RULES, history, holdings, judge, note
from tests.faults.support import KIB, outcome, start
from tests.support.live import lose_answer, turns, until, watchers, within

pytestmark = pytest.mark.faults

SHARER = Path(__file__).with_name("sharer.py")
PROCESSES = 4
KILLS = 6

names = (f"/contended/{number}".encode() for number in itertools.count())


@dataclass(frozen=True)
class Plan:
    """What one contender does: which kind it is, how often it notes that it is in, and what becomes of it."""

    kind: int
    notes: int
    client: int
    fate: str
    patience: int


plans = st.builds(
    Plan,
    kind=st.integers(0, 1),
    notes=st.integers(1, 3),
    client=st.integers(0, 2),
    fate=st.sampled_from(["stays", "stays", "stays", "is cancelled", "is revoked", "times out"]),
    patience=st.integers(0, 60),
)


async def contend(client: Client, name: bytes, recipe: str, plan: Plan) -> None:
    timeout = plan.patience / 500 if plan.fate == "times out" else None
    several = holdings(client, name, recipe, ttl=60, timeout=timeout)
    holding = several[plan.kind % len(several)]
    with suppress(LockLost, LockTimeout):
        async with holding:
            for _ in range(plan.notes):
                await note(client, holding, name)


async def meet(client: Client, name: bytes, recipe: str, plan: Plan, chance: random.Random) -> None:
    """Contend, and meet with the fate of the plan."""
    task = start(contend(client, name, recipe, plan))
    if plan.fate == "is cancelled":
        await turns(plan.patience * 3)
        task.cancel()
    elif plan.fate == "is revoked":
        await turns(plan.patience)
        for kv in (await client.range(prefix=name + b"/"))[-1:]:
            with suppress(LeaseNotFound):
                await client.leases.revoke(kv.lease)
    await within(asyncio.wait([task]), 20)
    if not task.cancelled():
        task.result()


@pytest.mark.judged
@pytest.mark.timeout(240)
@pytest.mark.parametrize("recipe", ["rwlock", "semaphore"])
@given(st.lists(plans, min_size=2, max_size=12), st.integers(0, 99))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_random_contenders_keep_the_order_and_leave_nothing(
    server: EtcdServer, recipe: str, several: list[Plan], seed: int
) -> None:
    name = next(names)
    chance = random.Random(seed)
    async with Client(server.endpoint) as one, Client(server.endpoint) as two, Client(server.endpoint) as three:
        begin = (await one.put("/begin", "")).revision
        clients = [one, two, three]
        await within(asyncio.gather(*(meet(clients[plan.client], name, recipe, plan, chance) for plan in several)), 30)
        verdict = judge(await history(one, begin), name, RULES[recipe])
        assert verdict.violations == []
        assert len(verdict.entered) >= sum(plan.fate == "stays" for plan in several) - sum(
            plan.fate == "is revoked" for plan in several
        )
        assert await one.keys(prefix=name + b"/") == []
        assert await one.leases.list() == []


@dataclass(frozen=True)
class Visit:
    """What one member of a double barrier does: in how many rounds it takes part, and when it is cancelled, if ever."""

    rounds: int
    client: int
    cancelled_after: int | None


visits = st.builds(
    Visit,
    rounds=st.integers(1, 3),
    client=st.integers(0, 1),
    cancelled_after=st.one_of(st.none(), st.none(), st.integers(0, 120)),
)


async def take_part(client: Client, name: bytes, visit: Visit) -> None:
    for _ in range(visit.rounds):
        with suppress(BarrierFull, BarrierTimeout):
            async with client.double_barrier(name, 3, ttl=60, timeout=0.3) as barrier:
                # Only while it is in: a write that is cancelled may still be carried out after its member has left.
                await client.txn([create_revision(barrier.key) > 0], [put(name + b".journal", barrier.key)])


async def visited(client: Client, name: bytes, visit: Visit) -> None:
    task = start(take_part(client, name, visit))
    if visit.cancelled_after is not None:
        await turns(visit.cancelled_after)
        task.cancel()
    await within(asyncio.wait([task]), 20)
    if not task.cancelled():
        task.result()


def rounds_of(events: Iterable[Event], name: bytes) -> list[set[bytes]]:
    """Return who was in, by round: from when the mark is made until it is taken away."""
    rounds: list[set[bytes]] = []
    is_open = False
    for event in events:
        if event.kv.key == name + b"/ready":
            is_open = event.type == "put"
            rounds += [set()] if is_open else []
        elif event.kv.key == name + b".journal":
            assert is_open
            rounds[-1].add(event.kv.value)
    return rounds


@pytest.mark.judged
@pytest.mark.timeout(240)
@given(st.lists(visits, min_size=3, max_size=9))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_random_members_of_a_double_barrier_are_never_too_many_and_leave_nothing(
    server: EtcdServer, several: list[Visit]
) -> None:
    name = next(names)
    async with Client(server.endpoint) as one, Client(server.endpoint) as two:
        begin = (await one.put("/begin", "")).revision
        clients = [one, two]
        await within(asyncio.gather(*(visited(clients[visit.client], name, visit) for visit in several)), 30)
        rounds = rounds_of(await history(one, begin), name)
        assert all(len(members) <= 3 for members in rounds)
        assert await one.keys(prefix=name + b"/") == []
        assert await one.leases.list() == []


@asynccontextmanager
async def processes(endpoint: str, recipe: str, name: bytes) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    """Run processes that contend; those that are still there at the end are told to end."""
    several = [await sharer(endpoint, recipe, name, seed) for seed in range(PROCESSES)]
    try:
        yield several
        for process in several:
            assert process.stdin is not None
            process.stdin.close()
        codes = await within(asyncio.gather(*(process.wait() for process in several)), 30)
        assert codes == [0] * len(several)
    finally:
        for process in several:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def sharer(endpoint: str, recipe: str, name: bytes, seed: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(SHARER),
        endpoint,
        recipe,
        name.decode(),
        str(seed),
        stdin=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


async def kill_some(
    client: Client, endpoint: str, recipe: str, name: bytes, several: list[asyncio.subprocess.Process]
) -> None:
    """Kill processes at random moments of the history, and start others in their place."""
    chance = random.Random(7)
    watched = name + b"/0" if recipe == "bank" else name + b".journal"
    async with client.watch(watched) as watch:
        for seed in range(KILLS):
            for _ in range(chance.randint(5, 60)):
                await within(anext(aiter(watch)), 30)
            victim = chance.randrange(PROCESSES)
            several[victim].kill()
            await several[victim].wait()
            several[victim] = await sharer(endpoint, recipe, name, PROCESSES + seed)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("recipe", ["rwlock", "semaphore"])
async def test_contenders_of_processes_that_are_killed_keep_the_order(
    server: EtcdServer, client: Client, recipe: str
) -> None:
    name = next(names)
    begin = (await client.put("/begin", "")).revision
    async with processes(server.endpoint, recipe, name) as several:
        await kill_some(client, server.endpoint, recipe, name, several)

    async def nothing_left() -> bool:
        return not await client.count(prefix=name + b"/") and not await client.leases.list()

    await until(nothing_left)  # what was killed has run out
    verdict = judge(await history(client, begin), name, RULES[recipe])
    assert verdict.violations == []
    assert len(verdict.entered) > 45  # at least one for every three of the notes that were waited for
    assert verdict.most > 1


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_bank_of_processes_that_are_killed_keeps_its_sum_at_every_revision(
    server: EtcdServer, client: Client
) -> None:
    name = next(names)
    begin = (await client.put_many({name + b"/%d" % each: "100" for each in range(5)})).revision
    async with processes(server.endpoint, "bank", name) as several:
        await kill_some(client, server.endpoint, "bank", name, several)
    balances: dict[int, dict[bytes, int]] = {}
    for event in await history(client, begin):
        balances.setdefault(event.revision, {})[event.kv.key] = int(event.kv.value)
    accounts: dict[bytes, int] = {}
    for changed in balances.values():
        accounts |= changed
        assert sum(accounts.values()) == 500
    assert len(balances) > 100


async def test_all_who_wait_outlast_a_restart_of_the_server(server: EtcdServer, client: Client) -> None:
    lock, permit = client.rwlock("l", ttl=30).write(), client.semaphore("s", limit=1, ttl=30)
    await lock.acquire()
    await permit.acquire()
    await client.barrier("b").hold()
    next_lock, next_permit = client.rwlock("l", ttl=30).read(), client.semaphore("s", limit=1, ttl=30)
    members = [client.double_barrier("d", 2, ttl=30) for _ in range(2)]
    waiting = [
        start(wait)
        for wait in (next_lock.acquire(), next_permit.acquire(), client.barrier("b").wait(), members[0].enter())
    ]

    async def all_wait() -> bool:
        return await client.count(prefix="") == 6 and await watchers(server) >= 5 + len(waiting)

    await until(all_wait)
    await server.kill()
    await server.restart()
    assert not any(task.done() for task in waiting)
    await lock.release()
    await permit.release()
    await client.barrier("b").release()
    await members[1].enter()
    await within(asyncio.gather(*waiting))
    for held in (next_lock, next_permit):
        assert not held.is_lost
        await held.release()
    await within(asyncio.gather(*(member.leave() for member in members)))
    assert await client.count(prefix="") == 0


async def test_a_commit_whose_outcome_is_unknown_is_told_and_not_repeated(
    proxy: FaultProxy, client: Client, distant: Client
) -> None:
    attempts = 0

    async def increase(t: Transaction) -> None:
        nonlocal attempts
        attempts += 1
        kv = await t.get("/n")
        t.put("/n", str(int(kv.value) + 1 if kv else 1))
        proxy.blackhole("to_client")

    await distant.get("/warm")
    committing = start(outcome(distant.stm(increase)))
    await lose_answer(proxy, lambda: client.exists("/n"))
    error = await within(committing)
    assert isinstance(error, EtcdError)
    assert error.maybe_applied
    assert attempts == 1
    kv = await client.get("/n")
    assert isinstance(kv, KeyValue)
    assert (kv.value, kv.version) == (b"1", 1)


async def test_a_read_whose_answer_is_lost_is_repeated_within_the_attempt(
    proxy: FaultProxy, client: Client, distant: Client
) -> None:
    attempts = 0
    large = bytes(100 * KIB)
    await client.put("/y", large)

    async def read(t: Transaction) -> None:
        nonlocal attempts
        attempts += 1
        await t.get("/x")
        swallowed = proxy.swallowed("to_client")
        proxy.blackhole("to_client")
        reading = start(t.get("/y"))
        await proxy.until(lambda proxy: proxy.swallowed("to_client") > swallowed + len(large))
        proxy.heal()
        await reading
        t.put("/z", "")

    assert (await within(distant.stm(read))).attempts == 1
    assert attempts == 1
