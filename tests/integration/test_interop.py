"""Recipes that processes of Go and of Python use together, by the same name: etcd's own, and ours."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import pytest

from etcd_async import BarrierFull, BarrierTimeout, Client, KeyExists, LockTimeout
from etcd_async.recipes.holding import Holding
from etcd_async.recipes.stm import Transaction
from etcd_async.testing import EtcdServer
from tests.faults.processes import holder
from tests.integration.support import until_keys, wipe
from tests.interop.process import TTL, GoError, Gopher, binary, gopher
from tests.support.golang import Unbuildable
from tests.support.live import running, until, watchers, within

# The program is built once, with all of Go's library where that is not in its cache.
pytestmark = pytest.mark.timeout(400)

Step = Callable[[], Awaitable[object]]


@pytest.fixture(scope="module", autouse=True)
def program() -> None:
    try:
        binary()
    except Unbuildable as error:
        pytest.skip(f"etcd's Go client: {error}")


class Go:
    """Starts processes of Go that last as long as the test."""

    def __init__(self, server: EtcdServer, stack: AsyncExitStack) -> None:
        self._server = server
        self._stack = stack

    async def __call__(self, recipe: str, name: str, count: int = 0) -> Gopher:
        return await self._stack.enter_async_context(gopher(self._server.endpoint, recipe, name, count))


@pytest.fixture
async def go(etcd_server: EtcdServer, client: Client) -> AsyncIterator[Go]:
    async with AsyncExitStack() as stack:
        yield Go(etcd_server, stack)
    await wipe(client)


@dataclass(slots=True)
class Room:
    """Who is inside at any time, and in which order they came."""

    came: list[str] = field(default_factory=list)
    readers: int = 0
    writers: int = 0

    @contextmanager
    def write(self, name: str) -> Iterator[None]:
        assert not self.writers
        assert not self.readers
        self.came.append(name)
        self.writers += 1
        yield
        self.writers -= 1

    @contextmanager
    def read(self, name: str) -> Iterator[None]:
        assert not self.writers
        self.came.append(name)
        self.readers += 1
        yield
        self.readers -= 1


@dataclass(frozen=True, slots=True)
class Key:
    """One contender's way in and out, whatever it is written in."""

    enter: Step
    leave: Step

    @classmethod
    def of_go(cls, process: Gopher, enter: str, leave: str) -> "Key":
        return cls(lambda: process.do(enter), lambda: process.do(leave))

    @classmethod
    def of_ours(cls, holding: Holding) -> "Key":
        return cls(holding.acquire, holding.release)

    @asynccontextmanager
    async def used(self) -> AsyncIterator[None]:
        await within(self.enter(), 30)
        try:
            yield
        finally:
            await within(self.leave(), 30)


async def pass_through(client: Client, key: Key, name: str, room: Room) -> None:
    """Enter, let everybody else try, and leave."""
    async with key.used():
        with room.write(name):
            await client.get("/elsewhere")


async def test_the_lock_goes_round_in_the_order_of_arrival(client: Client, go: Go) -> None:
    keys = {
        "go 1": Key.of_go(await go("mutex", "x"), "lock", "unlock"),
        "ours 1": Key.of_ours(client.lock("x")),
        "go 2": Key.of_go(await go("mutex", "x"), "lock", "unlock"),
        "ours 2": Key.of_ours(client.lock("x")),
        "go 3": Key.of_go(await go("mutex", "x"), "lock", "unlock"),
    }
    room = Room()
    async with asyncio.TaskGroup() as group, client.lock("x"):
        for place, (name, key) in enumerate(keys.items(), 2):
            group.create_task(pass_through(client, key, name, room))
            await until_keys(client, "x/", place)
    assert room.came == [*keys]


@pytest.mark.judged
async def test_nobody_holds_the_lock_beside_another(client: Client, go: Go) -> None:
    room = Room()

    async def work(name: str, key: Key) -> None:
        for _ in range(8):
            await pass_through(client, key, name, room)

    async with asyncio.TaskGroup() as group:
        for each in range(3):
            group.create_task(work(f"go {each}", Key.of_go(await go("mutex", "x"), "lock", "unlock")))
            group.create_task(work(f"ours {each}", Key.of_ours(client.lock("x"))))
    assert len(room.came) == 48


async def test_a_held_lock_is_not_had_by_trying(client: Client, go: Go) -> None:
    process = await go("mutex", "x")
    await process.do("try_lock")
    with pytest.raises(LockTimeout):
        await client.lock("x", timeout=0).acquire()
    await process.do("unlock")
    async with client.lock("x", timeout=0):
        with pytest.raises(GoError, match="Locked by another session"):
            await process.do("try_lock")
    await process.do("try_lock")


async def test_the_lock_of_a_killed_process_of_go_is_had_after_its_term(client: Client, go: Go) -> None:
    process = await go("mutex", "x")
    await process.do("lock")
    await process.kill()
    async with asyncio.timeout(TTL + 10), client.lock("x"):
        assert await client.count(prefix="x/") == 1


async def test_the_lock_of_a_killed_process_of_python_is_had_after_its_term(
    client: Client, go: Go, etcd_server: EtcdServer
) -> None:
    process = await go("mutex", "x")
    async with holder(etcd_server.endpoint, "x", ttl=TTL) as python:
        await python.says("waiting")
        await python.says("entered")
        python.process.kill()
        await process.do("lock")
    assert await client.count(prefix="x/") == 1


# Elections.


async def test_each_leads_in_turn_and_all_hear_of_it(client: Client, go: Go) -> None:
    rival, observer = await go("election", "x"), await go("election", "x")
    ours = client.election("x", identity="ours")
    observed = ours.observe()

    async def heard() -> list[str]:
        told = (await within(anext(observed))).decode()
        return [told, await observer.do("observe"), await observer.do("leader"), (await ours.leader() or b"").decode()]

    async def resign() -> None:
        await until_keys(client, "x/", 2)
        await rival.do("resign")

    await rival.do("campaign go")
    assert await heard() == ["go"] * 4
    async with running(resign()), ours.campaign(timeout=30) as leadership:
        assert await heard() == ["ours"] * 4
        await leadership.proclaim("ours, too")
        assert await heard() == ["ours, too"] * 4
        again = asyncio.create_task(rival.do("campaign go again"))
        await until_keys(client, "x/", 2)
        assert not again.done()
    await again
    assert await heard() == ["go again"] * 4
    await rival.do("proclaim go on")
    assert await heard() == ["go on"] * 4
    await observed.aclose()


async def test_when_a_leading_process_of_go_is_killed_the_next_one_leads(client: Client, go: Go) -> None:
    rival = await go("election", "x")
    await rival.do("campaign go")
    await rival.kill()
    async with client.election("x", identity="ours").campaign(timeout=TTL + 10):
        assert await client.count(prefix="x/") == 1


# Read-write locks.


async def read(key: Key, name: str, room: Room, until_told: asyncio.Event) -> None:
    async with key.used():
        with room.read(name):
            await until_told.wait()


async def test_readers_and_writers_enter_in_the_order_of_arrival(client: Client, go: Go) -> None:
    room, first_leave = Room(), asyncio.Event()
    is_over = asyncio.Event()
    is_over.set()
    locks = [await go("rwmutex", "x") for _ in range(4)]
    reading = [Key.of_go(lock, "read", "end_reading") for lock in locks]
    writing = [Key.of_go(lock, "write", "end_writing") for lock in locks]
    ours = client.rwlock("x")
    works = [
        read(reading[0], "go reads", room, first_leave),
        read(Key.of_ours(ours.read()), "ours reads", room, first_leave),
        pass_through(client, Key.of_ours(ours.write()), "ours writes", room),
        pass_through(client, writing[1], "go writes", room),
        read(reading[2], "go reads after that", room, is_over),
        pass_through(client, Key.of_ours(ours.write()), "ours writes again", room),
        pass_through(client, writing[3], "go writes again", room),
        read(Key.of_ours(ours.read()), "ours reads at last", room, is_over),
    ]
    async with asyncio.TaskGroup() as group:
        for place, work in enumerate(works, 1):
            group.create_task(work)
            await until_keys(client, "x/", place)
        await until(lambda: has_come(client, room, 2))
        assert sorted(room.came) == ["go reads", "ours reads"]
        first_leave.set()
    assert room.came[2:] == [
        "ours writes",
        "go writes",
        "go reads after that",
        "ours writes again",
        "go writes again",
        "ours reads at last",
    ]


async def has_come(client: Client, room: Room, number: int) -> bool:
    await client.get("/elsewhere")
    return len(room.came) == number


@pytest.mark.judged
async def test_nobody_reads_or_writes_beside_a_writer(client: Client, go: Go) -> None:
    room, ours = Room(), client.rwlock("x")

    async def work(reading: Key, writing: Key) -> None:
        for turn in range(6):
            if turn % 3:
                async with reading.used():
                    with room.read(""):
                        await client.get("/elsewhere")
            else:
                await pass_through(client, writing, "", room)

    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            lock = await go("rwmutex", "x")
            group.create_task(work(Key.of_go(lock, "read", "end_reading"), Key.of_go(lock, "write", "end_writing")))
            group.create_task(work(Key.of_ours(ours.read()), Key.of_ours(ours.write())))
    assert len(room.came) == 36


@pytest.mark.parametrize("action", ["read", "write"])
async def test_a_killed_reader_or_writer_of_go_makes_room(client: Client, go: Go, action: str) -> None:
    process = await go("rwmutex", "x")
    await process.do(action)
    with pytest.raises(LockTimeout):
        await client.rwlock("x", timeout=0).write().acquire()
    await process.kill()
    async with client.rwlock("x", timeout=TTL + 10).write():
        assert await client.count(prefix="x/") == 1


# Barriers.


async def until_watched(server: EtcdServer, number: int) -> None:
    async def reached() -> bool:
        return await watchers(server) == number

    await until(reached)


@pytest.mark.parametrize("is_ours", [True, False], ids=["ours", "go"])
async def test_a_barrier_is_held_and_released_by_either(
    client: Client, go: Go, etcd_server: EtcdServer, is_ours: bool
) -> None:
    theirs, waiting, ours = await go("barrier", "x"), await go("barrier", "x"), client.barrier("x")
    await (ours.hold() if is_ours else theirs.do("hold"))
    with pytest.raises(KeyExists):
        await ours.hold()
    with pytest.raises(GoError, match="key already exists"):
        await theirs.do("hold")
    async with running(ours.wait()) as one, running(waiting.do("wait")) as other:
        await until_watched(etcd_server, 2)
        with pytest.raises(BarrierTimeout):
            await ours.wait(timeout=0)
        assert not one.done()
        assert not other.done()
        await (theirs.do("release") if is_ours else ours.release())
        await within(asyncio.gather(one, other))
    await theirs.do("wait")


async def test_members_enter_together_and_leave_together(client: Client, go: Go) -> None:
    theirs = [Key.of_go(await go("double_barrier", "x", 4), "enter", "leave") for _ in range(2)]
    ours = [client.double_barrier("x", 4) for _ in range(2)]
    members = [*theirs, *(Key(each.enter, each.leave) for each in ours)]
    late = await go("double_barrier", "x", 4)
    for each in range(4):  # in each round another one is the last
        *first, last = members[each:] + members[:each]
        await all_at_once(client, [member.enter for member in first], last.enter, lambda present: present == 3)
        with pytest.raises(BarrierFull):
            await client.double_barrier("x", 4).enter()
        with pytest.raises(GoError, match="too many clients"):
            await late.do("enter")
        # One who leaves takes its key away; but Go's first one keeps it until it is the last.
        await all_at_once(client, [member.leave for member in first], last.leave, lambda present: present <= 2)
        await until_keys(client, "x/", 0)


async def all_at_once(client: Client, first: list[Step], last: Step, shows: Callable[[int], bool]) -> None:
    """Have steps wait for the last one; the number of members' keys *shows* that all the others do."""

    async def all_wait() -> bool:
        return shows(await client.count(prefix="x/waiters/"))

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(done(step)) for step in first]
        await until(all_wait)
        assert not any(task.done() for task in tasks)
        await done(last)


async def done(step: Step) -> None:
    await within(step(), 30)


async def test_a_killed_member_of_go_counts_as_having_left(client: Client, go: Go) -> None:
    process = await go("double_barrier", "x", 2)
    async with running(process.do("enter")) as entering, client.double_barrier("x", 2, timeout=TTL + 10):
        await within(entering)
        await process.kill()
    assert await client.count(prefix="x/") == 0


# Memory, and copies.


@pytest.mark.judged
async def test_transactions_of_both_lose_no_increment(client: Client, go: Go) -> None:
    await client.put("x", "0")

    async def increment(t: Transaction) -> None:
        kv = await t.get("x")
        assert kv is not None
        t.put("x", str(int(kv.value) + 1))

    async with asyncio.TaskGroup() as group:
        group.create_task(done_by_go(await go("stm", "x")))
        for _ in range(30):
            await client.stm(increment)
    found = await client.get("x")
    assert found is not None
    assert found.value == b"60"


async def done_by_go(process: Gopher) -> None:
    await process.do("increment 30")


async def test_the_syncer_of_go_sees_what_we_write(client: Client, go: Go) -> None:
    await client.put_many({f"/a/{number}": "v" for number in range(3)})
    process = await go("mirror", "/a/")
    assert await process.do("base") == "/a/0=v /a/1=v /a/2=v"
    await client.move("/a/0", "/a/4")
    await client.delete("/a/1")
    assert {await process.do("update") for _ in range(2)} == {"DELETE /a/0=", "PUT /a/4=v"}
    assert await process.do("update") == "DELETE /a/1="
