"""Writes whose answers are lost are never repeated, and say so."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

import pytest

from etcd_async import Client, DeadlineExceeded, EtcdError, LeaseNotFound, PutResult, Unavailable, create_revision, put
from etcd_async.testing import EtcdServer, FaultProxy
from tests.faults.support import KIB, in_turn, outcome, start
from tests.support.live import lose_answer, running, turns, within

pytestmark = pytest.mark.faults

ROUNDS = 15
EACH = 20
WRITES = 500
WORKERS = 20
CHAINS = 20
SEEDS = (1, 2, 3)

Fault: TypeAlias = Callable[[FaultProxy, Client, int], Coroutine[Any, Any, None]]


async def write_round(client: Client, number: int) -> list[PutResult | EtcdError]:
    """Write *EACH* keys at once, and one common counter."""
    own = [outcome(client.put(f"/once/{number}/{each}", "v", timeout=5)) for each in range(EACH - 1)]
    return await asyncio.gather(*own, outcome(client.put("/counter", str(number), timeout=5)))


async def lose_answers(proxy: FaultProxy, client: Client, number: int) -> None:
    """Swallow answers until some of a round were lost, and then reset the connection."""

    async def has_begun() -> bool:
        return await client.count(prefix=f"/once/{number}/") > 0

    proxy.blackhole("to_client")
    await lose_answer(proxy, has_begun)


async def cut_requests(proxy: FaultProxy, client: Client, number: int) -> None:
    """Cut the connection in the midst of the requests."""
    accepted = proxy.accepted
    proxy.cut_after(EACH * 20, "to_server")
    await proxy.until(lambda proxy: proxy.accepted > accepted)


@pytest.mark.judged
@pytest.mark.parametrize("fault", [lose_answers, cut_requests])
async def test_300_puts_whose_answers_get_lost_are_applied_at_most_once(
    server: EtcdServer, proxy: FaultProxy, client: Client, distant: Client, fault: Fault
) -> None:
    results: dict[str, PutResult | EtcdError] = {}
    counter: list[PutResult | EtcdError] = []
    for number in range(ROUNDS):
        await distant.get("/warm", timeout=10)
        fault_is_over = start(fault(proxy, client, number))
        done = await within(write_round(distant, number))
        await distant.get("/warm", timeout=10)
        await within(fault_is_over)
        counter.append(done.pop())
        results |= {f"/once/{number}/{each}": result for each, result in enumerate(done)}

    found = {kv.key.decode(): kv.version for kv in await client.range(prefix="/once/")}
    assert max(found.values()) == 1
    assert {key for key, result in results.items() if isinstance(result, PutResult)} <= found.keys()
    failures = {key: result for key, result in results.items() if isinstance(result, EtcdError)}
    assert {type(error) for error in failures.values()} <= {Unavailable, DeadlineExceeded}
    assert all(failures[key].maybe_applied for key in failures.keys() & found.keys())
    assert any(error.maybe_applied for error in failures.values())

    kv = await client.get("/counter")
    successes = sum(isinstance(result, PutResult) for result in counter)
    unsure = sum(isinstance(result, EtcdError) and result.maybe_applied for result in counter)
    assert successes <= (kv.version if kv is not None else 0) <= successes + unsure


async def test_reads_are_repeated_until_they_are_answered(proxy: FaultProxy, client: Client, distant: Client) -> None:
    put = await client.put("/k", bytes(10 * KIB))
    for _ in range(ROUNDS):
        await distant.get("/warm")
        proxy.blackhole("to_client")
        lost = proxy.swallowed("to_client") + 10 * KIB * EACH // 2
        reads = asyncio.gather(*(distant.get("/k", timeout=10) for _ in range(EACH)))
        await within(proxy.until(lambda proxy, lost=lost: proxy.swallowed("to_client") >= lost))  # type: ignore[misc]
        proxy.heal()
        assert {kv.mod_revision if kv else None for kv in await within(reads)} == {put.revision}


async def drop_replies(proxy: FaultProxy, seed: int) -> None:
    """Again and again, after a while that the seed tells, swallow replies or cut the connection amid one."""
    rng = random.Random(seed)
    while True:
        passed = proxy.passed("to_client") + rng.randint(100, 2500)
        await proxy.until(lambda proxy, passed=passed: proxy.passed("to_client") >= passed)  # type: ignore[misc]
        if rng.random() < 0.2:
            accepted = proxy.accepted
            proxy.cut_after(rng.randint(1, 500), "to_client")
            await proxy.until(lambda proxy, accepted=accepted: proxy.accepted > accepted)  # type: ignore[misc]
            continue
        swallowed = proxy.swallowed("to_client")
        proxy.blackhole("to_client")
        await proxy.until(lambda proxy, swallowed=swallowed: proxy.swallowed("to_client") > swallowed)  # type: ignore[misc]
        await turns(rng.randint(0, 20))
        proxy.heal()


def put_once(client: Client, key: str) -> Awaitable[object]:
    return client.put(key, "v", timeout=20)


def create_in_txn(client: Client, key: str) -> Awaitable[object]:
    return client.txn([create_revision(key) == 0], [put(key, "v")], [put(key, "again")], timeout=20)


def write_in_txn(client: Client, key: str) -> Awaitable[object]:
    return client.txn(then=[put(key, "v"), put(f"{key}/beside", "v")], timeout=20)


@pytest.mark.judged
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("write", [put_once, create_in_txn, write_in_txn])
async def test_500_writes_whose_replies_are_dropped_at_random_are_applied_at_most_once(
    proxy: FaultProxy, client: Client, distant: Client, write: Callable[[Client, str], Awaitable[object]], seed: int
) -> None:
    async def work(number: int) -> object:
        return await outcome(write(distant, f"/once/{number}"))

    async with running(drop_replies(proxy, seed)):
        results = await within(in_turn(work, range(WRITES), workers=WORKERS), 50)
    found = {kv.key.decode(): (kv.version, kv.value) for kv in await client.range(prefix="/once/")}
    assert set(found.values()) == {(1, b"v")}
    unsure = 0
    for number, result in enumerate(results):
        was_applied = f"/once/{number}" in found
        if isinstance(result, EtcdError):
            assert isinstance(result, Unavailable)
            assert result.maybe_applied >= was_applied
            unsure += result.maybe_applied
        else:
            assert was_applied
    assert unsure >= WORKERS


@pytest.mark.judged
@pytest.mark.parametrize("seed", SEEDS)
async def test_500_compare_and_swaps_whose_replies_are_dropped_at_random_are_applied_at_most_once(
    proxy: FaultProxy, client: Client, distant: Client, seed: int
) -> None:
    unsure = 0

    async def chain(name: int) -> None:
        """Swap again and again, each time for a value of its own, and hold the key's version to what was applied."""
        nonlocal unsure
        key, version, value = f"/chain/{name}", 0, None
        late: set[bytes] = set()  # may still be applied: etcd may have them, and not have come to them
        for number in range(WRITES // CHAINS):
            new = b"%d" % number
            result = await outcome(distant.compare_and_swap(key, value, new, timeout=20))
            if isinstance(result, EtcdError) and result.maybe_applied:
                unsure += 1
                late.add(new)
            possible = {new} if result is True else late | {value}
            kv = await client.get(key)
            now = kv.value if kv is not None else None
            assert now in possible
            assert now != value or result is not False
            if kv is not None and now != value:
                version, value = version + 1, now
                late.clear()  # what they compare with is gone
                assert kv.version == version

    async with running(drop_replies(proxy, seed)):
        await within(in_turn(chain, range(CHAINS), workers=CHAINS), 50)
    assert unsure >= CHAINS


async def test_a_revocation_whose_answer_was_lost_is_done(proxy: FaultProxy, client: Client, distant: Client) -> None:
    """Its repeat finds no lease any more, which is what was asked for."""
    lease = await distant.leases.grant(3600)
    put = await client.put("/ephemeral", "v", lease=lease.id)
    proxy.blackhole("to_client")
    async with (
        client.watch("/ephemeral", start_revision=put.revision + 1) as watch,
        running(distant.leases.revoke(lease.id, timeout=None)) as revoking,
    ):
        await within(anext(aiter(watch)))
        proxy.cut()
        proxy.heal()
        await within(revoking)
    with pytest.raises(LeaseNotFound):
        await distant.leases.revoke(lease.id)
