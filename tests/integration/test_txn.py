"""Prebuilt operations and transactions."""

import asyncio

import pytest

from etcd_async import (
    Client,
    Compacted,
    DuplicateKey,
    FutureRevision,
    KeyValue,
    LeaseNotFound,
    TooManyOps,
    create_revision,
    delete,
    get,
    lease_of,
    mod_revision,
    ops,
    put,
    txn,
    value,
    version,
)
from etcd_async.ops import Compare
from etcd_async.types import DeleteResult, PutResult, RangeResult, TxnResult
from tests.support.live import within


async def holds(client: Client, *when: Compare) -> bool:
    return (await client.txn(when=when)).succeeded


async def test_do_runs_each_kind_of_operation_with_its_own_result(client: Client) -> None:
    written = await client.do(put("/op/key", "123"))
    found = await client.do(get("/op/key"))
    overwritten = await client.do(put("/op/key", "456", prev_kv=True))
    listed = await client.do(ops.range(prefix="/op/"))
    deleted = await client.do(delete("/op/key", prev_kv=True))
    missing = await client.do(get("/op/key"))
    ran = await client.do(txn(then=[put("/op/txn", "v")]))
    assert found == KeyValue(b"/op/key", b"123", written.revision, written.revision, 1)
    assert overwritten.prev_kv == found
    assert [kv.value for kv in listed] == [b"456"]
    assert [kv.value for kv in deleted.prev_kvs] == [b"456"]
    assert missing is None
    assert ran.succeeded
    assert isinstance(ran.results[0], PutResult)


async def test_do_honours_the_options_of_an_operation(client: Client) -> None:
    old = (await client.put("/k/1", "old")).revision
    await client.put("/k/1", "new")
    await client.put("/k/2", "v")
    past = await client.do(get("/k/1", revision=old))
    bare = await client.do(get("/k/1", keys_only=True, serializable=True))
    cut = await client.do(ops.range(prefix="/k/", limit=1, sort_by="key", descending=True))
    assert past is not None
    assert past.value == b"old"
    assert bare is not None
    assert bare.value == b""
    assert [kv.key for kv in cut] == [b"/k/2"]
    assert cut.more


async def test_then_runs_when_every_compare_holds(client: Client) -> None:
    await client.put("/txn/guard", "v1")
    result = await client.txn(
        when=[value("/txn/guard") > "u0", version("/txn/guard") == 1],
        then=[put("/txn/result", "then-branch"), put("/txn/extra", "ok")],
        otherwise=[put("/txn/result", "else-branch"), delete("/txn/extra")],
    )
    assert result.succeeded
    assert [kv.value for kv in await client.range(prefix="/txn/")] == [b"ok", b"v1", b"then-branch"]


async def test_otherwise_runs_when_one_compare_fails(client: Client) -> None:
    await client.put_many({"/txn/guard": "v1", "/txn/extra": "old"})
    result = await client.txn(
        when=[value("/txn/guard") > "u0", version("/txn/guard") == 2],
        then=[put("/txn/result", "then-branch")],
        otherwise=[put("/txn/result", "else-branch"), delete("/txn/extra")],
    )
    assert not result.succeeded
    assert [kv.value for kv in await client.range(prefix="/txn/")] == [b"v1", b"else-branch"]


async def test_each_target_and_operator_decides_as_written(client: Client) -> None:
    lease = await client.leases.grant(60)
    created = (await client.put("/k", "a")).revision
    changed = (await client.put("/k", "m", lease=lease.id)).revision
    kept = [
        value("/k") == "m",
        value("/k") != "n",
        value("/k") > "l",
        value("/k") < b"n",
        version("/k") == 2,
        version("/k") != 1,
        version("/k") > 1,
        version("/k") < 3,
        version("/k") >= 2,
        version("/k") <= 2,
        create_revision("/k") == created,
        create_revision("/k") >= created,
        create_revision("/k") < changed,
        mod_revision("/k") == changed,
        mod_revision("/k") <= changed,
        mod_revision("/k") > created,
        lease_of("/k") == lease.id,
        lease_of("/k") == lease,
        lease_of("/k") != 0,
        version("/missing") == 0,
        create_revision("/missing") == 0,
        mod_revision("/missing") <= 0,
        lease_of("/missing") == 0,
    ]
    broken = [
        value("/k") == "n",
        value("/k") != "m",
        value("/k") > "m",
        value("/k") < "m",
        value("/missing") == "",
        value("/missing") != "x",
        version("/k") >= 3,
        version("/k") <= 1,
        version("/k") > 2,
        version("/k") < 2,
        create_revision("/k") == changed,
        mod_revision("/k") != changed,
        lease_of("/k") == 0,
        lease_of("/k") < lease.id,
    ]
    assert [each for each in kept if not await holds(client, each)] == []
    assert [each for each in broken if await holds(client, each)] == []
    assert await holds(client, *kept[:10])
    assert not await holds(client, *kept[:10], broken[0])


async def test_a_compare_over_a_prefix_must_hold_for_every_key(client: Client) -> None:
    await client.put_many({"/p/1": "v", "/p/2": "v", "/q": "other"})
    assert await holds(client, value(prefix="/p/") == "v")
    assert await holds(client, version(prefix="/p/") == 1)
    assert not await holds(client, value(prefix="/") == "v")
    await client.put("/p/2", "w")
    assert not await holds(client, value(prefix="/p/") == "v")
    assert not await holds(client, version(prefix="/p/") >= 2)
    assert await holds(client, version(prefix="/p/") <= 2)


async def test_a_compare_over_an_empty_prefix_says_whether_it_is_empty(client: Client) -> None:
    assert await holds(client, create_revision(prefix="/p/") == 0)
    assert not await holds(client, value(prefix="/p/") == "v")
    await client.put("/p/1", "v")
    assert not await holds(client, create_revision(prefix="/p/") == 0)


async def test_results_come_typed_and_in_order(client: Client) -> None:
    await client.put_many({"/a": "old", "/d/1": "v", "/d/2": "v"})
    result = await client.txn(
        then=[
            put("/a", "new", prev_kv=True),
            get("/a"),
            get("/missing"),
            ops.range(prefix="/d/", limit=1),
            delete(prefix="/d/", prev_kv=True),
            txn(when=[version("/a") == 2], otherwise=[get("/a", keys_only=True), get("/missing")]),
            delete("/missing"),
        ]
    )
    written, found, missing, listed, deleted, nested, nothing = result.results
    assert isinstance(written, PutResult)
    assert written.prev_kv is not None
    assert written.prev_kv.value == b"old"
    assert isinstance(found, KeyValue)
    assert (found.value, found.mod_revision) == (b"new", result.revision)
    assert missing is None
    assert isinstance(listed, RangeResult)
    assert (len(listed), listed.count, listed.more) == (1, 2, True)
    assert isinstance(deleted, DeleteResult)
    assert [kv.key for kv in deleted.prev_kvs] == [b"/d/1", b"/d/2"]
    assert isinstance(nested, TxnResult)
    assert not nested.succeeded
    assert isinstance(nested.results[0], KeyValue)
    assert nested.results[0].value == b""
    assert nested.results[1] is None
    assert isinstance(nothing, DeleteResult)
    assert nothing.deleted == 0


async def test_nested_transactions_branch_on_their_own(client: Client) -> None:
    await client.put("/n", "1")
    result = await client.txn(
        when=[version("/n") == 1],
        then=[
            txn(
                when=[value("/n") == "2"],
                then=[put("/wrong", "v")],
                otherwise=[txn(when=[value("/n") == "1"], then=[put("/deep", "v"), get("/deep")])],
            ),
            get("/n"),
        ],
    )
    outer, kv = result.results
    assert isinstance(outer, TxnResult)
    assert not outer.succeeded
    (inner,) = outer.results
    assert isinstance(inner, TxnResult)
    assert inner.succeeded
    assert isinstance(inner.results[1], KeyValue)
    assert inner.results[1].value == b"v"
    assert isinstance(kv, KeyValue)
    assert await client.keys() == [b"/deep", b"/n"]


async def test_compares_of_a_nested_transaction_see_the_store_as_it_was_before_all_of_it(client: Client) -> None:
    await client.put("/n", "1")
    result = await client.txn(then=[put("/n", "2"), txn(when=[value("/n") == "1"], then=[get("/n")])])
    nested = result.results[1]
    assert isinstance(nested, TxnResult)
    assert nested.succeeded
    assert isinstance(nested.results[0], KeyValue)
    assert nested.results[0].value == b"2"


async def test_each_result_tells_the_revision_of_the_whole_transaction(client: Client) -> None:
    await client.put("/d", "v")
    nested = txn(then=[put("/b", "v"), txn(then=[get("/b")])])
    result = await client.txn(then=[put("/a", "v"), delete("/d"), ops.range(prefix="/"), nested])
    assert [each.revision for each in result.results if not isinstance(each, KeyValue) and each] == [
        result.revision
    ] * 4
    inner = result.results[3]
    assert isinstance(inner, TxnResult)
    assert isinstance(inner.results[1], TxnResult)
    assert inner.results[1].revision == result.revision


async def test_all_writes_of_a_transaction_share_one_revision(client: Client) -> None:
    before = (await client.put("/c", "v")).revision
    result = await client.txn(then=[put("/a", "v"), put("/b", "v"), delete("/c")])
    assert result.revision == before + 1
    assert {kv.mod_revision for kv in await client.range(prefix="/")} == {result.revision}


async def test_a_transaction_that_only_reads_makes_no_revision(client: Client) -> None:
    before = (await client.put("/a", "v")).revision
    result = await client.txn(when=[version("/a") == 1], then=[get("/a")], otherwise=[get("/b")])
    assert result.revision == before


async def test_an_empty_transaction_succeeds_with_no_results(client: Client) -> None:
    result = await client.txn()
    assert (result.succeeded, result.results) == (True, ())


async def test_a_get_in_a_transaction_may_read_the_past(client: Client) -> None:
    past = (await client.put("/a", "old")).revision
    await client.put("/a", "new")
    result = await client.txn(then=[get("/a", revision=past), get("/a")])
    assert [kv.value for kv in result.results if isinstance(kv, KeyValue)] == [b"old", b"new"]


async def test_a_bad_revision_in_a_transaction_fails_all_of_it(client: Client) -> None:
    past = (await client.put("/a", "old")).revision
    last = (await client.put("/a", "new")).revision
    await client.compact(last)
    with pytest.raises(Compacted):
        await client.txn(then=[put("/b", "v"), get("/a", revision=past)])
    with pytest.raises(FutureRevision):
        await client.txn(then=[put("/b", "v"), get("/a", revision=last + 10)])
    assert not await client.exists("/b")


async def test_writing_a_key_twice_is_a_duplicate_key(client: Client) -> None:
    with pytest.raises(DuplicateKey) as caught:
        await client.txn(then=[put("/a", "1"), put("/a", "2")])
    assert not caught.value.maybe_applied
    with pytest.raises(DuplicateKey):
        await client.txn(then=[put("/a", "1"), txn(then=[put("/a", "2")])])
    with pytest.raises(DuplicateKey):
        await client.txn(then=[put("/a/1", "1"), delete(prefix="/a/")])
    assert await client.count(prefix="") == 0


async def test_both_branches_may_write_the_same_key(client: Client) -> None:
    await client.txn(when=[version("/a") == 0], then=[put("/a", "1")], otherwise=[put("/a", "2")])
    kv = await client.get("/a")
    assert kv is not None
    assert kv.value == b"1"


async def test_more_operations_than_the_server_allows_are_too_many(client: Client) -> None:
    with pytest.raises(TooManyOps):
        await client.txn(then=[get(f"/{number}") for number in range(129)])
    with pytest.raises(TooManyOps):
        await client.txn(when=[version("/a") == 0] * 129)
    assert len((await client.txn(then=[get(f"/{number}") for number in range(128)])).results) == 128


async def test_a_dead_lease_in_a_transaction_fails_all_of_it(client: Client) -> None:
    lease = await client.leases.grant(60)
    await client.leases.revoke(lease.id)
    with pytest.raises(LeaseNotFound):
        await client.txn(then=[put("/a", "v"), put("/b", "v", lease=lease.id)])
    assert await client.count(prefix="") == 0


async def test_a_transaction_attaches_keys_to_a_lease(client: Client) -> None:
    lease = await client.leases.grant(60)
    await client.txn(then=[put("/a", "v", lease=lease), put("/b", "v", lease=lease.id)])
    assert set((await client.leases.time_to_live(lease, keys=True)).keys) == {b"/a", b"/b"}


async def test_of_many_guarded_writers_one_at_a_time_gets_through(client: Client) -> None:
    await client.put("/guard", "0")

    async def claim(name: str) -> bool:
        result = await client.txn([value("/guard") == "0"], [put("/guard", name)])
        return result.succeeded

    won = await within(asyncio.gather(*(claim(f"writer {number}") for number in range(50))))
    kv = await client.get("/guard")
    assert won.count(True) == 1
    assert kv is not None
    assert kv.text() == f"writer {won.index(True)}"
