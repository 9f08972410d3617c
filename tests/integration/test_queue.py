"""Queues: in order, each item with one consumer at a time, and back in its place when that one fails."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest

import etcd_async
from etcd_async import Claim, ClaimLost, Client, QueueTimeout, create_revision, delete, put
from etcd_async.crypto import Encryption, Keyring
from etcd_async.testing import EtcdServer
from tests.integration.support import TERM, nothing_left, until_expired, until_keys, wipe
from tests.support.live import forever, metric, running, within


async def drained(queue: etcd_async.Queue) -> list[bytes]:
    """Claim and acknowledge until nothing is there."""
    values = []
    while await queue.size():
        async with queue.claim(timeout=10) as item:
            values.append(item.value)
    return values


async def lease_of_claim(client: Client) -> int:
    (claim,) = await client.range(prefix="jobs/claims/")
    return claim.lease


async def test_items_come_in_the_order_in_which_they_were_put(client: Client) -> None:
    queue = client.queue("jobs")
    for number in range(20):
        await queue.put(str(number))
    assert await queue.size() == 20
    assert await drained(queue) == [b"%d" % number for number in range(20)]
    assert await nothing_left(client)


async def test_items_of_two_clients_come_in_the_order_in_which_they_were_put(
    client: Client, etcd_server: EtcdServer
) -> None:
    async with Client(etcd_server.endpoint) as other:
        for number in range(10):
            await (client, other)[number % 2].queue("jobs").put(str(number))
    assert await drained(client.queue("jobs")) == [b"%d" % number for number in range(10)]


async def test_items_that_one_process_puts_at_once_all_arrive(client: Client) -> None:
    queue = client.queue("jobs")
    keys = await asyncio.gather(*(queue.put(str(number)) for number in range(30)))
    assert len(set(keys)) == 30
    assert sorted(await drained(queue), key=int) == [b"%d" % number for number in range(30)]


async def test_the_lowest_priority_comes_first_and_within_it_the_earliest(client: Client) -> None:
    queue = client.priority_queue("jobs")
    for value, priority in [
        ("c1", 7),
        ("b1", 0),
        ("d1", 2**63 - 1),
        ("a1", -(2**63)),
        ("b2", 0),
        ("c2", 7),
        ("b0", -1),
    ]:
        await queue.put(value, priority=priority)
    async with queue.claim() as item:
        assert (item.value, item.priority) == (b"a1", -(2**63))
    assert await drained(queue) == [b"b0", b"b1", b"b2", b"c1", b"c2", b"d1"]


async def test_priorities_out_of_bounds_are_refused(client: Client) -> None:
    queue = client.priority_queue("jobs")
    for priority in (2**63, -(2**63) - 1):
        with pytest.raises(ValueError, match="priority"):
            await queue.put("x", priority=priority)
    for wrong in (True, 1.5, "1"):
        with pytest.raises(TypeError, match="priority"):
            await queue.put("x", priority=wrong)  # type: ignore[arg-type]  # what is tested
    assert await client.count(prefix="") == 0


async def test_a_claimed_item_is_the_one_that_was_put(client: Client) -> None:
    queue = client.queue("jobs", ttl=30)
    key = await queue.put('{"n": 1}')
    async with queue.claim() as item:
        assert (item.key, item.value, item.kv.json(), item.priority) == (key, b'{"n": 1}', {"n": 1}, 0)
        assert item.fencing_token > item.kv.create_revision
        assert not item.is_lost
        assert (await client.txn([item.owned], [put("/result", "v")])).succeeded
        assert await queue.size() == 1
    assert not await client.exists(key)
    assert not (await client.txn([item.owned], [put("/result", "late")])).succeeded


async def test_a_claimed_item_is_handed_to_nobody_else(client: Client) -> None:
    queue = client.queue("jobs")
    await queue.put("1")
    await queue.put("2")
    async with queue.claim() as first, queue.claim() as second:
        assert [first.value, second.value] == [b"1", b"2"]
        with pytest.raises(QueueTimeout):
            async with queue.claim(timeout=0):
                pytest.fail("claimed what others have")
    assert await nothing_left(client)


async def test_an_exception_puts_the_item_back_in_its_place(client: Client) -> None:
    queue = client.queue("jobs")
    for value in "123":
        await queue.put(value)
    with pytest.raises(LookupError, match="mine"):
        async with queue.claim() as item:
            raise LookupError("mine")
    async with queue.claim() as again:
        assert (again.key, again.value) == (item.key, b"1")
        assert again.fencing_token > item.fencing_token
    assert await drained(queue) == [b"2", b"3"]


async def test_a_cancelled_consumer_puts_the_item_back(client: Client) -> None:
    async def work() -> None:
        async with queue.claim():
            has_claimed.set()
            await forever()

    queue = client.queue("jobs")
    await queue.put("1")
    has_claimed = asyncio.Event()
    async with running(work()):
        await within(has_claimed.wait())
    assert await drained(queue) == [b"1"]
    assert await nothing_left(client)


async def test_releasing_and_acknowledging_end_the_claim_before_the_body(client: Client) -> None:
    queue = client.queue("jobs")
    await queue.put("1")
    async with queue.claim() as item:
        await item.release()
        await item.release()
        await item.acknowledge()
        assert await queue.size() == 1
        async with queue.claim(timeout=0) as again:
            assert again.key == item.key
            await again.acknowledge()
            await again.acknowledge()
            await again.release()
            assert await nothing_left(client)
            assert not again.is_lost
    assert await nothing_left(client)


async def test_a_result_and_the_end_of_the_item_can_be_one_transaction(client: Client) -> None:
    queue = client.queue("jobs")
    await queue.put("1")
    async with queue.claim() as item:
        done = await client.txn([item.owned], [put("/result", item.value), delete(item.key)])
        assert done.succeeded
        assert await queue.size() == 0
    assert await client.keys() == [b"/result"]


async def test_a_consumer_waits_for_an_item(client: Client) -> None:
    async def work() -> bytes:
        async with queue.claim() as item:
            return item.value

    queue = client.queue("jobs")
    async with running(work()) as working:
        await until_keys(client, "jobs/line/", 1)
        await queue.put("1")
        assert await within(working) == b"1"
    assert await nothing_left(client)


async def test_a_consumer_waits_for_an_item_to_come_back(client: Client) -> None:
    async def work() -> tuple[bytes, int]:
        async with queue.claim() as item:
            return item.value, item.fencing_token

    queue = client.queue("jobs")
    await queue.put("1")
    async with queue.claim() as item, running(work()) as working:
        await until_keys(client, "jobs/line/", 1)
        await item.release()
        value, token = await within(working)
    assert value == b"1"
    assert token > item.fencing_token


async def test_a_lost_lease_puts_the_item_back_and_cancels_the_body(client: Client) -> None:
    async def work() -> None:
        async with asyncio.timeout(10), queue.claim() as item:
            claimed.append(item)
            await client.leases.revoke(await lease_of_claim(client))
            await forever()

    claimed: list[Claim] = []
    queue = client.queue("jobs", ttl=TERM)
    await queue.put("1")
    with pytest.raises(ClaimLost):
        await work()
    assert claimed[0].is_lost
    assert isinstance(await within(claimed[0].lost()), ClaimLost)
    assert await drained(queue) == [b"1"]


async def test_a_waiter_whose_lease_has_ended_fails_and_claims_nothing(client: Client) -> None:
    async def work() -> None:
        async with queue.claim():
            pytest.fail("claimed without a lease")

    queue = client.queue("jobs", ttl=600)  # so that this side does not hear of it for a while
    working = asyncio.create_task(work())
    await until_keys(client, "jobs/line/", 1)
    for lease in await client.leases.list():
        await client.leases.revoke(lease)
    await queue.put("1")
    with pytest.raises(ClaimLost, match="lease"):
        await within(working)
    assert await drained(queue) == [b"1"]
    assert await nothing_left(client)


async def test_a_deleted_claim_cancels_the_body_at_once(client: Client) -> None:
    async def work() -> None:
        async with asyncio.timeout(10), queue.claim():
            await client.delete(prefix="jobs/claims/")
            await forever()

    queue = client.queue("jobs", ttl=30)
    await queue.put("1")
    with pytest.raises(ClaimLost, match="deleted"):
        await work()
    assert await queue.size() == 1
    assert await client.leases.list() == []


async def test_who_lost_the_claim_acknowledges_nothing(client: Client) -> None:
    queue = client.queue("jobs", ttl=30)
    await queue.put("1")
    item = await queue.claim(on_loss="signal").__aenter__()
    await client.delete(prefix="jobs/claims/")
    async with queue.claim(timeout=10) as again:  # somebody else has it now
        assert again.key == item.key
        with pytest.raises(ClaimLost):
            await item.acknowledge()
        assert await queue.size() == 1
    assert await nothing_left(client)


async def test_a_loss_that_comes_after_the_acknowledgement_is_none(client: Client) -> None:
    queue = client.queue("jobs", ttl=30)
    await queue.put("1")
    async with asyncio.timeout(10), queue.claim() as item:
        await item.acknowledge()
        await client.delete(prefix="jobs/")
        for lease in await client.leases.list():
            await client.leases.revoke(lease)
        await client.get("/anything")
        assert not item.is_lost
    assert await nothing_left(client)


async def test_leaving_a_lost_claim_is_an_error_also_if_losses_are_only_signalled(client: Client) -> None:
    queue = client.queue("jobs", ttl=30)
    await queue.put("1")
    with pytest.raises(ClaimLost):
        async with queue.claim(on_loss="signal"):
            await client.delete(prefix="jobs/claims/")
    assert await queue.size() == 1


async def test_a_consumer_keeps_its_item_far_beyond_the_term(client: Client) -> None:
    queue = client.queue("jobs", ttl=TERM)
    await queue.put("1")
    async with queue.claim() as item:
        await until_expired(client, TERM + 2)
        assert not item.is_lost
        with pytest.raises(QueueTimeout):
            async with queue.claim(timeout=0):
                pytest.fail("claimed what another has")
    assert await nothing_left(client)


@pytest.mark.parametrize("timeout", [0, 0.3])
async def test_a_timeout_leaves_nothing(client: Client, timeout: float) -> None:
    with pytest.raises(QueueTimeout) as caught:
        async with client.queue("jobs").claim(timeout=timeout):
            pytest.fail("there is nothing to claim")
    assert isinstance(caught.value, TimeoutError)
    assert await nothing_left(client)


async def test_a_cancelled_waiter_leaves_nothing(client: Client) -> None:
    async def work() -> None:
        async with client.queue("jobs").claim():
            pytest.fail("there is nothing to claim")

    async with running(work()):
        await until_keys(client, "jobs/line/", 1)
    assert await nothing_left(client)


async def test_many_waiters_get_one_item_each(client: Client) -> None:
    async def work() -> bytes:
        async with queue.claim() as item:
            return item.value

    queue = client.queue("jobs")
    workers = [asyncio.create_task(work()) for _ in range(12)]
    await until_keys(client, "jobs/line/", 12)
    for number in range(12):
        await queue.put(str(number))
    values = await within(asyncio.gather(*workers), 20)
    assert sorted(values, key=int) == [b"%d" % number for number in range(12)]
    assert await nothing_left(client)


async def test_few_of_many_waiters_are_woken_by_an_item(client: Client, etcd_server: EtcdServer) -> None:
    async def work() -> None:
        async with queue.claim():
            claims.append(1)
            await forever()

    claims: list[int] = []
    queue = client.queue("jobs")
    workers = [asyncio.create_task(work()) for _ in range(30)]
    try:
        await until_keys(client, "jobs/line/", 30)
        before = await transactions(etcd_server)
        await queue.put("1")
        await until_keys(client, "jobs/claims/", 1)
        await until_keys(client, "jobs/line/", 29)
        await client.queue("other").put("2")  # all that was sent until then has been counted
        assert 1 <= await transactions(etcd_server) - before <= 3
        assert len(claims) <= 1
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.wait(workers)


async def transactions(server: EtcdServer) -> float:
    """Return how many transactions the server was ever asked for."""
    labels = 'grpc_method="Txn",grpc_service="etcdserverpb.KV",grpc_type="unary"'
    return await metric(server, f"grpc_server_started_total{{{labels}}}")


async def test_many_consumers_work_off_many_items_each_once(client: Client) -> None:
    async def work() -> None:
        while True:
            try:
                async with queue.claim(timeout=0) as item:
                    done.append(item.value)
            except QueueTimeout:
                return

    done: list[bytes] = []
    queue = client.queue("jobs")
    for number in range(60):
        await queue.put(str(number))
    await within(asyncio.gather(*(work() for _ in range(8))), 30)
    assert sorted(done, key=int) == [b"%d" % number for number in range(60)]
    assert await nothing_left(client)


async def test_an_item_behind_many_claimed_ones_is_found(client: Client) -> None:
    queue = client.queue("jobs", ttl=60)
    for number in range(80):
        await queue.put(str(number))
    async with AsyncExitStack() as claims:
        held = [await claims.enter_async_context(queue.claim(timeout=0)) for _ in range(79)]
        assert [item.value for item in held] == [b"%d" % number for number in range(79)]
        async with queue.claim(timeout=0) as last:
            assert last.value == b"79"
        with pytest.raises(QueueTimeout):
            async with queue.claim(timeout=0):
                pytest.fail("all are claimed")
    assert await nothing_left(client)


async def test_those_who_come_at_once_get_the_first_items(client: Client) -> None:
    async def work() -> None:
        async with queue.claim(timeout=0) as item:
            claimed.append(item.value)
            if len(claimed) == 12:
                all_have.set()
            await all_have.wait()

    claimed: list[bytes] = []
    all_have = asyncio.Event()
    queue = client.queue("jobs")
    for number in range(30):
        await queue.put(str(number))
    await within(asyncio.gather(*(work() for _ in range(12))))
    assert sorted(claimed, key=int) == [b"%d" % number for number in range(12)]


async def test_a_waiter_gets_its_item_although_the_history_was_compacted(client: Client) -> None:
    async def work() -> bytes:
        async with queue.claim() as item:
            return item.value

    queue = client.queue("jobs")
    async with running(work()) as working:
        await until_keys(client, "jobs/line/", 1)
        for number in range(5):
            await client.put("/other", str(number))
        await client.compact((await client.range(prefix="/other")).revision)
        await queue.put("1")
        assert await within(working) == b"1"


async def test_an_item_that_is_deleted_meanwhile_is_acknowledged_in_peace(client: Client) -> None:
    queue = client.queue("jobs")
    key = await queue.put("1")
    async with queue.claim():
        await client.delete(key)
    assert await nothing_left(client)


async def test_a_claim_can_be_entered_once(client: Client) -> None:
    queue = client.queue("jobs")
    await queue.put("1")
    claim = queue.claim()
    for read in (lambda: claim.key, lambda: claim.value, lambda: claim.priority):
        assert_not_claimed(read)
    async with claim:
        with pytest.raises(RuntimeError, match="once"):
            await claim.__aenter__()
    with pytest.raises(RuntimeError, match="once"):
        await claim.__aenter__()
    assert await nothing_left(client)


def assert_not_claimed(read: Callable[[], object]) -> None:
    with pytest.raises(RuntimeError, match="nothing is claimed"):
        read()


async def test_arguments_are_checked_before_anything_is_sent(client: Client) -> None:
    with pytest.raises(ValueError, match="name"):
        client.queue("")
    with pytest.raises(ValueError, match="ttl"):
        client.queue("jobs", ttl=0)
    with pytest.raises(ValueError, match="on_loss"):
        client.queue("jobs").claim(on_loss="ignore")  # type: ignore[arg-type]  # what is tested
    with pytest.raises(ValueError, match="timeout"):
        client.queue("jobs").claim(timeout=-1)
    with pytest.raises(TypeError, match="value"):
        await client.queue("jobs").put(7)  # type: ignore[arg-type]  # what is tested


async def test_queues_work_encrypted_and_in_a_namespace(etcd_server: EtcdServer, client: Client) -> None:
    await wipe(client)
    secret = Client(etcd_server.endpoint, namespace="/ns/", encryption=Encryption(Keyring.generate()))
    async with secret:
        queue = secret.priority_queue("jobs")
        await queue.put("second", priority=2)
        await queue.put("first", priority=1)
        stored = await client.range(prefix="/ns/jobs/items/")
        assert all(b"first" not in kv.value and b"second" not in kv.value for kv in stored)
        async with queue.claim() as item:
            assert item.value == b"first"
            assert item.key.startswith(b"jobs/items/")
            assert (await secret.txn([item.owned], [put("x", "y")])).succeeded
            assert (await secret.txn([create_revision(item.key) != 0], [delete("x")])).succeeded
        assert await drained(queue) == [b"second"]
    assert await nothing_left(client)


async def test_an_item_that_can_not_be_decrypted_comes_back(etcd_server: EtcdServer, client: Client) -> None:
    async with Client(etcd_server.endpoint, encryption=Encryption(Keyring.generate())) as secret:
        await client.queue("jobs").put("in plain text")
        with pytest.raises(etcd_async.DecryptionFailed):
            async with secret.queue("jobs").claim() as item:
                pytest.fail(f"read {item.value!r}")
    assert await drained(client.queue("jobs")) == [b"in plain text"]
