"""A prefix in memory: joined at one revision, never behind what was waited for, and never silently dead."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from etcd_async import Client, ClientClosed, DeadlineExceeded, Event, KeyValue, RangeResult, Unavailable
from etcd_async.recipes import cache as module
from etcd_async.recipes._follow import Follow
from etcd_async.testing import EtcdServer, FaultProxy
from tests.support.live import running, take, turns, until, within


async def state_of(client: Client, prefix: str) -> dict[bytes, KeyValue]:
    return {kv.key: kv for kv in await client.range(prefix=prefix)}


async def test_it_begins_with_what_is_there(client: Client) -> None:
    await client.put_many({"/a/1": "x", "/a/2": "y", "/b": "z"})
    async with client.cache(prefix="/a/") as cache:
        assert dict(cache) == await state_of(client, "/a/")
        assert cache["/a/1"].value == b"x"
        assert cache[b"/a/2"].text() == "y"
        assert "/a/1" in cache
        assert "/b" not in cache
        assert cache.get("/a/3") is None
        assert list(cache) == [b"/a/1", b"/a/2"]
        assert len(cache) == 2
        with pytest.raises(KeyError):
            cache["/b"]


async def test_it_follows(client: Client) -> None:
    async with client.cache(prefix="/a/") as cache:
        put = await client.put("/a/1", "x")
        await within(cache.wait_for(put.revision))
        assert cache["/a/1"].value == b"x"
        gone = await client.delete("/a/1")
        await within(cache.wait_for(gone.revision))
        assert "/a/1" not in cache
        assert cache.revision >= gone.revision


async def test_it_can_be_waited_for_though_other_keys_changed(client: Client) -> None:
    async with client.cache(prefix="/a/") as cache:
        for _ in range(3):
            put = await client.put("/elsewhere", "x")
            await within(cache.wait_for(put.revision))
            assert cache.revision >= put.revision


async def test_it_can_be_waited_for_though_a_watch_of_the_future_silences_progress(client: Client) -> None:
    async with client.watch("/other", start_revision=10**9), client.cache(prefix="/a/") as cache:
        await client.put("/a/1", "x")
        put = await client.put("/elsewhere", "x")
        await within(cache.wait_for(put.revision))
        assert "/a/1" in cache
        put = await client.put("/a/1", "y")
        await within(cache.wait_for(put.revision))
        assert cache["/a/1"].value == b"y"


async def test_after_sync_every_earlier_write_is_there(client: Client, etcd_server: EtcdServer) -> None:
    async with Client(etcd_server.endpoint) as writer, client.cache(prefix="/a/") as cache:
        for number in range(50):
            put = await writer.put("/a/1", str(number))
            assert await within(cache.sync()) >= put.revision
            assert cache["/a/1"].value == str(number).encode()


async def test_waiting_has_a_limit(client: Client) -> None:
    async with client.cache(prefix="/a/") as cache:
        with pytest.raises(DeadlineExceeded, match=r"not at revision \d+ within 0.2 s"):
            await cache.wait_for(cache.revision + 1000, timeout=0.2)


async def test_changes_come_in_order_to_every_consumer(client: Client) -> None:
    async with client.cache(prefix="/a/") as cache:
        first, second = cache.changes(), cache.changes()
        async with running(take(first, 3)) as one, running(take(second, 3)) as two:
            await until(_consumers(cache, 2))
            await client.put("/a/1", "x")
            await client.put("/a/2", "y")
            await client.delete("/a/1")
            seen = await within(one)
            assert await within(two) == seen
        assert [(event.type, event.kv.key) for event in seen] == [
            ("put", b"/a/1"),
            ("put", b"/a/2"),
            ("delete", b"/a/1"),
        ]
        await first.aclose()
        await second.aclose()
        assert not cache._consumers


def _consumers(cache: module.Cache, number: int) -> Callable[[], Awaitable[bool]]:
    async def there() -> bool:
        await asyncio.sleep(0)
        return len(cache._consumers) == number

    return there


async def test_changes_end_with_the_body(client: Client) -> None:
    async with client.cache(prefix="/a/") as cache:
        changes = cache.changes()
        task = asyncio.ensure_future(anext(changes, None))
        await until(_consumers(cache, 1))
    assert await within(task) is None


async def test_a_slow_consumer_gets_the_last_change_of_each_key(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_PENDING", 10)
    async with client.cache(prefix="/a/") as cache:
        changes = cache.changes()
        first = asyncio.ensure_future(anext(changes))
        await until(_consumers(cache, 1))
        put = await client.put("/a/0", "first")
        assert (await within(first)).revision == put.revision
        for number in range(30):
            put = await client.put(f"/a/{number % 3}", str(number))
        await within(cache.wait_for(put.revision))
        rest = [event async for event in _until(changes, put.revision)]
        assert len(rest) <= 13
        assert {event.kv.key: event.kv.value for event in rest} == {b"/a/0": b"27", b"/a/1": b"28", b"/a/2": b"29"}
        assert [event.revision for event in rest] == sorted(event.revision for event in rest)
        await changes.aclose()


async def _until(changes: AsyncIterator[Event], revision: int) -> AsyncIterator[Event]:
    async for event in changes:
        yield event
        if event.revision == revision:
            return


async def test_it_lists_again_after_compaction(client: Client, etcd_server: EtcdServer) -> None:
    async with FaultProxy(etcd_server.endpoint) as proxy, Client(proxy.endpoint) as behind:
        await client.put_many({"/a/1": "x", "/a/2": "y"})
        async with behind.cache(prefix="/a/") as cache:
            changes = cache.changes()
            seen = asyncio.ensure_future(take(changes, 2))
            await until(_consumers(cache, 1))
            proxy.refuse()
            proxy.cut()
            await client.delete("/a/1")
            last = await client.put("/a/3", "z")
            await client.compact(last.revision)
            proxy.accept()
            await within(cache.wait_for(last.revision))
            assert dict(cache) == await state_of(client, "/a/")
            assert [(event.type, event.kv.key) for event in await within(seen)] == [
                ("put", b"/a/3"),
                ("delete", b"/a/1"),
            ]
            await changes.aclose()


async def test_listing_again_waits_for_a_server_and_so_does_who_waits_for_it(
    client: Client, etcd_server: EtcdServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 60)  # who waits does not read the keys itself
    refused, may_pass = asyncio.Event(), asyncio.Event()
    async with (
        FaultProxy(etcd_server.endpoint) as proxy,
        Client(proxy.endpoint) as behind,
        behind.cache(prefix="/a/") as cache,
    ):
        whole = behind.range

        async def out_of_reach(**options: Any) -> RangeResult:
            if "count_only" not in options and not may_pass.is_set():
                refused.set()
                raise Unavailable([])
            return await whole(**options)

        monkeypatch.setattr(behind, "range", out_of_reach)
        proxy.refuse()
        proxy.cut()
        await client.put("/a/1", "x")
        last = await client.put("/a/2", "y")
        await client.compact(last.revision)
        proxy.accept()
        await within(refused.wait())
        async with running(cache.wait_for(last.revision)) as waiting:
            await turns(5)
            may_pass.set()
            await within(waiting)
        assert dict(cache) == await state_of(client, "/a/")


async def test_differences_come_in_the_order_of_their_revisions(client: Client) -> None:
    await client.put_many({"/a/1": "x", "/a/2": "x"})
    async with Follow(client, b"/a/") as follow:
        await follow.next()
        await client.put("/a/3", "x")
        await client.delete("/a/1")
        await client.put("/a/2", "y")
        step = follow.adopt(await client.range(prefix="/a/"))
        assert [event.revision for event in step.events] == sorted(event.revision for event in step.events)


async def test_waiting_for_the_future_does_not_read_the_keys_again_and_again(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.01)
    async with client.cache(prefix="/a/") as cache:
        whole, listings = client.range, 0

        async def counted(**options: Any) -> RangeResult:
            nonlocal listings
            listings += 1
            return await whole(**options)

        monkeypatch.setattr(client, "range", counted)
        with pytest.raises(DeadlineExceeded):
            await cache.wait_for(cache.revision + 1000, timeout=0.2)
        await cache.sync()
        assert listings == 0


async def test_when_the_watch_is_silent_the_keys_are_read_once_for_all_who_wait(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(follow: Follow) -> None:
        pass

    monkeypatch.setattr(Follow, "request_progress", silent)
    whole, listings = client.range, 0

    async def counted(**options: Any) -> RangeResult:
        nonlocal listings
        listings += 1
        return await whole(**options)

    async with client.cache(prefix="/a/") as cache:
        revision = (await client.put("/b", "which the watch does not tell of")).revision
        monkeypatch.setattr(client, "range", counted)
        await within(asyncio.gather(*(cache.wait_for(revision) for _ in range(20))))
        assert (cache.revision, listings) == (revision, 1)


async def test_what_could_not_be_entered_is_not_read(client: Client, dead_endpoint: str) -> None:
    async with Client(dead_endpoint, timeout=0.2) as nobody:
        cache = nobody.cache(prefix="/app/")
        with pytest.raises((Unavailable, DeadlineExceeded)):
            await cache.__aenter__()
        with pytest.raises(RuntimeError, match="enter the cache first"):
            cache.get("/app/a")
        with pytest.raises(RuntimeError, match="enter the cache first"):
            await within(cache.wait_for(1))
        with pytest.raises(RuntimeError, match="entered once"):
            await cache.__aenter__()


async def test_what_was_left_is_not_read(client: Client) -> None:
    cache = client.cache(prefix="/a/")
    with pytest.raises(RuntimeError, match="enter the cache first"):
        await cache.sync()
    async with cache:
        waiting = asyncio.ensure_future(cache.wait_for(10**9))
        await cache.sync()
    for read in (lambda: cache["/a/1"], lambda: len(cache), lambda: cache.revision, lambda: "/a" in cache):
        with pytest.raises(RuntimeError, match="the cache was left"):
            read()
    with pytest.raises(RuntimeError, match="the cache was left"):
        await within(waiting)
    assert "left" in repr(cache)


@pytest.mark.parametrize("timeout", [-1, "1", float("nan"), True])
async def test_times_to_wait_are_checked(client: Client, timeout: Any) -> None:
    async with client.cache(prefix="/a/") as cache:
        for wait in (cache.sync(timeout=timeout), cache.wait_for(1, timeout=timeout)):
            with pytest.raises((TypeError, ValueError), match="timeout must"):
                await wait


@pytest.mark.judged
async def test_random_changes_and_cuts_end_equal_to_the_store(client: Client, etcd_server: EtcdServer) -> None:
    chance = random.Random(7)
    async with (
        FaultProxy(etcd_server.endpoint) as proxy,
        Client(proxy.endpoint) as behind,
        behind.cache(prefix="/a/") as cache,
    ):
        copy: dict[bytes, KeyValue] = {}
        last = 0
        revisions: list[int] = []

        async def follow() -> None:
            async for event in cache.changes():
                revisions.append(event.revision)
                if event.type == "put":
                    copy[event.kv.key] = event.kv
                else:
                    copy.pop(event.kv.key)

        async with running(follow()):
            await until(_consumers(cache, 1))
            for number in range(400):
                key = f"/a/{chance.randrange(20)}"
                if chance.random() < 0.3:
                    last = (await client.delete(key)).revision
                else:
                    last = (await client.put(key, str(number))).revision
                if chance.random() < 0.03:
                    proxy.cut()
            await within(cache.wait_for(last))
            expected = await state_of(client, "/a/")
            assert dict(cache) == expected

            async def equal() -> bool:
                await asyncio.sleep(0)
                return copy == expected

            await until(equal)
            assert revisions == sorted(revisions)


async def test_a_cache_whose_client_is_closed_says_so(etcd_server: EtcdServer) -> None:
    client = Client(etcd_server.endpoint)
    async with client.cache(prefix="/a/") as cache:
        changes = cache.changes()
        waiting = asyncio.ensure_future(anext(changes))
        await until(_consumers(cache, 1))
        await client.aclose()
        with pytest.raises(ClientClosed):
            await within(waiting)
        for read in (lambda: cache["/a/1"], lambda: len(cache), lambda: cache.revision, lambda: "/a" in cache):
            with pytest.raises(ClientClosed):
                read()


async def test_it_is_entered_once(client: Client) -> None:
    cache = client.cache(prefix="/a/")
    with pytest.raises(RuntimeError, match="enter the cache first"):
        len(cache)
    async with cache:
        with pytest.raises(RuntimeError, match="entered once"):
            await cache.__aenter__()


async def test_a_listing_that_was_ahead_of_the_watch_repeats_nothing(client: Client) -> None:
    """The two ways to learn of a change, meeting in any order."""
    await client.put("/a/1", "x")
    async with Follow(client, b"/a/") as follow:
        await follow.next()
        await client.put("/a/1", "y")
        await client.put("/a/2", "z")
        step = follow.adopt(await client.range(prefix="/a/"))
        assert [event.kv.key for event in step.events] == [b"/a/1", b"/a/2"]
        assert follow.adopt(await client.range(prefix="/a/", revision=step.revision)).events == ()
        last = await client.put("/a/3", "z")
        while follow.revision < last.revision:
            batch = await within(follow.next())
            assert [event.kv.key for event in batch.events] in ([], [b"/a/3"])
