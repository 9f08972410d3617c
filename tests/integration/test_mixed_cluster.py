"""A cluster whose members run different releases, as amid an upgrade: what a client learns of one is about that one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from etcd_async import Client, Watch
from etcd_async._transport.versions import orders_progress, parse_version
from etcd_async.testing import EtcdServer, FaultProxy
from tests.faults.support import STEADY
from tests.support.live import metric, until
from tests.support.members import binaries, members
from tests.support.versions import number

pytestmark = pytest.mark.timeout(120)

KEYS = [b"/s/%02d" % each for each in range(30)]


@dataclass(frozen=True, slots=True)
class Mixture:
    """Members, of which the client may be shown one at a time."""

    servers: list[EtcdServer]
    proxies: list[FaultProxy]

    @property
    def endpoints(self) -> list[str]:
        return [proxy.endpoint for proxy in self.proxies]

    def leave_only(self, member: int) -> None:
        """Move all connections to one member."""
        self.proxies[member].accept()
        for proxy in self.proxies:
            if proxy is not self.proxies[member]:
                proxy.refuse()
                proxy.cut()


@pytest.fixture
async def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Mixture]:
    """One member of the newer of two releases, between two of the older one."""
    old, new = binaries(*request.param)
    async with members([old, new, old], tmp_path, *STEADY) as cluster, AsyncExitStack() as stack:
        proxies = [await stack.enter_async_context(FaultProxy(server.endpoint)) for server in cluster.servers]
        yield Mixture(cluster.servers, proxies)


def of(*pairs: tuple[str, str]) -> pytest.MarkDecorator:
    """Run a test with clusters of these releases."""
    return pytest.mark.parametrize("cluster", pairs, indirect=True, ids=" and ".join)


async def scans_by_stream(server: EtcdServer) -> float:
    """Return how many streams of ranges the server was asked for; it counts only what it knows."""
    labels = 'grpc_method="RangeStream",grpc_service="etcdserverpb.KV",grpc_type="server_stream"'
    return await metric(server, f"grpc_server_started_total{{{labels}}}")


@of(("3.6", "3.7"))
async def test_each_scan_is_streamed_where_it_can_be(cluster: Mixture) -> None:
    async with Client(cluster.endpoints) as client:
        await client.put_many(dict.fromkeys(KEYS, "v"))
        for member in (0, 1, 2, 1):
            cluster.leave_only(member)
            server = cluster.servers[member]
            before = await scans_by_stream(server)
            for _ in range(2):
                assert [kv.key async for kv in client.scan(prefix="/s/", page_size=4)] == KEYS
            streams = number(server.version) >= (3, 7)
            assert await scans_by_stream(server) - before == (2 if streams else 0)


@of(("3.6", "3.7"))
async def test_scans_are_whole_and_of_one_revision_whoever_reads_them(cluster: Mixture) -> None:
    async with Client(cluster.endpoints) as client:
        await client.put_many(dict.fromkeys(KEYS, "v"))
        for turn in range(8):
            found = []
            async for kv in client.scan(prefix="/s/", page_size=4):
                found.append(kv)
                await client.put(KEYS[-1], f"{turn}, {len(found)}")
            assert [kv.key for kv in found] == KEYS
            assert found[-1].value == (b"%d, 30" % (turn - 1) if turn else b"v")


@of(("3.5.1", "3.6"), ("3.5", "3.6"), ("3.6", "3.7"))
async def test_a_watch_goes_on_at_each_member_and_believes_it_as_far_as_its_release_deserves(cluster: Mixture) -> None:
    written: list[int] = []
    come: list[int] = []
    async with (
        Client(cluster.servers[1].endpoint) as writer,
        Client(cluster.endpoints) as client,
        client.watch(prefix="/w/") as watch,
    ):
        for member in (0, 1, 2, 1, 0):
            written.append((await writer.put("/w/before", "v")).revision)
            cluster.leave_only(member)
            written.append((await writer.put("/w/after", "v")).revision)
            come += await revisions(watch, until_revision=written[-1])
            assert await trust(client) is orders_progress(parse_version(cluster.servers[member].version))
            assert come[-1] <= await progress(watch) < (await writer.put("/elsewhere", "v")).revision
    assert come == written


async def revisions(watch: Watch, *, until_revision: int) -> list[int]:
    """Return the revisions of the next events, up to that one."""
    come: list[int] = []
    async with asyncio.timeout(20):
        async for event in watch:
            come.append(event.revision)
            if event.revision >= until_revision:
                return come
    raise AssertionError("the watch has ended")


async def progress(watch: Watch) -> int:
    """Ask how far the watch has come, and return what is answered."""
    await watch.request_progress()
    async with asyncio.timeout(20):
        async for batch in watch.batches():
            if batch.is_progress:
                return batch.revision
    raise AssertionError("the watch has ended")


async def trust(client: Client) -> bool:
    """Wait until the client knows which release its watches are served by, and return whether it takes its word."""
    watcher = client._core.watcher

    async def is_known() -> bool:
        await client.get("/k")
        stream = watcher._duplex.stream
        return stream is not None and stream.connection in watcher._versions._known

    await until(is_known)
    return watcher._machine.orders_progress
