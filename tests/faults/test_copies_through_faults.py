"""Caches, mirrors and configurations whose servers are killed, cut off and silent end equal to the original."""

import random
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from etcd_async import Client, EtcdError
from etcd_async.testing import EtcdServer, FaultProxy
from tests.faults.support import QUICK, UNFORGETFUL
from tests.support.live import running, until, within

pytestmark = pytest.mark.faults

PATIENT = 30.0


@pytest.fixture
async def target() -> AsyncIterator[EtcdServer]:
    """Another cluster."""
    async with EtcdServer(extra_args=[*QUICK, *UNFORGETFUL], fsync=True) as server:
        yield server


async def copy_of(client: Client, prefix: str) -> dict[bytes, bytes]:
    return {kv.key.removeprefix(prefix.encode()): kv.value for kv in await client.range(prefix=prefix)}


async def insist(client: Client, key: str, value: bytes | None) -> int:
    """Write or delete until a server says that it is done, and return the revision."""
    while True:
        with suppress(EtcdError):
            if value is None:
                return (await client.delete(key)).revision
            return (await client.put(key, value)).revision


async def test_a_mirror_of_another_cluster_outlasts_killed_servers(server: EtcdServer, target: EtcdServer) -> None:
    chance = random.Random(5)
    async with Client(server.endpoint, timeout=2) as near, Client(target.endpoint, timeout=2) as far:
        for _ in range(30):
            await far.put("/elsewhere", "so that the revisions of the two differ")
        async with near.mirror("/a/", far, "/b/", checkpoint="/mirror") as mirror:
            for round in range(4):
                for number in range(60):
                    key = f"/a/{chance.randrange(25)}"
                    gone = chance.random() < 0.3
                    await insist(near, key, None if gone else b"x" * chance.choice((10, 300_000)))
                    if number == 30:
                        victim = chance.choice((server, target))
                        await victim.kill()
                        await victim.start()
                last = await insist(near, "/a/end", str(round).encode())
                await within(mirror.wait_for(last), PATIENT)
                assert await copy_of(far, "/b/") == await copy_of(near, "/a/")
        before = await copy_of(near, "/a/")
        await insist(near, "/a/0", b"while nobody mirrors")
        async with near.mirror("/a/", far, "/b/", checkpoint="/mirror") as mirror:
            await within(mirror.wait_for((await near.range(prefix="/a/0"))[0].mod_revision), PATIENT)
        assert await copy_of(far, "/b/") == before | {b"0": b"while nobody mirrors"}


async def test_a_cache_goes_on_after_its_server_was_killed_and_compacted(server: EtcdServer) -> None:
    async with Client(server.endpoint, timeout=2) as client, client.cache(prefix="/a/") as cache:
        for round in range(3):
            await insist(client, "/a/1", str(round).encode())
            await server.kill()
            await server.start()
            last = await insist(client, f"/a/{round}", b"x")
            await client.compact(last)
            await within(cache.wait_for(last), PATIENT)
            assert {kv.key: kv for kv in await client.range(prefix="/a/")} == dict(cache)


async def test_a_silent_server_is_waited_for_by_all_that_follow(server: EtcdServer) -> None:
    async with (
        FaultProxy(server.endpoint) as proxy,
        Client(server.endpoint) as writer,
        Client(proxy.endpoint, timeout=1) as behind,
        behind.cache(prefix="config/") as cache,
        behind.config_source("app").watch() as updates,
        behind.resolver("billing") as resolver,
    ):
        seen: list[Any] = []

        async def follow() -> None:
            async for values in updates:
                seen.append(values)  # noqa: PERF401  # seen grows while this runs

        async with running(follow()) as following:
            proxy.blackhole()
            with pytest.raises(EtcdError):
                await within(cache.sync())
            assert len(cache) == 0
            assert resolver.instances == []
            revision = await writer.config_source("app").write({"a": 1})
            await writer.compact(revision)
            proxy.heal()
            await within(cache.wait_for(revision, timeout=PATIENT), PATIENT)

            async def has_come() -> bool:
                await writer.get("/k")
                return bool(seen) and seen[-1] == {"a": 1}

            await until(has_come, PATIENT)
            assert not following.done()


@pytest.mark.judged
async def test_a_large_change_through_cuts_is_whole_or_not_there(server: EtcdServer) -> None:
    chance = random.Random(3)
    values = [{f"leaf{number:03}": [round, number] for number in range(300)} for round in range(8)]
    async with (
        FaultProxy(server.endpoint) as proxy,
        Client(server.endpoint) as reader,
        Client(proxy.endpoint, timeout=2) as writer,
    ):
        source = reader.config_source("app")
        for each in values:

            async def cut() -> None:
                while True:
                    await reader.get("/k")
                    if chance.random() < 0.02:
                        proxy.cut()

            async with running(cut()):
                with suppress(EtcdError):
                    await within(writer.config_source("app").write(each), PATIENT)
            assert await source.read() in ({}, *values)
        await within(writer.config_source("app").write({"end": 1}), PATIENT)
        assert await source.read() == {"end": 1}
