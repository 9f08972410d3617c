"""A namespace: a prefix that is added and removed by itself and shows nowhere."""

import pytest

from etcd_async import (
    Client,
    KeyExists,
    KeyValue,
    Namespace,
    Service,
    create_revision,
    delete,
    get,
    ops,
    put,
    txn,
    value,
)
from etcd_async.testing import EtcdServer
from etcd_async.types import DeleteResult, PutResult, RangeResult, TxnResult
from etcd_async.wire import RangeRequest
from tests.integration.support import until_keys
from tests.support.live import take, within


@pytest.fixture
def app(client: Client) -> Namespace:
    return client.namespaced("/apps/a/")


async def test_keys_of_a_namespace_lie_under_its_prefix(client: Client, app: Namespace) -> None:
    await app.put("k", "v")
    kv = await client.get("/apps/a/k")
    assert kv is not None
    assert kv.value == b"v"
    found = await app.get("k")
    assert found is not None
    assert (found.key, found.value) == (b"k", b"v")
    assert await app.get("/apps/a/k") is None


async def test_namespaces_do_not_see_each_other_or_what_is_outside(client: Client, app: Namespace) -> None:
    other = client.namespaced("/apps/b/")
    for view in (app, other, client):
        await view.put("k", "v")
    await client.put("/apps/a0", "neighbour")
    await client.put("/apps/a", "parent")
    assert await app.keys() == [b"k"]
    assert await other.keys() == [b"k"]
    assert [kv.key for kv in await app.range(start="a", from_key=True)] == [b"k"]
    assert [kv.key for kv in await app.range(start="", from_key=True)] == [b"k"]
    assert [kv.key async for kv in app.scan(prefix="", page_size=1)] == [b"k"]
    assert await app.count(prefix="") == 1


async def test_deleting_all_of_a_namespace_leaves_the_rest(client: Client, app: Namespace) -> None:
    await app.put_many({"k/1": "v", "k/2": "v", "z": "v"})
    await client.put_many({"/apps/a0": "v", "/apps/": "v", "zz": "v"})
    assert (await app.delete(start="k/2", from_key=True)).deleted == 2
    assert (await app.delete(prefix="")).deleted == 1
    assert await client.keys() == [b"/apps/", b"/apps/a0", b"zz"]


async def test_namespaces_nest(client: Client, app: Namespace) -> None:
    inner = app.namespaced("inner/")
    await inner.put("k", "v")
    assert await inner.keys() == [b"k"]
    assert await app.keys() == [b"inner/k"]
    assert await client.keys() == [b"/apps/a/inner/k"]


async def test_a_client_has_a_namespace_of_its_own(client: Client, etcd_server: EtcdServer) -> None:
    async with Client(etcd_server.endpoint, namespace="/apps/a/") as named:
        await named.put("k", "v")
        await named.namespaced("b/").put("k", "v")
        assert await named.keys() == [b"b/k", b"k"]
    assert await client.keys() == [b"/apps/a/b/k", b"/apps/a/k"]


@pytest.mark.parametrize("prefix", [b"\xff\xff", b"a\xff", b"\x00"])
async def test_a_namespace_may_hold_any_byte(client: Client, prefix: bytes) -> None:
    view = client.namespaced(prefix)
    await view.put(b"\xff", "last")
    await client.put_many({b"\xff": "v", b"b": "v"})
    assert await view.keys() == [b"\xff"]
    assert [kv.key for kv in await view.range(start=b"\x00", from_key=True)] == [b"\xff"]


async def test_no_result_shows_the_prefix(app: Namespace) -> None:
    await app.put_many({"a": "1", "b": "2"})
    written = await app.put("a", "3", prev_kv=True)
    deleted = await app.delete(prefix="", prev_kv=True)
    assert written.prev_kv is not None
    assert written.prev_kv.key == b"a"
    assert [kv.key for kv in deleted.prev_kvs] == [b"a", b"b"]


async def test_transactions_are_translated_both_ways_however_deep(client: Client, app: Namespace) -> None:
    await client.put("k", "outside")
    await app.put_many({"k": "inside", "p/1": "v"})
    result = await app.txn(
        when=[value("k") == "inside", value(prefix="p/") == "v", create_revision(prefix="none/") == 0],
        then=[
            put("k", "new", prev_kv=True),
            get("k"),
            ops.range(prefix=""),
            txn(then=[get("k"), delete("p/1", prev_kv=True)]),
        ],
    )
    assert result.succeeded
    written, found, listed, nested = result.results
    assert isinstance(written, PutResult)
    assert written.prev_kv is not None
    assert (written.prev_kv.key, written.prev_kv.value) == (b"k", b"inside")
    assert isinstance(found, KeyValue)
    assert found.key == b"k"
    assert isinstance(listed, RangeResult)
    assert [kv.key for kv in listed] == [b"k", b"p/1"]
    assert isinstance(nested, TxnResult)
    inner, deleted = nested.results
    assert isinstance(inner, KeyValue)
    assert inner.key == b"k"
    assert isinstance(deleted, DeleteResult)
    assert [kv.key for kv in deleted.prev_kvs] == [b"p/1"]
    kv = await client.get("k")
    assert kv is not None
    assert kv.value == b"outside"


async def test_watches_tell_only_of_the_namespace_and_without_its_prefix(client: Client, app: Namespace) -> None:
    async with (
        app.watch(prefix="", prev_kv=True) as everything,
        app.watch("k") as one,
        app.watch(start="k", from_key=True) as rest,
    ):
        await client.put("k", "outside")
        await client.put("/apps/a0", "neighbour")
        await app.put("k", "1")
        await app.put("k", "2")
        await app.delete("k")
        for watch in (everything, one, rest):
            events = await take(watch, 3)
            assert [(event.type, event.kv.key) for event in events] == [("put", b"k"), ("put", b"k"), ("delete", b"k")]
        after = await app.put("l", "3", prev_kv=True)
        (batch,) = await take(everything.batches(), 1)
    assert batch.revision == after.revision
    assert [event.kv.key for event in batch.events] == [b"l"]


async def test_what_a_watch_tells_of_before_has_no_prefix_either(app: Namespace) -> None:
    await app.put("k", "1")
    async with app.watch("k", prev_kv=True) as watch:
        await app.put("k", "2")
        (event,) = await take(watch, 1)
    assert event.prev_kv is not None
    assert (event.prev_kv.key, event.prev_kv.value) == (b"k", b"1")


async def test_a_lease_tells_only_the_keys_of_the_namespace(client: Client, app: Namespace) -> None:
    async with app.lease(30) as lease:
        await app.put("k", "v", lease=lease)
        await client.put("outside", "v", lease=lease)
        assert (await app.leases.time_to_live(lease, keys=True)).keys == (b"k",)
        assert set((await client.leases.time_to_live(lease, keys=True)).keys) == {b"/apps/a/k", b"outside"}


async def test_compound_calls_stay_inside(client: Client, app: Namespace) -> None:
    await client.put("taken", "outside")
    assert await app.put_if_absent("taken", "1")
    assert await app.compare_and_swap("taken", "1", "2")
    await app.move("taken", "moved")
    await app.put("taken", "again")
    with pytest.raises(KeyExists):
        await app.move("taken", "moved")
    assert (await app.delete_many(["taken", "moved"])).deleted == 2
    assert await client.keys() == [b"taken"]


async def test_locks_and_elections_of_namespaces_are_apart(client: Client, app: Namespace) -> None:
    other = client.namespaced("/apps/b/")
    async with app.lock("x", ttl=10) as mine, other.lock("x", ttl=10), client.lock("x", ttl=10):
        assert mine.key.startswith(b"x/")
        assert not await app.lock("x").try_acquire()
        await until_keys(client, "/apps/a/x/", 1)
        async with app.election("x2", identity="n", ttl=10).campaign():
            assert await app.election("x2").leader() == b"n"
            assert await other.election("x2").leader() is None


async def test_services_of_namespaces_are_apart(client: Client, app: Namespace) -> None:
    service = Service("billing", "1", "a:1")
    async with app.register(service), app.watch_service("billing") as changes:
        assert await app.discover("billing") == [service]
        assert await client.discover("billing") == []
        (change,) = await take(changes, 1)
        assert change.service == service


async def test_rpc_takes_the_servers_keys(app: Namespace) -> None:
    await app.put("k", "v")
    answer = await app.rpc("/etcdserverpb.KV/Range", RangeRequest(key=b"/apps/a/k"))
    assert [kv.key for kv in answer.kvs] == [b"/apps/a/k"]


async def test_a_view_ends_with_its_client(etcd_server: EtcdServer) -> None:
    async with Client(etcd_server.endpoint) as client:
        view = client.namespaced("/apps/a/")
        await within(view.put("k", "v"))
    with pytest.raises(Exception, match="closed"):
        await view.get("k")
