"""A client behind ``etcd grpc-proxy``, which shares watches and leases among its clients and names them anew."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from etcd_async import Client, Compacted, EtcdError, Event, LeaseLost, Watch, put, value
from etcd_async.recipes.stm import Transaction
from etcd_async.testing import EtcdServer, find_binary
from etcd_async.testing._process import Process
from etcd_async.testing.ports import Ports
from tests.integration.support import until_keys
from tests.support.live import forever, running, take, until, within

pytestmark = pytest.mark.timeout(90)


class Proxy:
    """The proxy in front of a server, on a port that it keeps."""

    def __init__(self, server: EtcdServer, folder: Path) -> None:
        self.address = f"127.0.0.1:{Ports.pick().client}"
        self._log = folder / "log"
        self._command = [
            str(find_binary()),
            "grpc-proxy",
            "start",
            f"--endpoints={server.endpoint}",
            f"--listen-addr={self.address}",
            f"--advertise-client-url={self.address}",
        ]
        self._process = self._start()

    def restart(self) -> None:
        """Kill it and start another."""
        self.kill()
        self._process = self._start()

    def kill(self) -> None:
        self._process.kill()

    def _start(self) -> Process:
        return Process(self._command, env={}, log=self._log)


@pytest.fixture
async def proxy(etcd_server: EtcdServer, client: Client, tmp_path: Path) -> AsyncIterator[Proxy]:
    proxy = Proxy(etcd_server, tmp_path)
    yield proxy
    proxy.kill()


@pytest.fixture
async def distant(proxy: Proxy) -> AsyncIterator[Client]:
    """A client of the proxy, which is up."""
    async with Client(proxy.address) as distant:

        async def is_up() -> bool:
            try:
                return await distant.get("/k", timeout=5) is None
            except EtcdError:
                return False

        await until(is_up, 30)
        yield distant


async def test_reads_are_of_now_and_writes_are_done(client: Client, distant: Client) -> None:
    for number in range(20):
        await client.put("/k", str(number))
        found = await distant.get("/k")
        assert found is not None
        assert found.value == b"%d" % number
        assert (await distant.txn([value("/k") == str(number)], [put("/seen", str(number))])).succeeded
    await distant.put_many({f"/s/{each:02d}": "v" for each in range(30)})
    assert [kv.key async for kv in distant.scan(prefix="/s/", page_size=7)] == [b"/s/%02d" % each for each in range(30)]


async def test_each_of_many_watches_has_its_own_events_in_whole_revisions(client: Client, distant: Client) -> None:
    keys = [f"/w/{each}" for each in range(8)]
    watches = [distant.watch(key) for key in keys]
    async with distant.watch(prefix="/w/") as together:
        await asyncio.gather(*(watch.__aenter__() for watch in watches))
        await watches.pop(3).__aexit__(None, None, None)
        del keys[3]
        written = await client.put_many(dict.fromkeys(keys, "v"))
        batch = await within(anext(together.batches()))
        assert (batch.revision, len(batch.events)) == (written.revision, len(keys))
        for watch, key in zip(watches, keys, strict=True):
            [event] = await take(watch, 1)
            assert (event.kv.key, event.revision) == (key.encode(), written.revision)
        await asyncio.gather(*(watch.__aexit__(None, None, None) for watch in watches))


async def test_a_watch_of_the_past_brings_it_or_says_that_it_is_gone(client: Client, distant: Client) -> None:
    revisions = [(await client.put("/w", str(number))).revision for number in range(5)]
    async with distant.watch("/w", start_revision=revisions[1]) as watch:
        assert [event.revision for event in await take(watch, 4)] == revisions[1:]
    await client.compact(revisions[3])
    with pytest.raises(Compacted):
        async with distant.watch("/w", start_revision=revisions[1]) as watch:
            await take(watch, 1)
    async with distant.watch("/w", start_revision=revisions[3]) as watch:
        assert [event.revision for event in await take(watch, 2)] == revisions[3:]


async def test_progress_is_told_as_far_as_the_watch_has_come_for_sure(client: Client, distant: Client) -> None:
    before = (await client.put("/elsewhere", "v")).revision
    async with distant.watch("/w") as watch:
        assert await progress(watch) == before
        written = await client.put("/w", "v")
        [event] = await take(watch, 1)
        await client.put("/elsewhere", "v")
        assert event.revision == written.revision
        assert await progress(watch) == written.revision


async def progress(watch: Watch) -> int:
    """Ask how far the watch has come, and return what is answered."""
    await watch.request_progress()
    return (await within(anext(watch.batches()))).revision


async def test_leases_are_kept_and_their_loss_is_told(client: Client, distant: Client) -> None:
    async def hold() -> None:
        async with distant.lease(6) as lease:
            await distant.put("/leased", "v", lease=lease)
            renewed = lease.expires_at

            async def is_kept() -> bool:
                await client.get("/k")
                return lease.expires_at > renewed + 2

            await until(is_kept)
            assert await client.exists("/leased")
            assert (await distant.leases.keep_alive_once(lease)).ttl == 6
            await client.leases.revoke(lease.id)
            await forever()

    with pytest.raises(LeaseLost):
        await within(hold(), 20)


async def test_locks_and_elections_hold_on_both_sides(client: Client, distant: Client) -> None:
    order: list[str] = []

    async def enter(name: str, side: Client) -> None:
        async with side.lock("x"):
            order.append(name)

    async with asyncio.TaskGroup() as group, client.lock("x"):
        for place, name in enumerate(["distant", "near", "distant again"], 2):
            group.create_task(enter(name, client if name == "near" else distant))
            await until_keys(client, "x/", place)
    assert order == ["distant", "near", "distant again"]
    async with distant.election("e", identity="distant").campaign(timeout=10) as leadership:
        observed = client.election("e").observe()
        assert await within(anext(observed)) == b"distant"
        await leadership.proclaim("more")
        assert await within(anext(observed)) == b"more"
        await observed.aclose()


async def test_no_event_and_no_lease_is_lost_with_the_proxy(proxy: Proxy, client: Client, distant: Client) -> None:
    async def follow() -> list[Event]:
        return await take(watch, 300, 40)

    async with distant.lease(10) as lease, distant.watch(prefix="/w/") as watch, running(follow()) as following:
        await distant.put("/leased", "v", lease=lease)
        written = []
        for number in range(300):
            if number in (100, 200):
                await distant.get("/k", timeout=20)  # it is up, from the last time
                proxy.restart()
            written.append((await client.put(f"/w/{number}", "v")).revision)
        assert [event.revision for event in await following] == written
        assert await distant.exists("/leased", timeout=20)
        assert not lease.is_lost


async def test_caches_transactional_memory_queues_and_barriers_work_on_both_sides(
    client: Client, distant: Client
) -> None:
    async def increment(t: Transaction) -> None:
        kv = await t.get("/c/n")
        t.put("/c/n", str(int(kv.value) + 1 if kv is not None else 1))

    async def increment_often(side: Client) -> None:
        for _ in range(10):
            await side.stm(increment)

    async def meet(side: Client) -> None:
        async with side.double_barrier("b", 2, timeout=20):
            pass

    async with distant.cache(prefix="/c/") as cache:
        await asyncio.gather(increment_often(client), increment_often(distant))
        await cache.wait_for((await client.put("/c/last", "v")).revision, timeout=20)
        assert cache["/c/n"].value == b"20"
    await asyncio.gather(meet(client), meet(distant))
    await client.queue("q").put("work")
    async with distant.queue("q").claim(timeout=20) as item:
        assert item.value == b"work"
    async with distant.semaphore("s", limit=1, timeout=20), distant.rwlock("r", timeout=20).write():
        assert not await client.rwlock("r").read().try_acquire()
