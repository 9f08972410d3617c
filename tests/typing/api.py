"""
The public interface as a user's type checker sees it, name by name as design and documentation promise it.

Checked, never run.
"""

from datetime import datetime
from pathlib import Path
from typing import Any, assert_type

import etcd_async
from etcd_async import (
    TLS,
    Alarm,
    Claim,
    Client,
    Event,
    HashKV,
    KeyValue,
    Member,
    MemberStatus,
    PutResult,
    RangeResult,
    Reencrypted,
    Service,
    Snapshot,
    SnapshotChunk,
    Ticket,
    create_revision,
    delete,
    get,
    lease_of,
    mod_revision,
    put,
    txn,
    value,
    version,
)
from etcd_async.crypto import Encryption, Keyring
from etcd_async.types import Batch, DeleteResult, EventType, LeaseGrant, LeaseTimeToLive, TxnResult
from etcd_async.users import Access, AuthStatus, Permission, Role, User


async def opening() -> None:
    async with Client("localhost:2379") as client:
        assert_type(client, Client)
    opened = await Client.connect(["http://h1:2379", "http://h2:2379"], timeout=5)
    assert_type(opened, Client)
    await opened.aclose()
    Client(
        "https://h:2379",
        user="root",
        password="pw",
        tls=TLS(ca="ca.pem", cert="c.pem", key="k.pem"),
        namespace="/apps/myapp",
        timeout=None,
        encryption=None,
    )


async def resolving(client: Client) -> None:
    async with client.resolver("billing", policy="random", metadata={"zone": "a"}) as resolver:
        assert_type(resolver.pick(), Service)
    assert_type(await client.discover("billing", metadata={"zone": "a"}, healthy_only=True), list[Service])


async def configuration(client: Client) -> None:
    source = client.config_source("myapp")
    assert_type(await source.read(), dict[str, Any])
    assert_type(await source.write({"a": 1}, if_revision=3), int)
    async with source.watch() as updates:
        async for values in updates:
            assert_type(values, dict[str, Any])
    assert_type((await etcd_async.config.load(file="app.yaml", overlay=source)).current, dict[str, Any])
    assert_type((await etcd_async.config.load(overlay=source, model=len)).current, int)


async def caching(client: Client, other: Client) -> None:
    async with client.cache(prefix="/a/") as cache:
        assert_type(cache["/a/x"], KeyValue)
        assert_type(cache.revision, int)
        await cache.wait_for(7)
        async for event in cache.changes():
            assert_type(event, Event)
    async with client.mirror("/a/", other, "/b/") as mirror:
        assert_type(mirror.revision, int)


async def encryption() -> None:
    keyring = Keyring.generate()
    assert_type(keyring.add_key(), str)
    assert_type(keyring.primary, str)
    assert_type(Keyring.from_json(keyring.to_json()), Keyring)
    async with Client(encryption=Encryption(keyring, prefixes=("/secrets/",))) as client:
        assert_type(await client.reencrypt(prefix="/secrets/"), Reencrypted)


async def keys_and_values(client: Client) -> None:
    assert_type(await client.put("/a", b"v", lease=7, prev_kv=True, timeout=1.5), PutResult)
    assert_type(await client.get(b"/a", revision=3, serializable=True), KeyValue | None)
    assert_type(await client.range(prefix="/a/", sort_by="mod_revision", descending=True), RangeResult)
    assert_type(await client.range(start="/a", from_key=True, keys_only=True), RangeResult)
    assert_type(await client.delete(prefix="/a/"), DeleteResult)
    assert_type(await client.count(prefix="/a/"), int)
    assert_type(await client.exists("/a"), bool)
    assert_type(await client.keys(prefix="/a/", match="*config*", limit=10), list[bytes])
    async for kv in client.scan(prefix="/a/", page_size=1000):
        assert_type(kv, KeyValue)
    assert_type(await client.put_if_absent("/a", "v"), bool)
    assert_type(await client.compare_and_swap("/a", "old", "new"), bool)
    assert_type(await client.replace("/a", "v", mod_revision=3), bool)
    assert_type(await client.put_many({"/a": "1", "/b": "2"}), PutResult)
    assert_type(await client.put_many({b"/a": "1"}, atomic=False), PutResult)
    assert_type(await client.delete_many(["/a", "/b"]), DeleteResult)
    await client.move("/a", b"/b", overwrite=True)
    await client.compact(10, physical=True)


def results(kv: KeyValue, found: RangeResult, written: PutResult) -> None:
    assert_type(kv.key, bytes)
    assert_type(kv.mod_revision, int)
    assert_type(kv.text(), str)
    assert_type(found[0], KeyValue)
    assert_type([kv.value for kv in found], list[bytes])
    assert_type(found.more, bool)
    assert_type(written.prev_kv, KeyValue | None)


async def transactions(client: Client) -> None:
    result = await client.txn(
        when=[
            value("/guard") > "u0",
            version("/guard") == 1,
            mod_revision("/x") <= 7,
            create_revision("/z") != 0,
            lease_of("/y") == 0,
            value(prefix="/p/") == b"v",
        ],
        then=[put("/result", "then"), delete("/old"), txn(when=[version("/n") >= 1], then=[get("/n")])],
        otherwise=[get("/guard")],
    )
    assert_type(result, TxnResult)
    assert_type(result.succeeded, bool)
    assert_type(await client.do(put("/op/key", "123")), PutResult)
    assert_type(await client.do(get("/op/key")), KeyValue | None)
    assert_type(await client.do(delete("/op/key")), DeleteResult)
    assert_type(await client.do(txn(then=[get("/a")])), TxnResult)


async def leases(client: Client) -> None:
    async with client.lease(ttl=10) as lease:
        await client.put("/ephemeral", "v", lease=lease)
        assert_type(lease.id, int)
        assert_type(lease.ttl, float)
        assert_type(lease.is_lost, bool)
    granted = await client.leases.grant(30)
    async with client.keep_lease(granted) as kept:
        kept.leave_standing()
    assert_type(granted, LeaseGrant)
    assert_type(await client.leases.time_to_live(granted.id, keys=True), LeaseTimeToLive)
    assert_type(await client.leases.list(), list[int])
    await client.leases.revoke(granted.id)


async def members(client: Client) -> None:
    assert_type(await client.cluster.list(serializable=True), list[Member])
    added = await client.cluster.add_learner(["http://10.0.0.4:2380"])
    assert_type(added, Member)
    assert_type(await client.cluster.add("http://10.0.0.5:2380"), Member)
    assert_type(await client.cluster.promote(added.id), list[Member])
    assert_type(await client.cluster.update(added.id, "http://10.0.0.6:2380"), list[Member])
    assert_type(await client.cluster.remove(added.id), list[Member])


async def maintenance(client: Client) -> None:
    async def tell(done: int, remaining: int) -> None:
        assert_type(done + remaining, int)

    assert_type(await client.maintenance.status("http://h1:2379"), MemberStatus)
    assert_type(await client.maintenance.alarms(), list[Alarm])
    assert_type(await client.maintenance.disarm(alarm="nospace"), list[Alarm])
    await client.maintenance.defragment("http://h1:2379", timeout=None)
    assert_type(await client.maintenance.hash_kv("http://h1:2379", 7), HashKV)
    await client.maintenance.move_leader(1)
    assert_type(await client.maintenance.downgrade("validate", "3.5"), str)
    assert_type(await client.maintenance.snapshot("backup.db", progress=tell), Snapshot)
    await client.maintenance.snapshot(Path("backup.db"), progress=lambda done, remaining: done + remaining)
    async for chunk in client.maintenance.snapshot_stream():
        assert_type(chunk, SnapshotChunk)


async def watches(client: Client) -> None:
    async with client.watch(prefix="/a/", start_revision=3, prev_kv=True, filters=("no_put",)) as watch:
        await watch.started()
        async for event in watch:
            assert_type(event, Event)
            assert_type(event.type, EventType)
            assert_type(event.prev_kv, KeyValue | None)
            assert_type(event.is_create, bool)
        async for batch in watch.batches():
            assert_type(batch, Batch)
            assert_type(batch.is_progress, bool)


async def coordination(client: Client) -> None:
    async with client.lock("jobs/cleanup", ttl=10, timeout=None) as lock:
        assert_type(lock.fencing_token, int)
        await client.txn(when=[lock.owned], then=[put("/report", "x")])
    assert_type(await client.lock("x").try_acquire(), bool)
    election = client.election("leader/scheduler", identity="node-1", ttl=10)
    async with election.campaign() as leadership:
        await leadership.proclaim("v2")
        assert_type(leadership.ticket, Ticket)
        async with election.resume(Ticket.from_json(leadership.ticket.to_json())) as resumed:
            assert_type(await resumed.suspend(), Ticket)
    assert_type(await election.leader(), bytes | None)
    assert_type(await election.leading(), KeyValue | None)
    async for leader in election.observe():
        assert_type(leader, bytes)


async def users(client: Client) -> None:
    Client("https://h", token="jwt")
    await client.auth.enable()
    await client.auth.disable()
    assert_type(await client.auth.status(timeout=1), AuthStatus)
    await client.auth.add_user("ann", "password")
    await client.auth.add_user("robot")
    await client.auth.change_password("ann", "other")
    assert_type(await client.auth.get_user("ann"), User)
    assert_type(await client.auth.list_users(), list[str])
    await client.auth.grant_role("ann", "readers")
    await client.auth.revoke_role("ann", "readers")
    await client.auth.delete_user("ann")
    await client.auth.add_role("readers")
    await client.auth.grant_permission("readers", "/key", access="read")
    await client.auth.grant_permission("readers", prefix=b"/p/")
    await client.auth.grant_permission("readers", start="/a", end="/b", access="write")
    await client.auth.revoke_permission("readers", start="/a", from_key=True)
    role = await client.auth.get_role("readers")
    assert_type(role, Role)
    assert_type(role.permissions, tuple[Permission, ...])
    assert_type(role.permissions[0].access, Access)
    assert_type(role.permissions[0].prefix, bytes | None)
    assert_type(await client.auth.list_roles(), list[str])
    await client.auth.delete_role("readers")


async def coordination_of_several(client: Client) -> None:
    async def function(t: etcd_async.Transaction) -> int:
        assert_type(await t.get("/a"), KeyValue | None)
        t.put("/a", b"v", lease=7)
        t.delete("/b")
        return 1

    result = await client.stm(function, isolation="repeatable_reads", prefetch=["/a"], max_attempts=3, timeout=None)
    assert_type(result, etcd_async.StmResult[int])
    assert_type(result.value, int)
    async with client.rwlock("x", ttl=10).read() as reader, client.rwlock("x", timeout=1).write() as writer:
        assert_type(reader, etcd_async.Holding)
        await client.txn(when=[writer.owned])
    async with client.semaphore("x", limit=3) as permit:
        assert_type(permit, etcd_async.Semaphore)
        assert_type(permit.fencing_token, int)
    await client.barrier("x").wait(timeout=1.5)
    async with client.double_barrier("x", 3) as barrier:
        assert_type(barrier, etcd_async.DoubleBarrier)


async def queues(client: Client) -> None:
    assert_type(await client.queue("jobs").put("1"), bytes)
    queue = client.priority_queue("jobs", ttl=10)
    await queue.put(b"1", priority=-1, timeout=None)
    async with queue.claim(timeout=5, on_loss="signal") as item:
        assert_type(item, Claim)
        assert_type(item.value, bytes)
        assert_type(item.kv, KeyValue)
        assert_type(item.priority, int)
        assert_type(item.fencing_token, int)
        await client.txn(when=[item.owned], then=[delete(item.key)])
        await item.acknowledge()
        await item.release()
    assert_type(await queue.size(), int)


async def services(client: Client) -> None:
    service = Service(name="billing", id="billing-1", address="10.0.0.5:8080", metadata={"zone": "a"})
    async with client.register(service, ttl=15) as registration:
        await registration.update(metadata={"zone": "b"})
    assert_type(await client.discover("billing"), list[Service])
    async with client.watch_service("billing") as changes:
        async for change in changes:
            assert_type(change.service, Service)


async def servers(client: Client) -> None:
    assert_type(client.endpoints, tuple[str, ...])
    assert_type(client.state, etcd_async.ClientState)
    assert_type(client.state.is_connected, bool)
    async for state in client.state_changes():
        assert_type(state.endpoints[0], etcd_async.EndpointState)
        assert_type(state.endpoints[0].failing_since, datetime | None)
    client.set_endpoints(["a:1", "b:1"])
    assert_type(await client.sync_endpoints(timeout=2), tuple[str, ...])
    assert_type(await etcd_async.endpoints_from_srv("example.com"), list[str])


def errors(error: etcd_async.EtcdError) -> None:
    assert_type(error.maybe_applied, bool)
    if isinstance(error, etcd_async.RpcError):
        assert_type(error.message, str)
    if isinstance(error, etcd_async.Unavailable):
        assert_type(error.attempts[0].endpoint, str)
    if isinstance(error, etcd_async.Compacted):
        assert_type(error.compact_revision, int | None)
