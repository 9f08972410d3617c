"""Changes of a configuration that take more than one transaction: whole or not at all, whatever comes in between."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import pytest

from etcd_async import (
    Client,
    ConfigError,
    ConfigSource,
    DeadlineExceeded,
    EtcdError,
    Op,
    PermissionDenied,
    RequestTooLarge,
    StatusCode,
    Unavailable,
)
from etcd_async.config import Snapshot
from etcd_async.ops import Put
from etcd_async.testing import EtcdServer
from tests.integration.configurations import LARGE, said
from tests.support.live import running, until, within

# Thousands of keys, over and over: on a busy machine some of it takes a good part of a minute.
pytestmark = pytest.mark.timeout(240)


@pytest.mark.judged
async def test_a_watcher_and_readers_never_see_a_mixture_of_a_thousand_leaves(
    client: Client, etcd_server: EtcdServer, source: ConfigSource
) -> None:
    async with Client(etcd_server.endpoint) as other:
        seen: list[Any] = []

        async def watch() -> None:
            async with other.config_source("app").watch() as updates:
                async for values in updates:
                    seen.append(values)  # noqa: PERF401  # seen grows while this runs

        async def read() -> None:
            while True:
                assert await other.config_source("app").read() in [{}, *LARGE]

        async with running(watch()), running(read()) as reader:
            await until(_seen(seen, 1))
            for values in LARGE:
                await source.write(values)
            await until(_seen(seen, 1 + len(LARGE)))
            assert not reader.done()
    assert seen == [{}, *LARGE]


def _seen(seen: Sequence[Any], number: int) -> Any:
    async def check() -> bool:
        await asyncio.sleep(0)
        return len(seen) >= number

    return check


async def test_a_writer_that_dies_in_the_middle_leaves_what_was_before(
    client: Client, etcd_server: EtcdServer, source: ConfigSource
) -> None:
    await source.write(LARGE[0])
    dying = Client(etcd_server.endpoint)
    _die_in_the_middle(dying)
    with pytest.raises(EtcdError, match="power cut"):
        await dying.config_source("app").write(LARGE[1])
    await dying.aclose()
    half = {kv.key: kv.value for kv in await client.range(prefix="config/app/leaf")}
    assert len(set(map(str, (json.loads(value)[0] for value in half.values())))) == 2, "nothing was half written"
    assert await source.read() == LARGE[0]
    async with source.watch() as updates:
        assert await within(anext(updates)) == LARGE[0]
        await source.update({"new": 1})
        assert await within(anext(updates)) == {**LARGE[0], "new": 1}
    assert await source.read() == {**LARGE[0], "new": 1}


def _die_in_the_middle(client: Client) -> None:
    whole, count = client.txn, 0

    async def txn(
        when: Sequence[Any] = (), then: Sequence[Op] = (), otherwise: Sequence[Op] = (), **options: Any
    ) -> Any:
        nonlocal count
        count += len(then) > 100
        if count == 4:
            raise EtcdError("power cut")
        return await whole(when, then, otherwise, **options)

    client.txn = txn  # type: ignore[method-assign]


async def test_what_was_before_an_unfinished_change_may_be_compacted_away(
    client: Client, etcd_server: EtcdServer, source: ConfigSource
) -> None:
    await source.write(LARGE[0])
    dying = Client(etcd_server.endpoint)
    _die_in_the_middle(dying)
    with pytest.raises(EtcdError, match="power cut"):
        await dying.config_source("app").write(LARGE[1])
    await dying.aclose()
    await client.compact((await client.put("x", "")).revision)
    with pytest.raises(ConfigError, match=r"never finished.*write it again"):
        await source.read()
    await source.write(LARGE[2])
    assert await source.read() == LARGE[2]


async def test_a_write_that_is_cancelled_in_the_middle_goes_to_its_end(client: Client, source: ConfigSource) -> None:
    await source.write(LARGE[0])
    for turns in range(0, 200, 10):
        target = LARGE[1 + turns // 10 % 2]
        task = asyncio.create_task(source.write(target))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await within(asyncio.wait([task]))

        async def whole() -> bool:
            mark = await client.get("config/app/")
            return mark is not None and b"readers_stay_at" not in mark.value

        await until(whole)
        assert await source.read() in LARGE[:3]
    assert await client.keys(prefix="config-writers/") == []


@pytest.mark.parametrize("cause", ["too large", "not permitted"])
async def test_a_large_change_that_is_refused_is_taken_back(
    client: Client, source: ConfigSource, monkeypatch: pytest.MonkeyPatch, cause: str
) -> None:
    """A mark that stayed would make the configuration unreadable once the history is compacted away."""
    await source.write(LARGE[0])
    values: dict[str, Any] = {**LARGE[1], "zz": "new"}
    if cause == "too large":
        values["zzz"] = "x" * (1536 * 1024)
    else:
        _refuse(monkeypatch, client, b"config/app/zz")
    with pytest.raises(RequestTooLarge if cause == "too large" else PermissionDenied):
        await source.write(values)
    await client.compact((await client.put("x", "")).revision)
    assert await source.read() == LARGE[0]
    assert await source.write(LARGE[2], if_revision=(await source.snapshot()).revision)
    assert await source.read() == LARGE[2]


@pytest.mark.parametrize("answered", [False, True])
async def test_a_large_change_that_an_outage_ends_is_taken_back_when_it_is_over(
    client: Client, etcd_server: EtcdServer, source: ConfigSource, monkeypatch: pytest.MonkeyPatch, answered: bool
) -> None:
    """*answered*: by the server that applied the write whose answer was lost."""
    await source.write(LARGE[0])
    whole, large = client.txn, 0

    async def txn(*args: Any, **options: Any) -> Any:
        nonlocal large
        large += len(args[1]) > 100
        if 4 <= large <= 6:
            if answered and large == 4:
                await whole(*args, **options)
            raise Unavailable([], maybe_applied=answered)
        return await whole(*args, **options)

    monkeypatch.setattr(client, "txn", txn)
    with pytest.raises(Unavailable):
        await source.write(LARGE[1])
    await until(partial(_is_unmarked, client, source))
    await client.compact((await client.put("x", "")).revision)
    assert await source.read() == LARGE[0]


async def test_what_is_taken_back_has_more_time_than_the_writer_gave(
    client: Client, source: ConfigSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    await source.write(LARGE[0])
    whole = client.txn

    async def txn(when: Any, then: Sequence[Op], *args: Any, **options: Any) -> Any:
        if len(then) > 100 and options["timeout"] == 1:  # too short for what is large
            raise DeadlineExceeded(maybe_applied=True)
        return await whole(when, then, *args, **options)

    monkeypatch.setattr(client, "txn", txn)
    with pytest.raises(DeadlineExceeded):
        await source.write(LARGE[1], timeout=1)
    await until(partial(_is_unmarked, client, source))
    assert await source.read() == LARGE[0]


async def test_a_part_that_comes_late_is_not_made_amid_what_is_taken_back(
    client: Client, source: ConfigSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    await source.write(LARGE[0])
    whole = client.txn
    late: list[Any] = []

    async def txn(*args: Any, **options: Any) -> Any:
        if len(args[1]) > 100 and not late:
            late.extend(args)
            raise DeadlineExceeded(maybe_applied=True)
        result = await whole(*args, **options)
        if late and len(args[1]) > 100:
            assert not (await whole(*late)).succeeded
        return result

    monkeypatch.setattr(client, "txn", txn)
    with pytest.raises(DeadlineExceeded):
        await source.write(LARGE[1])
    await until(partial(_is_unmarked, client, source))
    assert await source.read() == LARGE[0]


@pytest.mark.parametrize("comes", ["at once", "late", "too late"])
async def test_a_mark_whose_answer_was_lost_does_not_stay(
    client: Client, source: ConfigSource, monkeypatch: pytest.MonkeyPatch, comes: str
) -> None:
    await source.write(LARGE[0])
    whole = client.txn
    late: list[Any] = []

    async def txn(*args: Any, **options: Any) -> Any:
        if late or not any(isinstance(op, Put) and b"readers_stay_at" in op.value for op in args[1]):
            return await whole(*args, **options)
        if comes == "at once":
            await whole(*args, **options)
        elif comes == "late":
            client.background("late", partial(_ignored, whole, *args))
        late.extend(args)
        raise Unavailable([], maybe_applied=True)

    monkeypatch.setattr(client, "txn", txn)
    with pytest.raises(Unavailable):
        await source.write(LARGE[1])
    assert not (await whole(*late)).succeeded
    await until(partial(_is_unmarked, client, source))
    await client.compact((await client.put("x", "")).revision)
    assert await source.read() == LARGE[0]
    assert await source.write(LARGE[2], if_revision=(await source.snapshot()).revision)


async def test_a_mark_that_can_not_be_looked_for_is_told_of(
    client: Client, source: ConfigSource, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await source.write(LARGE[0])
    whole = client.txn

    async def denied(*args: Any, **options: Any) -> Any:
        raise PermissionDenied(StatusCode.PERMISSION_DENIED, "etcdserver: permission denied")

    async def txn(*args: Any, **options: Any) -> Any:
        if any(isinstance(op, Put) and b"readers_stay_at" in op.value for op in args[1]):
            monkeypatch.setattr(client, "do", denied)
            raise Unavailable([], maybe_applied=True)
        return await whole(*args, **options)

    monkeypatch.setattr(client, "txn", txn)
    with pytest.raises(Unavailable):
        await source.write(LARGE[1])

    async def is_told_of() -> bool:
        await client.leases.list()
        return "whether a change has begun can't be told" in caplog.text

    await until(is_told_of)


async def _ignored(work: Callable[..., Awaitable[object]], *args: Any) -> None:
    await work(*args)


async def _is_unmarked(client: Client, source: ConfigSource) -> bool:
    mark = await client.get(source.prefix)
    return mark is not None and b"readers_stay_at" not in mark.value


async def test_a_large_change_whose_last_answer_is_lost_stands(
    client: Client, source: ConfigSource, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "etcd_async.config")
    await source.write(LARGE[0])
    whole = client.txn

    async def txn(*args: Any, **options: Any) -> Any:
        done = await whole(*args, **options)
        if any(isinstance(op, Put) and op.key == source.prefix and b"readers" not in op.value for op in args[1]):
            raise Unavailable([], maybe_applied=True)
        return done

    monkeypatch.setattr(client, "txn", txn)
    with pytest.raises(Unavailable):
        await source.write(LARGE[1])

    async def was_looked_at() -> bool:
        await client.get("x")
        return "all was done but for the last answer" in caplog.text

    await until(was_looked_at)
    assert await source.read() == LARGE[1]


async def test_the_first_change_is_taken_back_wholly(
    client: Client, source: ConfigSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    _refuse(monkeypatch, client, b"config/app/zz")
    with pytest.raises(PermissionDenied):
        await source.write({**LARGE[1], "zz": "new"})
    assert await client.keys(prefix="config/") == []
    assert await source.snapshot() == Snapshot({}, 0)


def _refuse(monkeypatch: pytest.MonkeyPatch, client: Client, key: bytes) -> None:
    whole = client.txn

    async def txn(when: Any = (), then: Sequence[Op] = (), otherwise: Any = (), **options: Any) -> Any:
        if any(isinstance(op, Put) and op.key == key for op in then):
            raise PermissionDenied(StatusCode.PERMISSION_DENIED, "etcdserver: permission denied")
        return await whole(when, then, otherwise, **options)

    monkeypatch.setattr(client, "txn", txn)


@pytest.mark.parametrize("mark", ['"x"', "0", "true", "[]", "1.5"])
async def test_a_mark_that_is_none(client: Client, source: ConfigSource, mark: str) -> None:
    await client.put("config/app/", f'{{"readers_stay_at": {mark}}}')
    with pytest.raises(ConfigError, match="not what was written there"):
        await source.read()


async def test_a_mark_of_another_cluster(client: Client, source: ConfigSource) -> None:
    await client.put("config/app/", '{"readers_stay_at": 999999999}')
    with pytest.raises(ConfigError, match="never finished"):
        await source.read()
    async with source.watch() as updates, running(anext(updates)) as waiting:
        await until(lambda: said(updates, "never finished"))
        await source.write({"a": 1})
        assert await within(waiting) == {"a": 1}


async def test_a_reader_that_came_too_late_for_what_was_before_reads_what_is_now(
    client: Client, source: ConfigSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change is finished, and the history compacted away, between the two steps of reading."""
    await source.write({"a": 1})
    await client.put("config/app/", f'{{"readers_stay_at": {await source.write({"a": 2})}}}')
    whole = client.range

    async def late(**options: Any) -> Any:
        if "revision" in options:
            monkeypatch.setattr(client, "range", whole)
            await client.compact(await source.write({"a": 3}))
        return await whole(**options)

    monkeypatch.setattr(client, "range", late)
    assert await source.read() == {"a": 3}


async def test_a_cancelled_write_leaves_no_mark_of_a_change_that_nobody_makes(
    client: Client, source: ConfigSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    await source.write(LARGE[0])
    whole, is_marked = client.txn, asyncio.Event()

    async def slow(when: Any = (), then: Any = (), otherwise: Any = (), **options: Any) -> Any:
        result = await whole(when, then, otherwise, **options)
        if then and isinstance(then[0], Put) and b"readers_stay_at" in then[0].value:
            is_marked.set()
            await asyncio.sleep(0)
        return result

    monkeypatch.setattr(client, "txn", slow)
    async with running(source.write(LARGE[1])) as task:
        await within(is_marked.wait())
        task.cancel()
        await asyncio.wait([task])

        async def is_made() -> bool:
            return await source.read() == LARGE[1]

        await until(is_made)


async def test_ten_thousand_leaves_and_two_megabytes(source: ConfigSource) -> None:
    many = {f"leaf{number:05}": number for number in range(10_000)}
    big = {f"big{number}": "x" * 700_000 for number in range(3)}
    async with source.watch() as updates:
        assert await within(anext(updates)) == {}
        await source.write(many)
        assert await within(anext(updates)) == many
        await source.update(big)
        assert await within(anext(updates)) == {**many, **big}
    await source.write({})
    assert await source.read() == {}


async def test_large_writers_at_once_all_succeed(client: Client, source: ConfigSource) -> None:
    seen: list[Any] = []

    async def watch() -> None:
        async with source.watch() as updates:
            async for values in updates:
                seen.append(values)  # noqa: PERF401  # seen grows while this runs

    async with running(watch()):
        await asyncio.gather(*(source.write(values) for values in LARGE), source.update({"small": 1}))

        async def is_up_to_date() -> bool:
            now = await source.read()
            return bool(seen) and seen[-1] == now

        await until(is_up_to_date)
    for values in seen:
        assert {key: value for key, value in values.items() if key != "small"} in [{}, *LARGE]
    assert await client.keys(prefix="config-writers/") == []
