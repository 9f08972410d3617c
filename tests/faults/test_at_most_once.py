"""Writes whose answers are lost are never repeated, and say so."""

import asyncio

import pytest

from etcd_async import Client, DeadlineExceeded, EtcdError, PutResult, Unavailable
from etcd_async.testing import EtcdServer, FaultProxy
from tests.faults.support import outcome, start
from tests.support.live import within

pytestmark = pytest.mark.faults

ROUNDS = 15
EACH = 20


async def write_round(client: Client, number: int) -> list[PutResult | EtcdError]:
    """Write *EACH* keys at once, and one common counter."""
    own = [outcome(client.put(f"/once/{number}/{each}", "v", timeout=5)) for each in range(EACH - 1)]
    return await asyncio.gather(*own, outcome(client.put("/counter", str(number), timeout=5)))


async def lose_answers(proxy: FaultProxy) -> None:
    """Swallow answers until some were lost, and then reset the connection."""
    swallowed = proxy.swallowed("to_client")
    proxy.blackhole("to_client")
    await proxy.until(lambda proxy: proxy.swallowed("to_client") > swallowed)
    proxy.heal()


async def cut_requests(proxy: FaultProxy) -> None:
    """Cut the connection in the midst of the requests."""
    accepted = proxy.accepted
    proxy.cut_after(EACH * 20, "to_server")
    await proxy.until(lambda proxy: proxy.accepted > accepted)


@pytest.mark.parametrize("fault", [lose_answers, cut_requests])
async def test_300_puts_whose_answers_get_lost_are_applied_at_most_once(
    server: EtcdServer, proxy: FaultProxy, client: Client, distant: Client, fault: type
) -> None:
    results: dict[str, PutResult | EtcdError] = {}
    counter: list[PutResult | EtcdError] = []
    for number in range(ROUNDS):
        await distant.get("/warm", timeout=10)
        fault_is_over = start(fault(proxy))
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


async def test_reads_are_repeated_until_they_are_answered(proxy: FaultProxy, distant: Client) -> None:
    for _ in range(ROUNDS):
        await distant.get("/warm")
        fault_is_over = start(lose_answers(proxy))
        found = await within(asyncio.gather(*(distant.get(f"/k/{each}", timeout=10) for each in range(EACH))))
        await within(fault_is_over)
        assert found == [None] * EACH
