"""The tutorial of etcd's Go client, row by row: what its reader can do there works here."""

import json
from dataclasses import dataclass

import pytest

from etcd_async import (
    Client,
    KeyValue,
    LeaseNotFound,
    Unavailable,
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
from etcd_async.testing import EtcdServer
from etcd_async.types import DeleteResult, PutResult, TxnResult
from tests.integration.support import until_expired
from tests.support.live import take, within


async def test_a_client_is_made_of_endpoints_and_a_timeout(etcd_server: EtcdServer) -> None:
    async with Client([etcd_server.endpoint], timeout=5) as client:
        assert (await client.put("/demo/k1", "hello etcd")).revision > 0


async def test_a_client_reconnects_by_itself() -> None:
    async with EtcdServer() as server, Client(server.endpoint) as client:
        await client.put("/demo/k1", "hello etcd")
        await server.restart()
        kv = await client.get("/demo/k1")
        assert kv is not None
        assert kv.text() == "hello etcd"


async def test_no_server_is_an_error_within_the_dial_timeout(dead_endpoint: str) -> None:
    with pytest.raises(Unavailable, match="refused"):
        await within(Client.connect(dead_endpoint, timeout=5), 5)


async def test_each_call_takes_a_deadline(client: Client) -> None:
    assert (await client.put("/demo/k1", "hello etcd", timeout=3)).revision > 0


async def test_a_put_returns_the_revision_and_the_value_it_overwrote(client: Client) -> None:
    first = await client.put("/demo/k1", "hello etcd")
    second = await client.put("/demo/k1", "new value", prev_kv=True)
    assert second.revision == first.revision + 1
    assert second.prev_kv is not None
    assert (second.prev_kv.key, second.prev_kv.text()) == (b"/demo/k1", "hello etcd")


async def test_a_get_tells_value_and_version_or_that_there_is_none(client: Client) -> None:
    for text in ("hello etcd", "new value"):
        await client.put("/demo/k1", text)
    kv = await client.get("/demo/k1")
    assert kv is not None
    assert (kv.text(), kv.version) == ("new value", 2)
    assert await client.get("/demo/k2") is None


async def test_a_prefix_is_listed_in_key_order(client: Client) -> None:
    for key, text in [("/demo/dir/b", "B"), ("/demo/dir/a", "A"), ("/demo_dir_noise", "noise")]:
        await client.put(key, text)
    found = await client.range(prefix="/demo/dir/")
    assert [(kv.key, kv.text()) for kv in found] == [(b"/demo/dir/a", "A"), (b"/demo/dir/b", "B")]


async def test_a_list_may_start_at_a_key_be_of_the_past_or_be_cut(client: Client) -> None:
    await client.put_many({"/demo/a": "1", "/demo/b": "1", "/demo/c": "1"})
    past = (await client.put("/demo/b", "2")).revision
    await client.put("/demo/b", "3")
    assert [kv.key for kv in await client.range(start="/demo/b", from_key=True)] == [b"/demo/b", b"/demo/c"]
    assert [kv.text() for kv in await client.range(prefix="/demo/b", revision=past)] == ["2"]
    cut = await client.range(prefix="/demo/", limit=2)
    assert (len(cut), cut.count, cut.more) == (2, 3, True)


async def test_a_key_on_a_lease_is_gone_when_the_lease_expires(client: Client) -> None:
    lease = await client.leases.grant(2)
    async with client.watch("/demo/ephemeral") as watch:
        await client.put("/demo/ephemeral", "gone soon", lease=lease.id)
        assert [event.type for event in await take(watch, 2)] == ["put", "delete"]
    with pytest.raises(LeaseNotFound):
        await client.put("/demo/ephemeral", "too late", lease=lease.id)


async def test_a_lease_is_renewed_once(client: Client) -> None:
    lease = await client.leases.grant(10)
    assert (await client.leases.keep_alive_once(lease.id)).ttl == 10


async def test_a_lease_is_renewed_for_as_long_as_it_is_wanted(client: Client) -> None:
    async with client.lease(ttl=2) as lease:
        await client.put("/demo/ephemeral", "here to stay", lease=lease)
        await until_expired(client, 4)
        assert await client.exists("/demo/ephemeral")
    assert not await client.exists("/demo/ephemeral")


async def test_a_renewal_of_an_expired_lease_says_so(client: Client) -> None:
    lease = await client.leases.grant(10)
    await client.leases.revoke(lease.id)
    with pytest.raises(LeaseNotFound, match="requested lease not found"):
        await client.leases.keep_alive_once(lease.id)


async def test_prebuilt_operations_run_one_by_one(client: Client) -> None:
    prebuilt: list[ops.Op] = [
        put("/op/key", "123"),
        get("/op/key"),
        put("/op/key", "456"),
        delete("/op/key"),
        txn(then=[get("/op/key")]),
    ]
    results = [await client.do(op) for op in prebuilt]
    kinds = [type(result) for result in results]
    assert kinds == [PutResult, KeyValue, PutResult, DeleteResult, TxnResult]
    found, deleted, ran = results[1], results[3], results[4]
    assert isinstance(found, KeyValue)
    assert found.text() == "123"
    assert isinstance(deleted, DeleteResult)
    assert deleted.deleted == 1
    assert isinstance(ran, TxnResult)
    assert (ran.succeeded, ran.results) == (True, (None,))


@pytest.mark.parametrize("guard", ["v1", "u0"])
async def test_a_transaction_runs_then_or_else(client: Client, guard: str) -> None:
    await client.put("/txn/guard", guard)
    result = await client.txn(
        when=[value("/txn/guard") > "u0", version("/txn/guard") == 1],
        then=[put("/txn/result", "then-branch"), put("/txn/extra", "ok")],
        otherwise=[put("/txn/result", "else-branch"), delete("/txn/extra")],
    )
    assert result.succeeded is (guard == "v1")
    kv = await client.get("/txn/result")
    assert kv is not None
    assert kv.text() == ("then-branch" if guard == "v1" else "else-branch")


async def test_a_transaction_compares_value_version_revisions_and_lease(client: Client) -> None:
    lease = await client.leases.grant(60)
    written = await client.put("/txn/guard", "v1", lease=lease.id)
    result = await client.txn(
        when=[
            value("/txn/guard") == "v1",
            version("/txn/guard") == 1,
            create_revision("/txn/guard") == written.revision,
            mod_revision("/txn/guard") == written.revision,
            lease_of("/txn/guard") == lease.id,
        ],
        then=[ops.range(prefix="/txn/")],
    )
    assert result.succeeded


@dataclass
class RuntimeConfig:
    feature: str
    rate: int


async def test_a_watch_decodes_json_into_a_config_object(client: Client) -> None:
    async with client.watch("/cfg/runtime") as watch:
        await client.put("/cfg/runtime", json.dumps({"feature": "dark mode", "rate": 5}))
        (event,) = await take(watch, 1)
    assert RuntimeConfig(**event.kv.json()) == RuntimeConfig("dark mode", 5)


async def test_a_watch_follows_a_whole_subtree(client: Client) -> None:
    async with client.watch(prefix="/demo/dir/") as watch:
        await client.put("/demo/dir/a", "A")
        await client.put("/demo_dir_noise", "noise")
        await client.delete("/demo/dir/a")
        events = await take(watch, 2)
    assert [(event.type, event.kv.key, event.kv.text()) for event in events] == [
        ("put", b"/demo/dir/a", "A"),
        ("delete", b"/demo/dir/a", ""),
    ]
