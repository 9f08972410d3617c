"""A server that is killed in the midst of calls: typed errors or recovery, the truth about writes, and no hang."""

import asyncio
from collections import Counter

import pytest

from etcd_async import (
    Client,
    DeadlineExceeded,
    EtcdError,
    KeyValue,
    PutResult,
    RangeResult,
    TxnResult,
    Unavailable,
    put,
    version,
)
from etcd_async._transport.connector import RESTART_PATIENCE
from etcd_async.testing import EtcdServer, FaultProxy
from tests.faults.support import KIB, MIB, Stopwatch, in_turn, outcome, start
from tests.support.live import ticking, until, within

pytestmark = pytest.mark.faults

WRITES = 400


async def killed_and_restarted(server: EtcdServer) -> None:
    await server.kill()
    await server.start()


def tally(results: list[PutResult | TxnResult | EtcdError]) -> Counter[str]:
    """Count what was done, what perhaps was, and what surely was not."""
    return Counter(
        "done" if not isinstance(each, EtcdError) else "maybe" if each.maybe_applied else "not" for each in results
    )


async def check_truth(client: Client, results: list[PutResult | TxnResult | EtcdError]) -> None:
    """Check that every write has told the truth, and that none was carried out twice."""
    found = {kv.key: kv.version for kv in await client.range(prefix="/write/")}
    versions = [found.get(f"/write/{number}".encode(), 0) for number in range(len(results))]
    assert all(count <= 1 for count in versions)
    for count, result in zip(versions, results, strict=True):
        assert isinstance(result, EtcdError) or count == 1
        assert not (isinstance(result, EtcdError) and not result.maybe_applied and count)


async def test_puts_under_way_tell_the_truth_and_are_applied_once(server: EtcdServer, client: Client) -> None:
    done = 0
    enough = asyncio.Event()

    async def write(number: int) -> PutResult | EtcdError:
        nonlocal done
        result = await outcome(client.put(f"/write/{number}", "v", timeout=15))
        done += 1
        if done == WRITES // 4:
            enough.set()
        return result

    writing = start(in_turn(write, range(WRITES), workers=100))
    await within(enough.wait())
    await killed_and_restarted(server)
    results = await within(writing, 20)
    assert {type(each) for each in results} <= {PutResult, Unavailable}
    assert tally([*results])["done"] >= WRITES // 4
    await check_truth(client, [*results])


async def test_transactions_under_way_tell_the_truth_and_are_applied_once(
    server: EtcdServer, proxy: FaultProxy, client: Client, distant: Client
) -> None:
    await distant.get("/warm")
    proxy.blackhole("to_client")  # so that all of them are under way when the server dies

    async def write(number: int) -> TxnResult | EtcdError:
        key = f"/write/{number}"
        return await outcome(distant.txn([version(key) == 0], [put(key, "v")], timeout=15))

    async def has_begun() -> bool:
        return await client.count(prefix="/write/") > 0

    writing = start(in_turn(write, range(WRITES), workers=WRITES))
    await until(has_begun)
    await server.kill()
    proxy.heal()
    await server.start()
    results = await within(writing, 20)
    assert {type(each) for each in results} <= {TxnResult, Unavailable}
    assert tally([*results])["maybe"] > 0
    await check_truth(client, [*results])


@pytest.mark.usefixtures("patience")
async def test_gets_under_way_are_answered_by_the_restarted_server(server: EtcdServer, client: Client) -> None:
    await client.put("/k", "v")
    stop = asyncio.Event()

    async def read() -> list[KeyValue | None]:
        found = []
        while not stop.is_set():
            found.append(await client.get("/k", timeout=15))
        return found

    readers = [start(read()) for _ in range(20)]
    await client.get("/k")
    await killed_and_restarted(server)
    await client.get("/k", timeout=15)
    stop.set()
    found = await within(asyncio.gather(*readers))
    assert all(kv is not None and kv.value == b"v" for each in found for kv in each)
    assert all(found)


async def test_calls_to_a_killed_server_fail_at_once_or_at_their_deadline(server: EtcdServer, client: Client) -> None:
    await client.put("/k", "v")
    await server.kill()
    async with ticking() as clock:
        short = await outcome(client.get("/k", timeout=0.5))
        assert isinstance(short, DeadlineExceeded | Unavailable)
        assert clock.seconds < 1
        write = await outcome(client.put("/k", "w", timeout=30))
        assert isinstance(write, Unavailable)
        assert not write.maybe_applied
        assert server.endpoint in str(write)
        assert clock.seconds < RESTART_PATIENCE + 4  # with two pauses, each of up to 1.2 s
    await server.start()
    assert (await client.put("/k", "w", timeout=10)).revision > 0


@pytest.mark.usefixtures("patience")
async def test_a_large_range_under_way_is_read_again(
    server: EtcdServer, proxy: FaultProxy, client: Client, distant: Client
) -> None:
    value = b"x" * MIB

    async def write(number: int) -> PutResult:
        return await client.put(f"/large/{number:02}", value, timeout=30)

    await in_turn(write, range(64), workers=4)
    await distant.get("/warm")
    proxy.throttle(32 * MIB, "to_client")
    passed = proxy.passed("to_client")
    reading = start(distant.range(prefix="/large/", timeout=40))
    await within(proxy.until(lambda proxy: proxy.passed("to_client") > passed + 8 * MIB))
    await server.kill()
    proxy.heal()
    await server.start()
    found: RangeResult = await within(reading, 40)
    assert [kv.key for kv in found] == [f"/large/{number:02}".encode() for number in range(64)]
    assert all(kv.value == value for kv in found)


@pytest.mark.usefixtures("patience")
async def test_a_scan_goes_on_at_its_revision_on_the_restarted_server(server: EtcdServer, client: Client) -> None:
    for first in range(0, 1000, 100):
        await client.put_many({f"/scan/{number:04}": "old" for number in range(first, first + 100)})
    scan = client.scan(prefix="/scan/", page_size=50, timeout=15)
    found = [await anext(scan) for _ in range(120)]
    await client.put_many({f"/scan/{number:04}": "new" for number in range(0, 1000, 10)})
    restarting = start(killed_and_restarted(server))
    found += [kv async for kv in scan]
    await within(restarting)
    assert [kv.key for kv in found] == [f"/scan/{number:04}".encode() for number in range(1000)]
    assert {kv.value for kv in found} == {b"old"}


async def test_a_write_to_a_stopped_server_ends_at_its_deadline_unsure(server: EtcdServer, client: Client) -> None:
    await client.put("/k", "v")
    await server.pause()
    watch = Stopwatch()
    results = await asyncio.gather(*(outcome(client.put(f"/k/{number}", "v", timeout=0.5)) for number in range(10)))
    read = await outcome(client.get("/k", timeout=0.5))
    assert watch.seconds < 3
    await server.resume()
    assert {type(each) for each in [*results, read]} == {DeadlineExceeded}
    assert all(isinstance(each, EtcdError) and each.maybe_applied for each in results)
    assert isinstance(read, EtcdError)
    assert not read.maybe_applied
    assert (await client.put("/k", b"x" * KIB)).revision > 0
