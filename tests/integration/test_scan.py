"""Ranges of any size, page by page at one revision."""

from typing import Any

import pytest

from etcd_async import Client, Compacted, FutureRevision, RpcError, StatusCode
from etcd_async.testing import EtcdServer
from etcd_async.wire import RangeRequest, RangeRequestSortOrder, RangeRequestSortTarget, RangeResponse
from tests.support.live import metric, take
from tests.support.versions import number

#: A value of which a stream's window (`TransportOptions.stream_window`) holds ten.
LARGE = b"v" * 400_000


async def fill(client: Client, number: int, value: bytes = b"old") -> list[bytes]:
    keys = [f"/s/{each:04d}".encode() for each in range(number)]
    await client.put_many(dict.fromkeys(keys, value), atomic=False)
    return keys


async def scans_by_stream(server: EtcdServer) -> float:
    """Return how many streams of ranges the server was asked for; it counts only what it knows."""
    labels = 'grpc_method="RangeStream",grpc_service="etcdserverpb.KV",grpc_type="server_stream"'
    return await metric(server, f"grpc_server_started_total{{{labels}}}")


def streams_ranges(server: EtcdServer) -> bool:
    return number(server.version) >= (3, 7)


async def stream_of(client: Client, request: RangeRequest) -> list[RangeResponse]:
    answers = await client.rpc("/etcdserverpb.KV/RangeStream", request)
    return [answer.range_response async for answer in answers]


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


async def test_a_scan_of_more_than_fits_into_flight_stays_at_its_revision_while_keys_change(
    client: Client, etcd_server: EtcdServer
) -> None:
    before = await scans_by_stream(etcd_server)
    keys = await fill(client, 40, LARGE)
    found = []
    async for kv in client.scan(prefix="/s/", page_size=2):
        found.append(kv)
        await client.put(keys[-1], "new")
        await client.delete(keys[30])
    assert [kv.key for kv in found] == keys
    assert {kv.value for kv in found} == {LARGE}
    assert await scans_by_stream(etcd_server) - before == streams_ranges(etcd_server)


async def test_a_scan_overtaken_by_compaction_says_so(client: Client) -> None:
    keys = await fill(client, 40, LARGE)
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


@pytest.mark.parametrize("limit", [0, 1, 25, 30, 100])
async def test_a_stream_of_a_range_is_in_pieces_whose_last_speaks_for_the_whole(
    client: Client, etcd_server: EtcdServer, limit: int
) -> None:
    keys = await fill(client, 30)
    wanted = RangeRequest(key=b"/s/", range_end=b"/s0", limit=limit)
    if not streams_ranges(etcd_server):
        with pytest.raises(RpcError) as caught:
            await stream_of(client, wanted)
        assert caught.value.code is StatusCode.UNIMPLEMENTED
        return
    *pieces, last = await stream_of(client, wanted)
    assert [kv.key for piece in (*pieces, last) for kv in piece.kvs] == keys[: limit or 30]
    assert [(piece.header, piece.count, piece.more) for piece in pieces] == [(None, 0, False)] * len(pieces)
    assert last.header is not None
    assert (last.count, last.more) == (30, 0 < limit < 30)


@pytest.mark.parametrize(
    "option",
    [
        {"sort_order": RangeRequestSortOrder.DESCEND},
        {"sort_target": RangeRequestSortTarget.VALUE, "sort_order": RangeRequestSortOrder.ASCEND},
        {"min_mod_revision": 2},
        {"max_create_revision": 2},
    ],
    ids=lambda option: next(iter(option)),
)
async def test_a_stream_of_a_range_is_neither_sorted_nor_filtered(client: Client, option: dict[str, Any]) -> None:
    await fill(client, 3)
    with pytest.raises(RpcError) as caught:
        await stream_of(client, RangeRequest(key=b"/s/", range_end=b"/s0", **option))
    assert caught.value.code is StatusCode.UNIMPLEMENTED
