"""A cluster that is upgraded member by member, from release to release, under a client that goes on."""

import asyncio
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from etcd_async import Client, Event, PutResult
from etcd_async.testing import EtcdServer
from tests.faults.support import outcome, written
from tests.support.live import metric, running, until, within
from tests.support.members import LOG, Members, binaries, members

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

TERM = 10.0  # less than the upgrade takes


async def upgrade(cluster: Members, binary: Path, line: str) -> None:
    """Upgrade one member after the other, and wait until the cluster takes itself for the new release."""
    for member in range(3):
        await cluster.replace(member, binary)
    for server in cluster.servers:
        await until(partial(_counts_as, server, line), 60)


async def until_logs_are_cut(cluster: Members) -> None:
    """Wait until no member has anything of now in its log when it starts: 3.7 can't read what 3.5 wrote."""
    first = 0
    for server in cluster.servers:  # each for itself: one may lag behind
        async with Client(server.endpoint, timeout=20) as client:
            first = first or await revision(client)
            await until(partial(_is_past, client, first + 3 * LOG), 60)


async def _is_past(client: Client, wanted: int) -> bool:
    return await revision(client) > wanted


async def revision(client: Client) -> int:
    """Return that of the store."""
    return (await client.range(prefix="/w/", count_only=True)).revision


async def _counts_as(server: EtcdServer, line: str) -> bool:
    return await metric(server, f'etcd_cluster_version{{cluster_version="{line}"}}') == 1


async def write(client: Client, stop: asyncio.Event) -> dict[int, bytes]:
    """Put one key after the other, and return by revision what was acknowledged."""
    done: dict[int, bytes] = {}
    for number in count():
        if stop.is_set():
            break
        # A member whose leader goes keeps the write that it has handed on for some 6 s.
        result = await outcome(client.put(f"/w/{number}", "v", timeout=1.0))
        if isinstance(result, PutResult):
            done[result.revision] = b"/w/%d" % number
    done[await put_last(client)] = b"/w/last"
    return done


async def put_last(client: Client) -> int:
    """Put the last key once, whatever becomes of the answer, and return its revision."""
    while True:
        await outcome(client.put_if_absent("/w/last", "v"))
        if (kv := await client.get("/w/last")) is not None:
            return kv.mod_revision


async def events(client: Client, first: int) -> list[Event]:
    """Return all events from revision *first* to the last one."""
    seen: list[Event] = []
    async with client.watch(prefix="/w/", start_revision=first) as watch:
        async for event in watch:
            seen.append(event)
            if event.kv.key == b"/w/last":
                break
    return seen


async def enter(client: Client) -> int:
    """Wait for the lock, and return the fencing token."""
    async with client.lock("job", ttl=TERM) as lock:
        return lock.fencing_token


@pytest.mark.judged
async def test_a_client_lives_through_an_upgrade_over_two_releases(tmp_path: Path) -> None:
    old, *newer = binaries("3.5", "3.6", "3.7")
    stop = asyncio.Event()
    async with (
        members([old] * 3, tmp_path) as cluster,
        Client(cluster.endpoints, timeout=20) as client,
        Client(cluster.endpoints, timeout=20) as other,
        client.lease(TERM) as lease,
        client.lock("job", ttl=TERM) as lock,
    ):
        first = await written(client, "/leased", lease)
        async with (
            running(write(client, stop)) as writing,
            running(events(other, first)) as watching,
            running(enter(other)) as waiting,
        ):
            for binary, line in zip(newer, ("3.6", "3.7"), strict=True):
                await until_logs_are_cut(cluster)
                await upgrade(cluster, binary, line)
            stop.set()
            acknowledged = await within(writing, 60)
            seen = await within(watching, 60)
            assert not any((lease.is_lost, lock.is_lost, waiting.done()))
            assert (await client.txn([lock.owned])).succeeded
            assert await client.exists("/leased")
            token = lock.fencing_token
            await lock.release()
            assert await within(waiting, 30) > token
        async with Client(cluster.endpoints) as newcomer:
            assert seen == await within(events(newcomer, first), 60)
        assert acknowledged.items() <= {event.revision: event.kv.key for event in seen}.items()
