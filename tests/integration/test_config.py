"""Configurations on a real etcd: whole, in one step, with types, and never half of one."""

import asyncio
import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydantic
import pytest
from pydantic_settings import BaseSettings

from etcd_async import (
    Client,
    ConfigConflict,
    ConfigError,
    ConfigSource,
    DecryptionFailed,
    EtcdError,
    Op,
    PermissionDenied,
    RequestTooLarge,
    StatusCode,
    delete,
    put,
)
from etcd_async.config import Snapshot, load
from etcd_async.crypto import Encryption, Keyring
from etcd_async.ops import Put
from etcd_async.settings import load_settings
from etcd_async.testing import EtcdServer, FaultProxy
from tests.support.live import running, take, until, within

TREE = {"db": {"host": "h", "port": 5432, "options": {}}, "features": ["a", 1, None], "ratio": 0.5, "debug": True}


@pytest.fixture
def source(client: Client) -> ConfigSource:
    return client.config_source("app")


async def test_what_is_written_is_read(client: Client, source: ConfigSource) -> None:
    assert await source.read() == {}
    await source.write(TREE)
    assert await source.read() == TREE
    found = await client.get("config/app/db/port")
    assert found is not None
    assert found.value == b"5432"


async def test_a_write_is_one_revision_and_changes_what_differs(client: Client, source: ConfigSource) -> None:
    first = await source.write(TREE)
    second = await source.write({**TREE, "ratio": 0.75})
    assert second == first + 1
    host = await client.get("config/app/db/host")
    assert host is not None
    assert host.version == 1
    assert await source.write({**TREE, "ratio": 0.75}) == second
    assert await source.write({}) == second + 1
    assert await source.read() == {}


async def test_a_reader_sees_no_moment_of_emptiness(client: Client, source: ConfigSource) -> None:
    await source.write({"a": 0, "b": 0})
    async with client.watch(prefix="config/app/") as watch:
        for number in range(1, 20):
            await source.write({"a": number, "b": number})
        for number in range(1, 20):
            batch = await within(anext(watch.batches()))
            assert [event.kv.value for event in batch.events if event.kv.key[-1:] in b"ab"] == [
                str(number).encode()
            ] * 2


async def test_writers_that_read_before_are_held_to_it(source: ConfigSource) -> None:
    first = await source.write({"a": 1})
    assert (await source.snapshot()).revision == first
    second = await source.write({"a": 2}, if_revision=first)
    with pytest.raises(ConfigConflict, match=f"of revision {second}, not {first}"):
        await source.write({"a": 3}, if_revision=first)
    assert await source.read() == {"a": 2}
    with pytest.raises(ConfigConflict):
        await source.write({"a": 3}, if_revision=0)


async def test_leaves_that_others_delete_count_as_a_change(client: Client, source: ConfigSource) -> None:
    written = await source.write({"a": 1, "b": 2})
    await client.delete("config/app/a")
    with pytest.raises(ConfigConflict):
        await source.write({"a": 1, "b": 3}, if_revision=written)
    seen = await source.snapshot()
    assert seen.values == {"b": 2}
    assert await source.write({"b": 3}, if_revision=seen.revision)


@pytest.mark.parametrize("has_generation", [True, False])
async def test_what_others_put_and_delete_again_counts_as_a_change(
    client: Client, source: ConfigSource, has_generation: bool
) -> None:
    if has_generation:
        await source.write({"a": 1})
    await client.put_many({"config/app/b": "2", "config/app/c": "3"})
    await client.put("/elsewhere", "")
    seen = await source.snapshot()
    for key in ("b", "c"):  # after the second one all is as it was written
        await client.delete(f"config/app/{key}")
        with pytest.raises(ConfigConflict, match=f", not {seen.revision}: read it again"):
            await source.write({"a": 2}, if_revision=seen.revision)
    seen = await source.snapshot()
    assert await source.write({"a": 2}, if_revision=seen.revision)


async def test_the_word_of_others_stands_as_long_as_the_history_can_tell(client: Client, source: ConfigSource) -> None:
    written = await source.write({"a": 1})
    last = await client.put("/elsewhere", "")
    await client.compact(last.revision)
    assert (await source.snapshot()).revision == written
    await source.write({"a": 2}, if_revision=written)
    await client.put("config/app/b", "2")
    seen = await source.snapshot()
    last = await client.put("/elsewhere", "")
    async with source.watch() as updates:
        await within(anext(updates))
        again = await source.write({"a": 2, "b": 2}, if_revision=seen.revision)
        assert await source.write({"a": 2, "b": 2}, if_revision=updates.revision) == again
    await client.put("config/app/b", "3")
    seen = await source.snapshot()
    last = await client.put("/elsewhere", "")
    await client.compact(last.revision)
    with pytest.raises(ConfigConflict):
        await source.write({"a": 3}, if_revision=seen.revision)
    with pytest.raises(ConfigConflict):
        await source.write({"a": 3}, if_revision=last.revision + 1000)


@pytest.mark.parametrize("is_large", [False, True])
async def test_a_leaf_that_another_tool_deletes_at_the_last_moment_is_not_put_back_unseen(
    client: Client, source: ConfigSource, monkeypatch: pytest.MonkeyPatch, is_large: bool
) -> None:
    before, after = ({**LARGE[number], "a": number} if is_large else {"a": number} for number in (1, 2))
    written = await source.write(before)
    whole = client.txn

    async def late(when: Any = (), then: Sequence[Op] = (), otherwise: Any = (), **options: Any) -> Any:
        if any(isinstance(op, Put) and op.key in (b"config/app/a", b"config/app/") for op in then):
            monkeypatch.setattr(client, "txn", whole)
            await client.delete("config/app/a")
        return await whole(when, then, otherwise, **options)

    monkeypatch.setattr(client, "txn", late)
    with pytest.raises(ConfigConflict):
        await source.write(after, if_revision=written)
    before.pop("a")
    assert await source.read() == before
    assert await source.write(after, if_revision=(await source.snapshot()).revision)
    assert await source.read() == after


async def test_as_many_leaves_as_fit_are_changed_in_one_transaction(client: Client, source: ConfigSource) -> None:
    for most, is_one in ((126, True), (127, False)):
        await source.write({f"{number}": 1 for number in range(most)})
        last = (await client.put("/elsewhere", "")).revision
        changed = await source.write({f"{number}": 2 for number in range(most)})
        assert (changed == last + 1) is is_one


async def test_updates_merge_and_lose_nothing(source: ConfigSource) -> None:
    await source.write({"db": {"host": "h"}})

    async def add(number: int) -> None:
        await source.update({"db": {f"key{number}": number}})

    async with asyncio.TaskGroup() as group:
        for number in range(15):
            group.create_task(add(number))
    assert await source.read() == {"db": {"host": "h", **{f"key{number}": number for number in range(15)}}}


LARGE = [
    {f"group{n // 50}": {}, **{f"leaf{n:04}": [generation, n] for n in range(1000)}}
    for generation in range(6)
    for n in [1]
]


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


async def test_watches_survive_cuts_and_compaction(
    client: Client, etcd_server: EtcdServer, source: ConfigSource
) -> None:
    async with (
        FaultProxy(etcd_server.endpoint) as proxy,
        Client(proxy.endpoint) as behind,
        behind.config_source("app").watch() as updates,
    ):
        assert await within(anext(updates)) == {}
        proxy.refuse()
        proxy.cut()
        await source.write({"a": 1})
        revision = await source.write({"a": 2})
        await client.compact(revision)
        proxy.accept()
        assert await within(anext(updates)) == {"a": 2}
        assert updates.revision == revision


class Settings(pydantic.BaseModel):
    host: str
    port: int = 80


async def test_an_invalid_change_keeps_the_last_good_one_and_says_why(
    client: Client, source: ConfigSource, caplog: pytest.LogCaptureFixture
) -> None:
    await source.write({"host": "h"})
    async with source.watch(Settings) as updates:
        assert await within(anext(updates)) == Settings(host="h")
        waiting = asyncio.ensure_future(anext(updates))
        await source.write({"host": "h", "port": "no number"})

        async def refused() -> bool:
            await asyncio.sleep(0)
            return updates.error is not None

        await until(refused)
        assert "port" in str(updates.error)
        assert (
            "the configuration 'config/app/' can't be used, the one before stays in force: ValidationError"
            in caplog.text
        )
        assert "no number" not in caplog.text, "it may be a secret"
        await client.put("config/app/host", "no JSON")
        await until(lambda: _said(updates, "no JSON"))
        await source.write({"host": "new"})
        assert await within(waiting) == Settings(host="new")
        assert updates.error is None


async def _said(updates: Any, text: str) -> bool:
    await asyncio.sleep(0)
    return text in str(updates.error)


async def test_a_file_with_an_overlay(source: ConfigSource, tmp_path: Path) -> None:
    file = tmp_path / "app.yaml"
    file.write_text("host: base\nport: 1\ndb:\n  name: x\n  tags: [a, b]\n")
    await source.write({"port": 2, "db": {"tags": ["c"]}})
    merged = {"host": "base", "port": 2, "db": {"name": "x", "tags": ["c"]}}
    config = await load(file=file, overlay=source)
    assert config.current == merged
    typed = await load(file=file, overlay=source, model=Settings)
    assert typed.current == Settings(host="base", port=2)
    async with typed.watch() as updates:
        assert await within(anext(updates)) == Settings(host="base", port=2)
        await source.write({"port": 3})
        assert await within(anext(updates)) == Settings(host="base", port=3)
        assert typed.current.port == 3
        await source.write({"port": "x"})
        await source.write({"port": 4})
        assert await within(anext(updates)) == Settings(host="base", port=4)


async def test_a_file_alone(tmp_path: Path) -> None:
    file = tmp_path / "app.yaml"
    file.write_text("host: base\n")
    config = await load(file=file, model=Settings)
    assert config.current == Settings(host="base")
    with pytest.raises(RuntimeError, match="pass overlay="):
        config.watch()
    file.write_text("")
    assert (await load(file=file)).current == {}
    with pytest.raises(ValueError, match="file or overlay"):
        await load()


@pytest.mark.parametrize(
    "text",
    [
        "- a list",
        "1: number",
        "ports: {80: http}",
        "{",
        "!!python/object/apply:os.system ['true']",
        "\0",
        "a: 2026-13-01",
        'a: !!int ""',
        "a: !!timestamp x",
        f"a: {'[' * 5000}",
        "a: &a {b: *a}",
    ],
)
async def test_a_file_that_is_no_configuration(tmp_path: Path, text: str) -> None:
    file = tmp_path / "app.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"app\.yaml"):
        await load(file=file)


class FromEverywhere(BaseSettings):
    host: str = "default"
    port: int = 80
    name: str = "default"
    nested: dict[str, int] = {}


async def test_pydantic_settings(source: ConfigSource, monkeypatch: pytest.MonkeyPatch) -> None:
    await source.write({"host": "etcd", "port": 81, "nested": {"a": 1}})
    monkeypatch.setenv("PORT", "82")
    settings = await load_settings(FromEverywhere, source, name="argument")
    assert (settings.host, settings.port, settings.name, settings.nested) == ("etcd", 82, "argument", {"a": 1})
    assert type(settings) is FromEverywhere
    assert settings == FromEverywhere(host="etcd", port=82, name="argument", nested={"a": 1})
    assert pickle.loads(pickle.dumps(settings)) == settings


async def test_configurations_can_be_secret(client: Client, etcd_server: EtcdServer) -> None:
    encryption = Encryption(Keyring.generate(), prefixes=("config/",))
    async with Client(etcd_server.endpoint, encryption=encryption) as secret:
        source = secret.config_source("app")
        async with source.watch() as updates:
            assert await within(anext(updates)) == {}
            for values in (TREE, LARGE[0], {}):
                await source.write(values)
                assert await source.read() == values
            assert await take(updates, 3) == [TREE, LARGE[0], {}]
        await source.write({"a": 1})
        await client.put("config/app/a", "forged")
        with pytest.raises(DecryptionFailed, match="not encrypted"):
            await source.read()


async def test_a_namespace_has_its_own(client: Client, source: ConfigSource) -> None:
    await client.namespaced("/x/").config_source("app").write({"a": 1})
    assert await source.read() == {}
    assert await client.exists("/x/config/app/a")


async def test_a_slash_parts_it_from_a_namespace_without_one(client: Client) -> None:
    source = client.namespaced("/apps/x").config_source("app")
    await source.write(LARGE[0])
    assert await source.read() == LARGE[0]
    ours = await client.count(prefix="/apps/x/config/app/")
    assert ours == await client.count(prefix="") > len(LARGE[0])


async def test_keys_that_others_wrote_are_part_of_it(client: Client, source: ConfigSource) -> None:
    await client.do(put("config/app/db/host", '"h"'))
    assert await source.read() == {"db": {"host": "h"}}
    await source.update({"db": {"port": 1}})
    await client.do(delete("config/app/db/host"))
    assert await source.read() == {"db": {"port": 1}}
    await client.put("config/app/", "garbage")
    with pytest.raises(ConfigError, match="not what was written there"):
        await source.read()


@pytest.mark.parametrize("name", ["", "a/b"])
def test_names_are_checked(name: str) -> None:
    with pytest.raises(ValueError, match="name must not be empty or contain a slash"):
        Client().config_source(name)


@pytest.mark.parametrize(("before", "after"), [(1, True), (1, 1.0), (False, 0), ([1], [True])])
async def test_a_change_of_type_alone_is_a_change(source: ConfigSource, before: Any, after: Any) -> None:
    await source.write({"a": before})
    async with source.watch() as updates:
        await within(anext(updates))
        await source.write({"a": after})
        assert repr(await within(anext(updates))) == repr({"a": after})


async def test_what_was_yielded_is_the_users_own(source: ConfigSource, tmp_path: Path) -> None:
    file = tmp_path / "app.yaml"
    file.write_text("base: {list: [1]}\n")
    await source.write({"db": {"port": 1}})
    config = await load(file=file, overlay=source)
    config.current["base"]["list"].append(2)
    async with config.watch() as updates, source.watch() as plain:
        for yielded in (await within(anext(updates)), await within(anext(plain))):
            yielded["db"]["port"] = 2
            yielded.get("base", {"list": []})["list"].append(3)
        await source.write({"db": {"port": 2}})
        assert await within(anext(updates)) == {"base": {"list": [1]}, "db": {"port": 2}}
        assert await within(anext(plain)) == {"db": {"port": 2}}


async def test_arguments_are_checked_before_anything_is_read(source: ConfigSource) -> None:
    with pytest.raises(TypeError, match="overlay must be a ConfigSource, not str"):
        await load(file="/nowhere", overlay="app")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="model must be"):
        await load(file="/nowhere", model=7)  # type: ignore[call-overload]


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


async def test_values_that_can_not_be_opened_can_be_written_anew(client: Client, etcd_server: EtcdServer) -> None:
    await client.put("config/app/a", "forged")
    async with Client(etcd_server.endpoint, encryption=Encryption(Keyring.generate())) as secret:
        source = secret.config_source("app")
        async with source.watch() as updates, running(anext(updates)) as waiting:
            with pytest.raises(DecryptionFailed, match="config/app/a"):
                await source.read()
            with pytest.raises(DecryptionFailed, match="config/app/a"):
                await source.update({"b": 1})
            await source.write({"a": 1, "b": 2})
            assert await source.read() == await within(waiting) == {"a": 1, "b": 2}


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
        await until(lambda: _said(updates, "never finished"))
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


async def test_what_others_wrote_before_the_first_change_is_not_overwritten_unseen(
    client: Client, source: ConfigSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = client.txn

    async def late(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(client, "txn", whole)
        await client.put("config/app/a", "2")
        return await whole(*arguments, **options)

    monkeypatch.setattr(client, "txn", late)
    with pytest.raises(ConfigConflict):
        await source.write({"a": 1}, if_revision=0)
    assert await source.read() == {"a": 2}


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


@pytest.mark.parametrize("path", ["a//b", "/a", "a/"])
async def test_paths_with_empty_parts_are_no_configuration(client: Client, source: ConfigSource, path: str) -> None:
    await client.put(f"config/app/{path}", "1")
    with pytest.raises(ConfigError, match="has an empty part"):
        await source.read()


async def test_an_error_is_over_when_what_was_before_is_back(client: Client, source: ConfigSource) -> None:
    await source.write({"host": "h"})
    async with source.watch(Settings) as updates:
        await within(anext(updates))
        async with running(anext(updates)):
            await client.put("config/app/host", "no JSON")
            await until(lambda: _said(updates, "no JSON"))
            await client.put("config/app/host", '"h"')
            await until(lambda: _said(updates, "None"))
            await source.write({"host": 5})
            await until(lambda: _said(updates, "host"))
            await client.put("config/app/host", "no JSON")
            await until(lambda: _said(updates, "no JSON"))
            await client.put("config/app/host", "5")
            await until(lambda: _said(updates, "valid string"))
