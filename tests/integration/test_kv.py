"""Reads and writes of keys."""

import asyncio

import pytest

from etcd_async import (
    Client,
    Compacted,
    FutureRevision,
    KeyNotFound,
    LeaseNotFound,
    NoSpace,
    RequestTooLarge,
    ResponseTooLarge,
    TransportOptions,
)
from etcd_async.ops import SortBy
from etcd_async.testing import EtcdServer
from etcd_async.types import RangeResult
from tests.support.live import turns, within

MIB = 1024 * 1024
EVERY_BYTE = bytes(range(256))


def keys_of(found: RangeResult) -> list[bytes]:
    return [kv.key for kv in found]


async def fill(client: Client, *keys: str | bytes) -> None:
    for key in keys:
        await client.put(key, b"v")


async def test_a_get_brings_back_all_that_a_put_stored(client: Client) -> None:
    lease = await client.leases.grant(60)
    first = await client.put("/k", "one", lease=lease.id)
    second = await client.put("/k", "two", lease=lease.id)
    kv = await client.get("/k")
    assert kv is not None
    assert (kv.key, kv.value, kv.text()) == (b"/k", b"two", "two")
    assert (kv.create_revision, kv.mod_revision, kv.version) == (first.revision, second.revision, 2)
    assert kv.lease == lease.id


async def test_text_and_bytes_name_the_same_key(client: Client) -> None:
    await client.put("/ключ", "значение")
    kv = await client.get("/ключ".encode())
    assert kv is not None
    assert kv.value == "значение".encode()


async def test_keys_and_values_may_hold_any_byte(client: Client) -> None:
    await client.put(EVERY_BYTE, EVERY_BYTE)
    kv = await client.get(EVERY_BYTE)
    assert kv is not None
    assert (kv.key, kv.value) == (EVERY_BYTE, EVERY_BYTE)


async def test_an_empty_value_is_a_value(client: Client) -> None:
    await client.put("/empty", "")
    kv = await client.get("/empty")
    assert kv is not None
    assert kv.value == b""


async def test_a_value_is_read_as_json(client: Client) -> None:
    await client.put("/json", '{"rate": 3}')
    kv = await client.get("/json")
    assert kv is not None
    assert kv.json() == {"rate": 3}


async def test_a_missing_key_is_none(client: Client) -> None:
    assert await client.get("/missing") is None


async def test_a_put_returns_what_the_key_was_only_if_asked(client: Client) -> None:
    fresh = await client.put("/k", "1", prev_kv=True)
    silent = await client.put("/k", "2")
    asked = await client.put("/k", "3", prev_kv=True)
    assert fresh.prev_kv is None
    assert silent.prev_kv is None
    assert asked.prev_kv is not None
    assert (asked.prev_kv.value, asked.prev_kv.mod_revision) == (b"2", silent.revision)


async def test_ignore_value_keeps_the_value_and_changes_the_lease(client: Client) -> None:
    lease = await client.leases.grant(60)
    await client.put("/k", "kept")
    await client.put("/k", lease=lease.id, ignore_value=True)
    kv = await client.get("/k")
    assert kv is not None
    assert (kv.value, kv.lease) == (b"kept", lease.id)


async def test_ignore_lease_keeps_the_lease_and_a_plain_put_drops_it(client: Client) -> None:
    lease = await client.leases.grant(60)
    await client.put("/k", "1", lease=lease.id)
    await client.put("/k", "2", ignore_lease=True)
    kept = await client.get("/k")
    await client.put("/k", "3")
    dropped = await client.get("/k")
    assert kept is not None
    assert (kept.value, kept.lease) == (b"2", lease.id)
    assert dropped is not None
    assert dropped.lease == 0


async def test_ignoring_value_or_lease_of_a_missing_key_is_key_not_found(client: Client) -> None:
    with pytest.raises(KeyNotFound):
        await client.put("/missing", ignore_value=True)
    with pytest.raises(KeyNotFound):
        await client.put("/missing", "v", ignore_lease=True)
    assert await client.count(prefix="") == 0


async def test_a_put_on_a_dead_lease_is_lease_not_found_and_writes_nothing(client: Client) -> None:
    lease = await client.leases.grant(60)
    await client.leases.revoke(lease.id)
    with pytest.raises(LeaseNotFound) as caught:
        await client.put("/k", "v", lease=lease.id)
    assert caught.value.code.name == "NOT_FOUND"
    assert not caught.value.maybe_applied
    assert await client.get("/k") is None


async def test_a_get_at_a_revision_sees_the_past(client: Client) -> None:
    past = (await client.put("/k", "old")).revision
    await client.put("/k", "new")
    old = await client.get("/k", revision=past)
    before = await client.get("/k", revision=past - 1)
    assert old is not None
    assert old.value == b"old"
    assert before is None


async def test_a_compacted_revision_is_compacted_and_a_later_one_is_future(client: Client) -> None:
    first = (await client.put("/k", "1")).revision
    last = (await client.put("/k", "2")).revision
    await client.compact(last)
    with pytest.raises(Compacted):
        await client.get("/k", revision=first)
    with pytest.raises(Compacted):
        await client.range(prefix="/", revision=first)
    with pytest.raises(FutureRevision):
        await client.get("/k", revision=last + 1)
    kv = await client.get("/k", revision=last)
    assert kv is not None
    assert kv.value == b"2"


async def test_compacting_twice_is_compacted_and_compacting_ahead_is_future(client: Client) -> None:
    revision = (await client.put("/k", "1")).revision
    await client.compact(revision, physical=True)
    with pytest.raises(Compacted):
        await client.compact(revision)
    with pytest.raises(FutureRevision):
        await client.compact(revision + 1)


async def test_a_serializable_get_reads_the_asked_member(client: Client) -> None:
    await client.put("/k", "v")
    kv = await client.get("/k", serializable=True)
    assert kv is not None
    assert kv.value == b"v"


async def test_keys_only_leaves_values_out(client: Client) -> None:
    await client.put("/k", "v")
    one = await client.get("/k", keys_only=True)
    (listed,) = await client.range(prefix="/", keys_only=True)
    assert one is not None
    assert (one.key, one.value, one.version) == (b"/k", b"", 1)
    assert listed == one


async def test_a_prefix_holds_its_keys_in_order_and_no_neighbour(client: Client) -> None:
    await fill(client, "/dir/b", "/dir/a", "/dir/", "/dir0", "/dir", "/dir/a/b", "/dis")
    found = await client.range(prefix="/dir/")
    assert keys_of(found) == [b"/dir/", b"/dir/a", b"/dir/a/b", b"/dir/b"]
    assert (found.count, found.more) == (4, False)
    assert found[0].value == b"v"
    assert len(found) == 4
    assert [kv.key for kv in found[1:3]] == [b"/dir/a", b"/dir/a/b"]


async def test_a_range_stops_before_its_end(client: Client) -> None:
    await fill(client, "a", "b", "c", "d")
    assert keys_of(await client.range(start="b", end="d")) == [b"b", b"c"]


async def test_from_key_goes_to_the_end_of_the_key_space(client: Client) -> None:
    await fill(client, "a", "b", b"\xff", b"\xff\xff")
    assert keys_of(await client.range(start="b", from_key=True)) == [b"b", b"\xff", b"\xff\xff"]


@pytest.mark.parametrize(
    ("prefix", "inside", "outside"),
    [
        (b"a\xff", [b"a\xff", b"a\xff\x00", b"a\xff\xff"], [b"a", b"a\xfe", b"b"]),
        (b"\xff\xff", [b"\xff\xff", b"\xff\xff\xff"], [b"\xff", b"\xff\xfe\xff"]),
        (b"\xff", [b"\xff", b"\xff\xff"], [b"\xfe\xff"]),
        (b"\x00", [b"\x00", b"\x00\x00"], [b"\x01"]),
        (b"", [b"\x00", b"a", b"\xff\xff"], []),
    ],
)
async def test_the_end_of_a_prefix_is_right(
    client: Client, prefix: bytes, inside: list[bytes], outside: list[bytes]
) -> None:
    await fill(client, *inside, *outside)
    assert keys_of(await client.range(prefix=prefix)) == inside
    assert [kv.key async for kv in client.scan(prefix=prefix, page_size=1)] == inside
    assert await client.count(prefix=prefix) == len(inside)
    assert (await client.delete(prefix=prefix)).deleted == len(inside)
    assert keys_of(await client.range(prefix="")) == sorted(outside)


async def test_a_limit_cuts_and_count_and_more_tell_of_the_rest(client: Client) -> None:
    await fill(client, *(f"/k/{number}" for number in range(5)))
    cut = await client.range(prefix="/k/", limit=2)
    whole = await client.range(prefix="/k/", limit=5)
    assert keys_of(cut) == [b"/k/0", b"/k/1"]
    assert (cut.count, cut.more) == (5, True)
    assert (len(whole), whole.count, whole.more) == (5, 5, False)


async def test_an_empty_range_is_an_empty_sequence(client: Client) -> None:
    found = await client.range(prefix="/none/")
    assert (list(found), found.count, found.more) == ([], 0, False)
    assert found.revision > 0


@pytest.mark.parametrize(
    ("sort_by", "ascending"),
    [
        ("key", ["/a", "/b", "/c"]),
        ("version", ["/b", "/c", "/a"]),
        ("create_revision", ["/c", "/a", "/b"]),
        ("mod_revision", ["/b", "/a", "/c"]),
        ("value", ["/c", "/b", "/a"]),
    ],
)
async def test_a_range_is_sorted_by_what_is_asked(client: Client, sort_by: SortBy, ascending: list[str]) -> None:
    for key, value in [("/c", "0"), ("/a", "0"), ("/b", "2"), ("/a", "0"), ("/a", "3"), ("/c", "1")]:
        await client.put(key, value)
    expected = [key.encode() for key in ascending]
    assert keys_of(await client.range(prefix="/", sort_by=sort_by)) == expected
    assert keys_of(await client.range(prefix="/", sort_by=sort_by, descending=True)) == expected[::-1]


async def test_a_limit_applies_after_sorting(client: Client) -> None:
    await fill(client, "/b", "/a", "/c")
    found = await client.range(prefix="/", sort_by="create_revision", descending=True, limit=1)
    assert keys_of(found) == [b"/c"]
    assert keys_of(await client.range(prefix="/", descending=True, limit=2)) == [b"/c", b"/b"]


async def test_revision_filters_include_their_bounds(client: Client) -> None:
    a = (await client.put("/a", "1")).revision
    b = (await client.put("/b", "1")).revision
    c = (await client.put("/c", "1")).revision
    a_again = (await client.put("/a", "2")).revision
    assert keys_of(await client.range(prefix="/", min_mod_revision=c)) == [b"/a", b"/c"]
    assert keys_of(await client.range(prefix="/", max_mod_revision=c)) == [b"/b", b"/c"]
    assert keys_of(await client.range(prefix="/", min_mod_revision=b, max_mod_revision=b)) == [b"/b"]
    assert keys_of(await client.range(prefix="/", min_create_revision=b)) == [b"/b", b"/c"]
    assert keys_of(await client.range(prefix="/", max_create_revision=a)) == [b"/a"]
    assert a_again > c


async def test_a_range_at_a_revision_sees_the_past(client: Client) -> None:
    past = (await client.put("/k/1", "old")).revision
    await client.put("/k/2", "v")
    await client.put("/k/1", "new")
    found = await client.range(prefix="/k/", revision=past)
    assert [kv.value for kv in found] == [b"old"]


async def test_count_only_brings_the_number_and_no_keys(client: Client) -> None:
    await fill(client, "/k/1", "/k/2")
    found = await client.range(prefix="/k/", count_only=True)
    assert (len(found), found.count) == (0, 2)


async def test_delete_takes_one_key_and_tells_whether_it_was_there(client: Client) -> None:
    put = await client.put("/k", "v")
    gone = await client.delete("/k", prev_kv=True)
    again = await client.delete("/k", prev_kv=True)
    assert (gone.deleted, [kv.value for kv in gone.prev_kvs]) == (1, [b"v"])
    assert gone.revision == put.revision + 1
    assert (again.deleted, again.prev_kvs, again.revision) == (0, (), gone.revision)


async def test_delete_takes_a_prefix_a_range_or_all_from_a_key(client: Client) -> None:
    await fill(client, "/p/1", "/p/2", "/q", "a", "b", "c", "x", "y")
    prefix = await client.delete(prefix="/p/", prev_kv=True)
    assert [kv.key for kv in prefix.prev_kvs] == [b"/p/1", b"/p/2"]
    assert (await client.delete(start="a", end="c")).deleted == 2
    assert (await client.delete(start="x", from_key=True)).deleted == 2
    assert keys_of(await client.range(prefix="")) == [b"/q", b"c"]


async def test_a_delete_returns_no_values_unless_asked(client: Client) -> None:
    await client.put("/k", "v")
    assert (await client.delete("/k")).prev_kvs == ()


async def test_a_value_of_one_mebibyte_travels_both_ways(client: Client) -> None:
    value = EVERY_BYTE * (MIB // 256)
    await client.put("/large", value)
    kv = await client.get("/large")
    assert kv is not None
    assert kv.value == value


async def test_a_response_of_64_mebibytes_arrives_whole(client: Client) -> None:
    values = [bytes([64 + number]) * MIB for number in range(64)]
    for number, value in enumerate(values):
        await client.put(f"/large/{number:02d}", value)
    found = await client.range(prefix="/large/", timeout=20)
    assert [kv.value for kv in found] == values
    assert [kv.value async for kv in client.scan(prefix="/large/", page_size=5)] == values


@pytest.mark.parametrize("size", [MIB * 17 // 10, 3 * MIB], ids=["for the server", "for the client"])
async def test_a_request_that_is_too_large_is_refused_and_the_client_goes_on(client: Client, size: int) -> None:
    with pytest.raises(RequestTooLarge) as caught:
        await client.put("/large", b"x" * size)
    assert not caught.value.maybe_applied
    assert await client.get("/large") is None


async def test_a_response_past_the_clients_limit_is_refused_and_the_client_goes_on(
    client: Client, etcd_server: EtcdServer
) -> None:
    await client.put("/large", b"x" * 100_000)
    async with Client(etcd_server.endpoint, transport=TransportOptions(max_receive_bytes=50_000)) as small:
        with pytest.raises(ResponseTooLarge):
            await small.get("/large")
        assert await small.exists("/large")


# With a commit after each write, for what is not committed yet counts for nothing.
SMALL = ["--quota-backend-bytes=4194304", "--backend-batch-limit=1"]


async def fill_up(client: Client) -> None:
    for number in range(20):
        await client.put(f"/full/{number}", b"x" * MIB)


async def test_a_full_server_refuses_writes_and_still_reads_and_deletes() -> None:
    async with EtcdServer(extra_args=SMALL) as server, Client(server.endpoint) as client:
        with pytest.raises(NoSpace, match="quota"):
            await fill_up(client)
        assert await client.exists("/full/0")
        assert (await client.delete(prefix="/full/")).deleted > 0


async def test_a_write_that_is_told_of_no_space_may_be_there_all_the_same() -> None:
    """Those that were on their way when the quota was reached are applied, and refused."""
    async with EtcdServer(extra_args=SMALL) as server, Client(server.endpoint) as client:
        writes = (client.put(f"/full/{number}", b"x" * MIB) for number in range(12))
        outcomes = await within(asyncio.gather(*writes, return_exceptions=True), 20)
    refused = [error for error in outcomes if isinstance(error, NoSpace)]
    assert refused
    assert all(error.maybe_applied for error in refused)


async def test_hundreds_of_calls_at_once_each_get_their_own_answer(client: Client) -> None:
    async def one(number: int) -> bytes | None:
        await client.put(f"/many/{number}", f"value {number}")
        kv = await client.get(f"/many/{number}")
        return None if kv is None else kv.value

    values = await within(asyncio.gather(*map(one, range(500))), 20)
    assert values == [f"value {number}".encode() for number in range(500)]
    assert await client.count(prefix="/many/") == 500


async def test_a_cancelled_get_leaves_the_client_usable(client: Client) -> None:
    await client.put("/k", "v")
    for number in range(20):
        task = asyncio.create_task(client.get("/k"))
        await turns(number)  # one turn of the loop further each time
        task.cancel()
        await asyncio.wait([task])
        assert await client.exists("/k")


async def test_a_calls_deadline_may_be_set_from_outside(client: Client) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await client.get("/k")
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert await client.get("/k") is None
