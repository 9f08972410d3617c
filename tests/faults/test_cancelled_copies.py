"""Caches, mirrors, configurations, resolvers and re-encryptions that are cancelled anywhere leave nothing behind."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from etcd_async import Client, Service
from etcd_async.crypto import Encryption, Keyring
from etcd_async.testing import EtcdServer
from tests.faults.steps import Way, cancel_at
from tests.faults.support import Baseline
from tests.support.live import until, within

pytestmark = pytest.mark.faults

MOST_STEPS = 80
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


@pytest.mark.parametrize("way", ["waiting", "answered", "scope"])
@pytest.mark.parametrize("work", WORKS)
async def test_cancelled_wherever_it_waits_it_leaves_nothing(
    server: EtcdServer, client: Client, work: Callable[[Client], Awaitable[None]], way: Way
) -> None:
    await client.put_many({"/s/1": "v", "/s/2": "w", "/s/big": BIG})
    baseline = Baseline(client, server)
    await baseline.take()
    for step in range(1, MOST_STEPS):
        if not await within(cancel_at(step, lambda: work(client), way)):
            break
        await baseline.check()
        assert await client.keys(prefix="services/") == []
        assert await client.config_source("app").read() in ({}, {"a": 1, "b": {"c": 2}})
        assert [kv.value for kv in await client.range(prefix="/s/", limit=2)] == [b"v", b"w"]
        await client.delete(prefix="config/")
        await client.delete(prefix="/copy/")
    else:
        pytest.fail(f"it waited more than {MOST_STEPS} times")
    assert step > 1


@pytest.mark.parametrize("way", ["waiting", "answered", "scope"])
async def test_a_large_change_that_is_cancelled_anywhere_is_made_wholly_or_not_at_all(
    server: EtcdServer, client: Client, way: Way
) -> None:
    source = client.config_source("app")
    await source.write({"old": 1})
    baseline = Baseline(client, server)
    await baseline.take()

    async def is_settled() -> bool:
        generation = await client.get("config/app/")
        return generation is not None and generation.value == b"{}"

    outcomes = set()
    for step in range(1, MOST_STEPS):
        was_cancelled = await within(cancel_at(step, lambda: source.write(LARGE), way))
        await until(is_settled)
        await baseline.check()
        assert await client.keys(prefix="config-writers/") == []
        found = await source.read()
        assert found in ({"old": 1}, LARGE)
        outcomes.add(len(found))
        if not was_cancelled:
            break
        await source.write({"old": 1})
        await baseline.check()
    else:
        pytest.fail(f"it waited more than {MOST_STEPS} times")
    assert outcomes == {1, len(LARGE)}
