"""Counting, listing, conditional and bulk writes."""

import asyncio
from itertools import product

import pytest

from etcd_async import Client, KeyExists, KeyNotFound, KeyValue, LeaseNotFound, RequestTooLarge, TooManyOps
from etcd_async.testing import EtcdServer
from tests.support.live import running, take, within


async def read(client: Client, key: str) -> KeyValue:
    kv = await client.get(key)
    assert kv is not None
    return kv


async def test_count_takes_a_prefix_a_range_or_all_from_a_key(client: Client) -> None:
    await client.put_many(dict.fromkeys(("/a/1", "/a/2", "/b", "c"), "v"))
    assert await client.count(prefix="/a/") == 2
    assert await client.count(start="/a/2", end="c") == 2
    assert await client.count(start="/b", from_key=True) == 2
    assert await client.count(prefix="/none/") == 0


async def test_count_at_a_revision_sees_the_past(client: Client) -> None:
    past = (await client.put("/a/1", "v")).revision
    await client.put("/a/2", "v")
    assert await client.count(prefix="/a/", revision=past) == 1
    assert await client.count(prefix="/a/", serializable=True) == 2


async def test_exists_tells_whether_a_key_is_there(client: Client) -> None:
    revision = (await client.put("/k", "")).revision
    assert await client.exists("/k")
    assert not await client.exists("/k2")
    assert not await client.exists("/k", revision=revision - 1)


async def test_keys_come_in_order_and_match_whole_names(client: Client) -> None:
    names = ["/app/config/a", "/app/config/b", "/app/data", "/config"]
    await client.put_many(dict.fromkeys(reversed(names), "v"))
    assert await client.keys() == [name.encode() for name in names]
    assert await client.keys(prefix="/app/", match="*config*") == [b"/app/config/a", b"/app/config/b"]
    assert await client.keys(match="*config*", limit=2) == [b"/app/config/a", b"/app/config/b"]
    assert await client.keys(match="/app/config/[b-z]") == [b"/app/config/b"]
    assert await client.keys(match=b"config") == []
    assert await client.keys(prefix="/app/", limit=1) == [b"/app/config/a"]


async def test_put_if_absent_writes_once(client: Client) -> None:
    lease = await client.leases.grant(60)
    assert await client.put_if_absent("/k", "first", lease=lease.id)
    assert not await client.put_if_absent("/k", "second")
    kv = await read(client, "/k")
    assert (kv.value, kv.lease) == (b"first", lease.id)


async def test_of_many_writers_of_an_absent_key_one_succeeds(client: Client) -> None:
    done = await within(asyncio.gather(*(client.put_if_absent("/k", str(number)) for number in range(50))))
    assert done.count(True) == 1
    assert (await read(client, "/k")).value == str(done.index(True)).encode()


async def test_compare_and_swap_writes_only_over_what_is_expected(client: Client) -> None:
    await client.put("/k", "old")
    assert not await client.compare_and_swap("/k", "other", "new")
    assert await client.compare_and_swap("/k", "old", "new")
    assert not await client.compare_and_swap("/k", "old", "newer")
    assert not await client.compare_and_swap("/missing", "old", "new")
    assert (await read(client, "/k")).value == b"new"


async def test_compare_and_swap_from_none_creates(client: Client) -> None:
    assert await client.compare_and_swap("/k", None, "1")
    assert not await client.compare_and_swap("/k", None, "2")
    assert (await read(client, "/k")).value == b"1"


async def test_compare_and_swap_from_an_empty_value_is_not_from_none(client: Client) -> None:
    assert not await client.compare_and_swap("/k", "", "1")
    await client.put("/k", "")
    assert await client.compare_and_swap("/k", "", "1")


async def test_compare_and_swap_and_replace_keep_the_lease(client: Client) -> None:
    lease = await client.leases.grant(60)
    written = await client.put("/k", "1", lease=lease.id)
    assert await client.replace("/k", "2", mod_revision=written.revision)
    assert await client.compare_and_swap("/k", "2", "3")
    kv = await read(client, "/k")
    assert (kv.value, kv.lease, kv.version) == (b"3", lease.id, 3)


async def test_replace_writes_only_what_is_unchanged(client: Client) -> None:
    first = (await client.put("/k", "same")).revision
    second = (await client.put("/k", "same")).revision
    assert not await client.replace("/k", "new", mod_revision=first)
    assert await client.replace("/k", "new", mod_revision=second)
    await client.delete("/k")
    assert not await client.replace("/k", "again", mod_revision=second)
    assert not await client.exists("/k")


async def test_counting_up_by_replace_loses_no_step(client: Client) -> None:
    await client.put("/n", "0")

    async def count_up() -> None:
        while True:
            kv = await read(client, "/n")
            if await client.replace("/n", str(int(kv.value) + 1), mod_revision=kv.mod_revision):
                return

    await within(asyncio.gather(*(count_up() for _ in range(20))), 20)
    assert (await read(client, "/n")).value == b"20"


async def test_move_renames_at_one_revision(client: Client) -> None:
    await client.put("/old", "v")
    async with client.watch(prefix="/") as watch:
        await client.move("/old", "/new")
        (batch,) = await take(watch.batches(), 1)
    assert sorted((event.type, event.kv.key) for event in batch.events) == [("delete", b"/old"), ("put", b"/new")]
    assert len({event.revision for event in batch.events}) == 1
    assert (await read(client, "/new")).value == b"v"


async def test_move_keeps_the_lease(client: Client) -> None:
    lease = await client.leases.grant(60)
    await client.put("/old", "v", lease=lease.id)
    await client.move("/old", "/new")
    assert (await read(client, "/new")).lease == lease.id
    assert (await client.leases.time_to_live(lease.id, keys=True)).keys == (b"/new",)


async def test_move_refuses_a_taken_name_unless_told_to_overwrite(client: Client) -> None:
    await client.put_many({"/old": "v", "/taken": "precious"})
    with pytest.raises(KeyExists, match="/taken"):
        await client.move("/old", "/taken")
    assert (await read(client, "/taken")).value == b"precious"
    assert await client.exists("/old")
    await client.move("/old", "/taken", overwrite=True)
    assert (await read(client, "/taken")).value == b"v"
    assert not await client.exists("/old")


@pytest.mark.parametrize("overwrite", [False, True])
async def test_move_of_a_missing_key_is_key_not_found(client: Client, overwrite: bool) -> None:
    await client.put("/taken", "precious")
    for target in ("/new", "/taken", "/missing"):
        with pytest.raises(KeyNotFound):
            await client.move("/missing", target, overwrite=overwrite)
    assert await client.keys() == [b"/taken"]


@pytest.mark.parametrize("overwrite", [False, True])
async def test_move_to_its_own_name_changes_nothing(client: Client, overwrite: bool) -> None:
    await client.put("/k", "v")
    before = await read(client, "/k")
    await client.move("/k", "/k", overwrite=overwrite)
    assert await read(client, "/k") == before


async def test_a_move_takes_the_latest_value_along_however_often_it_changes(client: Client) -> None:
    await client.put("/old", "0")

    async def write() -> None:
        number = 0
        while await client.compare_and_swap("/old", str(number), str(number + 1)):
            number += 1
        last.append(number)

    last: list[int] = []
    async with running(write()) as writer:
        await within(client.move("/old", "/new"))
        await within(writer)
    assert (await read(client, "/new")).value == str(last[0]).encode()


async def test_put_many_writes_at_one_revision(client: Client) -> None:
    lease = await client.leases.grant(60)
    result = await client.put_many({"/a": "1", "/b": b"2"}, lease=lease.id)
    found = await client.range(prefix="/")
    assert [(kv.value, kv.mod_revision, kv.lease) for kv in found] == [
        (b"1", result.revision, lease.id),
        (b"2", result.revision, lease.id),
    ]


async def test_put_many_takes_128_keys_and_not_one_more(client: Client) -> None:
    await client.put_many({f"/{number}": "v" for number in range(128)})
    with pytest.raises(TooManyOps):
        await client.put_many({f"/more/{number}": "v" for number in range(129)})
    assert await client.count(prefix="/more/") == 0
    assert await client.count(prefix="") == 128


@pytest.mark.parametrize("number", [0, 1, 128, 129, 300])
async def test_without_atomic_any_number_of_keys_is_written_and_deleted(client: Client, number: int) -> None:
    keys = [f"/{each:03d}" for each in range(number)]
    await client.put_many(dict.fromkeys(keys, "v"), atomic=False)
    assert await client.count(prefix="") == number
    result = await client.delete_many([*keys, "/missing"], atomic=False)
    assert result.deleted == number
    assert await client.count(prefix="") == 0


async def test_without_atomic_a_servers_lower_limit_is_found_by_itself() -> None:
    async with EtcdServer(extra_args=["--max-txn-ops=10"]) as server, Client(server.endpoint) as client:
        items = {f"/{number:02d}": "v" for number in range(35)}
        with pytest.raises(TooManyOps):
            await client.put_many(items)
        await client.put_many(items, atomic=False)
        assert await client.count(prefix="") == 35


async def test_bulk_writes_of_nothing_change_nothing(client: Client) -> None:
    before = (await client.put("/k", "v")).revision
    assert (await client.put_many({})).revision == before
    assert (await client.delete_many([])).deleted == 0
    assert (await client.delete_many(())).revision == before


async def test_put_many_on_a_dead_lease_writes_nothing(client: Client) -> None:
    lease = await client.leases.grant(60)
    await client.leases.revoke(lease.id)
    with pytest.raises(LeaseNotFound):
        await client.put_many({"/a": "1", "/b": "2"}, lease=lease.id)
    assert await client.count(prefix="") == 0


async def test_delete_many_deletes_at_one_revision_and_counts_what_was_there(client: Client) -> None:
    written = await client.put_many({"/a": "1", "/b": "2", "/c": "3"})
    result = await client.delete_many(["/a", b"/b", "/missing"])
    assert (result.deleted, result.revision) == (2, written.revision + 1)
    assert await client.keys() == [b"/c"]


async def test_delete_many_takes_128_keys_and_not_one_more(client: Client) -> None:
    keys = [f"/{row}/{column}" for row, column in product(range(3), range(43))]
    await client.put_many(dict.fromkeys(keys, "v"), atomic=False)
    with pytest.raises(TooManyOps):
        await client.delete_many(keys)
    assert await client.count(prefix="") == 129
    assert (await client.delete_many(keys[:128])).deleted == 128


async def test_without_atomic_more_bytes_than_fit_one_request_are_written(client: Client) -> None:
    await client.put_many({f"/big/{each}": "x" * 20_000 for each in range(300)}, atomic=False)
    assert await client.count(prefix="/big/") == 300
    with pytest.raises(RequestTooLarge):
        await client.put_many({"/big/a": "x" * 3_000_000}, atomic=False)
