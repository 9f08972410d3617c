"""Configurations on a real etcd: whole, in one step, with types, and never half of one."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from etcd_async import (
    Client,
    ConfigConflict,
    ConfigError,
    ConfigSource,
    DecryptionFailed,
    Op,
    delete,
    put,
)
from etcd_async.crypto import Encryption, Keyring
from etcd_async.ops import Put
from etcd_async.testing import EtcdServer
from tests.integration.configurations import LARGE
from tests.support.live import running, within

TREE = {"db": {"host": "h", "port": 5432, "options": {}}, "features": ["a", 1, None], "ratio": 0.5, "debug": True}


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


async def test_what_was_written_as_a_whole_without_its_count_is_known_by_its_revision(
    client: Client, source: ConfigSource
) -> None:
    written = await client.txn(then=[put("config/app/a", "1"), put("config/app/", "{}")])
    assert (await source.snapshot()).revision == written.revision
    await client.put("/elsewhere", "")
    assert await source.write({"a": 2}, if_revision=written.revision)


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


async def test_configurations_can_be_secret(client: Client, etcd_server: EtcdServer) -> None:
    encryption = Encryption(Keyring.generate(), prefixes=("config/",))
    async with Client(etcd_server.endpoint, encryption=encryption) as secret:
        source = secret.config_source("app")
        async with source.watch() as updates:
            assert await within(anext(updates)) == {}
            for values in (TREE, LARGE[0], {}):
                await source.write(values)
                assert await source.read() == values == await within(anext(updates))
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


@pytest.mark.parametrize("path", ["a//b", "/a", "a/"])
async def test_paths_with_empty_parts_are_no_configuration(client: Client, source: ConfigSource, path: str) -> None:
    await client.put(f"config/app/{path}", "1")
    with pytest.raises(ConfigError, match="has an empty part"):
        await source.read()
