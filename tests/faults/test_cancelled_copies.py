"""Caches, mirrors, configurations, resolvers and re-encryptions that are cancelled anywhere leave nothing behind."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from etcd_async import Client, Service
from etcd_async.crypto import Encryption, Keyring
from etcd_async.testing import EtcdServer
from tests.faults.steps import Way, each_cancellation, in_every_way
from tests.faults.support import Baseline
from tests.support.live import until

pytestmark = pytest.mark.faults

LARGE = {f"leaf{number:03}": number for number in range(200)}
BIG = "x" * 300_000  # sealed and opened in a thread


@pytest.fixture
async def client(server: EtcdServer) -> AsyncIterator[Client]:
    async with Client(server.endpoint, encryption=Encryption(Keyring.generate(), prefixes=("/s/",))) as client:
        yield client


async def cache(client: Client) -> None:
    async with client.cache(prefix="/s/") as cache:
        await client.put("/s/new", "v")
        await cache.sync()


async def changes(client: Client) -> None:
    async with client.cache(prefix="/s/") as cache:
        changes = cache.changes()
        await client.put("/s/new", BIG)
        try:
            await cache.sync()
        finally:
            await changes.aclose()


async def mirror(client: Client) -> None:
    async with client.mirror("/s/", client, "/copy/", checkpoint="/checkpoint") as mirror:
        await mirror.wait_for(1)


async def config_write(client: Client) -> None:
    await client.config_source("app").write({"a": 1, "b": {"c": 2}})


async def config_watch(client: Client) -> None:
    async with client.config_source("app").watch() as updates:
        await anext(updates)


async def resolver(client: Client) -> None:
    async with client.register(Service("held", "1", "h:1"), ttl=60) as registration:
        await registration.set_health(True)
        async with client.resolver("held") as resolver:
            await resolver.ready()


async def reencrypt(client: Client) -> None:
    await client.reencrypt(prefix="/s/")


async def big_values(client: Client) -> None:
    await client.put("/s/big", BIG)
    await client.get("/s/big")
    await client.compare_and_swap("/s/big", BIG, BIG)


WORKS: list[Callable[[Client], Awaitable[None]]] = [
    cache,
    changes,
    mirror,
    config_write,
    config_watch,
    resolver,
    reencrypt,
    big_values,
]


@in_every_way
@pytest.mark.parametrize("work", WORKS)
async def test_cancelled_wherever_it_waits_it_leaves_nothing(
    server: EtcdServer, client: Client, work: Callable[[Client], Awaitable[None]], way: Way
) -> None:
    await client.put_many({"/s/1": "v", "/s/2": "w", "/s/big": BIG})
    async for _ in each_cancellation(lambda: work(client), way, Baseline(client, server)):
        assert await client.keys(prefix="services/") == []
        assert await client.config_source("app").read() in ({}, {"a": 1, "b": {"c": 2}})
        assert [kv.value for kv in await client.range(prefix="/s/", limit=2)] == [b"v", b"w"]
        await client.delete(prefix="config/")
        await client.delete(prefix="/copy/")


@in_every_way
async def test_a_large_change_that_is_cancelled_anywhere_is_made_wholly_or_not_at_all(
    server: EtcdServer, client: Client, way: Way
) -> None:
    source = client.config_source("app")
    baseline = Baseline(client, server)
    outcomes = set()

    async def is_settled() -> bool:
        generation = await client.get("config/app/")
        return generation is not None and b"readers_stay_at" not in generation.value

    @asynccontextmanager
    async def settled() -> AsyncIterator[None]:
        await source.write({"old": 1})
        await baseline.check()
        yield
        await until(is_settled)
        assert await client.keys(prefix="config-writers/") == []
        found = await source.read()
        assert found in ({"old": 1}, LARGE)
        outcomes.add(len(found))

    async for _ in each_cancellation(lambda: source.write(LARGE), way, baseline, scene=settled):
        pass
    assert outcomes == {1, len(LARGE)}
