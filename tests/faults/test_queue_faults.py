"""Queues whose producers and consumers are killed, and consumers that are cancelled wherever they wait."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from etcd_async import Claim, ClaimLost, Client, Event, KeyValue, LeaseNotFound, QueueTimeout, Ticket
from etcd_async.recipes._queue_keys import QueueKeys
from etcd_async.testing import EtcdServer, FaultProxy
from tests.faults.judge import history
from tests.faults.killable import Program, running_all
from tests.faults.steps import Way, each_cancellation, in_every_way
from tests.faults.support import Baseline, Stopwatch, start
from tests.support.live import forever, until, within

pytestmark = [pytest.mark.faults, pytest.mark.spared]

TTL = 1.0
SECONDS = 12.0
KILLS = 6  # at least
CONSUMERS = 12  # four in each of three processes


@dataclass
class QueueJudge:
    """
    What the history of a queue named ``q`` says of it, by revisions.

    Attributes:
        put: How many items were put.
        done: How many were taken out.
        returned: How many claims ended without their item being done.
        faults: Whatever should not have happened.
    """

    put: int = 0
    done: int = 0
    returned: int = 0
    faults: list[str] = field(default_factory=list)
    _keys: QueueKeys = field(default_factory=lambda: QueueKeys(b"q"))
    _items: dict[bytes, int] = field(default_factory=dict)  # with how often others were preferred while it was there
    _claims: dict[bytes, bytes] = field(default_factory=dict)
    _ever: set[bytes] = field(default_factory=set)

    def see(self, events: Iterable[Event]) -> None:
        """Take note of the next revision."""
        events = list(events)
        deleted = [event.kv.key for event in events if event.type == "delete"]
        for event in events:
            if event.type == "put" and event.kv.key.startswith(b"q/items/"):
                self._see_put(event.kv.key)
            elif event.type == "put" and event.kv.key.startswith(b"q/claims/"):
                self._see_claim(event.kv.key)
            elif event.type == "put" and event.kv.key.startswith(b"done/"):
                self._check(any(key in self._items for key in deleted), event.kv.key, "was done, and stayed")
        for key in deleted:
            if key in self._items:
                self._check(key in self._claims.values(), key, "was taken out, but not claimed")
                del self._items[key]
                self.done += 1
        for key in deleted:
            if key in self._claims and self._claims.pop(key) in self._items:
                self.returned += 1

    def _see_put(self, item: bytes) -> None:
        self._check(item not in self._ever, item, "was put again")
        self._ever.add(item)
        self._items[item] = 0
        self.put += 1

    def _see_claim(self, claim: bytes) -> None:
        item = self._keys.claimed_by(claim)
        self._check(item in self._items, item, "was claimed, but is not there")
        self._check(item not in self._claims.values(), item, "was claimed twice")
        self._claims[claim] = item
        self._items[item] = 0
        for other in self._items.keys() - set(self._claims.values()):
            if other < item:
                self._items[other] += 1
                # Each consumer may have looked before that one was there, but not a second time.
                self._check(self._items[other] <= 2 * CONSUMERS, other, "was passed over again and again")

    def _check(self, is_right: bool, key: bytes, fault: str) -> None:
        if not is_right:
            self.faults.append(f"{key!r} {fault}")


@pytest.mark.judged
@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_every_item_is_done_once_although_producers_and_consumers_are_killed(
    server: EtcdServer, client: Client
) -> None:
    chooser = random.Random(4)
    queue = client.queue("q")
    arguments = (server.endpoint, "q", str(TTL))
    producers = [Program("worker.py", *arguments, "put", f"{number}") for number in range(2)]
    consumers = [Program("worker.py", *arguments, "work", f"{number}") for number in range(3)]
    kills = 0
    async with running_all([*producers, *consumers]) as programs:
        watched = Stopwatch()
        while watched.seconds < SECONDS or kills < KILLS:
            async with client.watch(prefix="q/", filters=("no_delete",)) as watch:  # a moment that nobody can foresee
                for _ in range(chooser.randint(1, 150)):
                    await within(anext(aiter(watch)), 30)
            victim = chooser.choice(programs)
            await victim.kill()
            await victim.start()
            kills += 1
        for producer in producers:
            await producer.stop()

        async def is_done() -> bool:
            return not await queue.size()

        await until(is_done, 60)
        for consumer in consumers:
            await consumer.stop()

    async def is_clean() -> bool:
        return not await client.count(prefix="q/") and not await client.leases.list()

    await until(is_clean, 30)
    judge = QueueJudge()
    async for events in history(client):
        judge.see(events)
    assert judge.faults == []
    assert judge.done == judge.put > 100
    assert judge.returned > 0


def test_the_judge_of_queues_finds_what_it_is_there_to_find() -> None:
    item, claim, other = b"q/items/1/a", b"q/claims/1/a/7", b"q/claims/1/a/8"
    for history_, fault in [
        ([put(claim)], "not there"),
        ([put(item), put(claim), put(other)], "claimed twice"),
        ([put(item), gone(item)], "not claimed"),
        ([put(item), put(claim), gone(item), put(item)], "put again"),
        ([put(item), put(claim), put(b"done/1")], "stayed"),
    ]:
        judge = QueueJudge()
        for event in history_:
            judge.see([event])
        assert [each for each in judge.faults if fault in each], fault


def put(key: bytes) -> Event:
    return Event("put", KeyValue(key))


def gone(key: bytes) -> Event:
    return Event("delete", KeyValue(key))


async def claim_and_acknowledge(client: Client) -> None:
    async with client.queue("q", ttl=60).claim() as item:
        await client.get(item.key)


async def claim_with_patience(client: Client) -> None:
    async with client.queue("q", ttl=60).claim(timeout=30) as item:
        await item.acknowledge()


async def claim_and_release(client: Client) -> None:
    async with client.queue("q", ttl=60).claim(timeout=0) as item:
        await item.release()


async def put_one(client: Client) -> None:
    await client.queue("q").put("another")


WORKS: list[Callable[[Client], Awaitable[None]]] = [
    claim_and_acknowledge,
    claim_with_patience,
    claim_and_release,
    put_one,
]


@in_every_way
@pytest.mark.parametrize("work", WORKS)
async def test_cancelled_wherever_it_waits_it_leaves_nothing_but_items(
    server: EtcdServer, client: Client, work: Callable[[Client], Awaitable[None]], way: Way
) -> None:
    @asynccontextmanager
    async def one_item() -> AsyncIterator[None]:
        await client.delete(prefix="q/")
        await client.queue("q").put("one")
        yield

    async for _ in each_cancellation(lambda: work(client), way, Baseline(client, server), scene=one_item):
        left = await client.keys(prefix="q/")
        assert all(key.startswith(b"q/items/") for key in left)
        assert len(left) <= 2


@in_every_way
async def test_a_waiting_consumer_cancelled_wherever_it_waits_leaves_nothing(
    server: EtcdServer, client: Client, way: Way
) -> None:
    async with Client(server.endpoint) as other:
        await other.get("/anything")
        cancellations = each_cancellation(
            lambda: claim_and_acknowledge(client),
            way,
            Baseline(client, server),
            scene=lambda: putting_when_awaited(other),
            more_than=5,
        )
        async for _ in cancellations:
            await client.delete(prefix="q/items/")
            assert await client.keys(prefix="q/") == []


@asynccontextmanager
async def putting_when_awaited(client: Client) -> AsyncIterator[None]:
    """Put an item as soon as a consumer waits, unless the body is over by then; not a bit of it comes later."""
    is_over = False

    async def is_awaited() -> bool:
        return is_over or await client.count(prefix="q/line/") > 0

    async def put_one() -> None:
        await until(is_awaited, 20)
        if not is_over:
            await client.queue("q").put("one")

    putting = start(put_one())
    try:
        yield
    finally:
        is_over = True
        await within(putting)


async def test_an_item_of_a_consumer_that_was_cut_off_comes_back_before_it_is_done_twice(
    server: EtcdServer, client: Client, distant: Client, proxy: FaultProxy
) -> None:
    queue = client.queue("q", ttl=60)
    await queue.put("one")
    claims: list[Claim] = []

    async def work() -> None:
        async with distant.queue("q", ttl=2).claim() as item:
            claims.append(item)
            proxy.blackhole()
            await forever()

    with pytest.raises(ClaimLost):
        await within(work(), 20)
    async with queue.claim(timeout=20) as again:
        assert again.key == claims[0].key
        assert again.fencing_token > claims[0].fencing_token
        with pytest.raises(QueueTimeout):
            async with queue.claim(timeout=0):
                pytest.fail("claimed what another has")
    proxy.heal()
    assert await queue.size() == 0


@in_every_way
async def test_a_resumption_cancelled_wherever_it_waits_resigns_or_leaves_the_place_as_it_was(
    server: EtcdServer, client: Client, way: Way
) -> None:
    ticket: Ticket

    @asynccontextmanager
    async def suspended() -> AsyncIterator[None]:
        nonlocal ticket
        async with client.election("held", identity="me", ttl=60).campaign() as leadership:
            ticket = await leadership.suspend()
        yield
        with suppress(LeaseNotFound):  # it is as it was if not even the lease had been taken over
            await client.leases.revoke(ticket.lease)

    async def resume() -> None:
        async with client.election("held").resume(ticket) as leadership:
            await leadership.proclaim("still me")

    async for _ in each_cancellation(resume, way, Baseline(client, server), scene=suspended, more_than=3):
        assert await client.keys(prefix="held") == []
