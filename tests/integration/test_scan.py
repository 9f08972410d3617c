"""Ranges of any size, page by page at one revision."""

import pytest

from etcd_async import Client, Compacted, FutureRevision
from tests.support.live import take


async def fill(client: Client, number: int) -> list[bytes]:
    keys = [f"/s/{each:04d}".encode() for each in range(number)]
    await client.put_many(dict.fromkeys(keys, b"old"), atomic=False)
    return keys


@pytest.mark.parametrize("page_size", [1, 7, 20, 1000])
async def test_a_scan_brings_every_key_once_in_order_whatever_the_page(client: Client, page_size: int) -> None:
    keys = await fill(client, 20)
    await client.put("/t", "outside")
    found = [kv async for kv in client.scan(prefix="/s/", page_size=page_size)]
    assert [kv.key for kv in found] == keys
    assert {kv.value for kv in found} == {b"old"}


async def test_a_scan_sees_one_revision_while_writes_go_on(client: Client) -> None:
    keys = await fill(client, 10)
    found = []
    async for kv in client.scan(prefix="/s/", page_size=2):
        found.append(kv)
        await client.put(kv.key + b"-new", "new")
        await client.put(keys[-1], "new")
        await client.delete(keys[5])
    assert [kv.key for kv in found] == keys
    assert {kv.value for kv in found} == {b"old"}


async def test_a_scan_at_a_revision_sees_the_past(client: Client) -> None:
    keys = await fill(client, 5)
    past = (await client.get(keys[0]) or pytest.fail("not written")).mod_revision
    await client.delete(prefix="/s/")
    assert [kv.key async for kv in client.scan(prefix="/s/", revision=past, page_size=2)] == keys
    assert [kv async for kv in client.scan(prefix="/s/", page_size=2)] == []


async def test_a_scan_takes_a_range_or_all_from_a_key(client: Client) -> None:
    keys = await fill(client, 6)
    bounded = client.scan(start=keys[1], end=keys[4], page_size=2)
    assert [kv.key async for kv in bounded] == keys[1:4]
    assert [kv.key async for kv in client.scan(start=keys[2], from_key=True, page_size=2)] == keys[2:]


async def test_a_scan_for_keys_brings_no_values(client: Client) -> None:
    await fill(client, 3)
    assert {kv.value async for kv in client.scan(prefix="/s/", keys_only=True)} == {b""}


async def test_a_scan_overtaken_by_compaction_says_so(client: Client) -> None:
    keys = await fill(client, 10)
    scan = client.scan(prefix="/s/", page_size=2)
    assert [kv.key for kv in await take(scan, 2)] == keys[:2]
    await client.compact((await client.put("/s/0000", "new")).revision)
    with pytest.raises(Compacted):
        [kv async for kv in scan]


async def test_a_scan_of_a_future_revision_is_refused(client: Client) -> None:
    now = (await client.put("/s/1", "v")).revision
    with pytest.raises(FutureRevision):
        [kv async for kv in client.scan(prefix="/s/", revision=now + 1)]


async def test_a_scan_left_half_way_leaves_the_client_usable(client: Client) -> None:
    await fill(client, 10)
    async for _ in client.scan(prefix="/s/", page_size=2):
        break
    assert await client.count(prefix="/s/") == 10


async def test_a_scan_of_thousands_of_keys_is_whole(client: Client) -> None:
    keys = await fill(client, 3000)
    assert [kv.key async for kv in client.scan(prefix="/s/")] == keys
