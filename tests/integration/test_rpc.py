"""Any RPC of etcd by its path and wire message."""

import hashlib
from contextlib import aclosing

import pytest

from etcd_async import Client, EmptyKey, LeaseNotFound, RpcError, StatusCode
from etcd_async.testing import EtcdServer
from etcd_async.wire import (
    AlarmRequest,
    AuthUserListRequest,
    DefragmentRequest,
    DowngradeRequest,
    HashKvRequest,
    LeaseGrantRequest,
    LeaseRevokeRequest,
    MemberListRequest,
    PutRequest,
    RangeRequest,
    SnapshotRequest,
    StatusRequest,
    WatchCreateRequest,
    WatchRequest,
)
from tests.support.live import take, until, watchers, within


async def test_keys_are_written_and_read_by_their_wire_messages(client: Client) -> None:
    written = await client.rpc("/etcdserverpb.KV/Put", PutRequest(key=b"/k", value=b"v"))
    found = await client.rpc("/etcdserverpb.KV/Range", RangeRequest(key=b"/k"))
    assert found.kvs[0].mod_revision == written.header.revision
    assert found.kvs[0].value == b"v"


async def test_the_cluster_and_its_health_are_asked_about(client: Client, etcd_server: EtcdServer) -> None:
    members = await client.rpc("/etcdserverpb.Cluster/MemberList", MemberListRequest())
    status = await client.rpc("/etcdserverpb.Maintenance/Status", StatusRequest())
    alarms = await client.rpc("/etcdserverpb.Maintenance/Alarm", AlarmRequest())
    hashed = await client.rpc("/etcdserverpb.Maintenance/HashKV", HashKvRequest())
    assert [list(member.client_ur_ls) for member in members.members] == [[etcd_server.endpoint]]
    assert status.leader == members.members[0].id
    assert status.version == etcd_server.version
    assert list(alarms.alarms) == []
    assert hashed.hash != 0


async def test_other_services_answer_too(client: Client) -> None:
    granted = await client.rpc("/etcdserverpb.Lease/LeaseGrant", LeaseGrantRequest(ttl=60))
    assert granted.id in await client.leases.list()
    await client.rpc("/etcdserverpb.Lease/LeaseRevoke", LeaseRevokeRequest(id=granted.id))
    users = await client.rpc("/etcdserverpb.Auth/UserList", AuthUserListRequest())
    assert users.header.member_id
    await client.rpc("/etcdserverpb.Maintenance/Defragment", DefragmentRequest(), timeout=None)


async def test_the_servers_errors_come_typed(client: Client) -> None:
    with pytest.raises(EmptyKey):
        await client.rpc("/etcdserverpb.KV/Put", PutRequest(value=b"v"))
    with pytest.raises(LeaseNotFound):
        await client.rpc("/etcdserverpb.Lease/LeaseRevoke", LeaseRevokeRequest(id=5))


async def test_an_rpc_that_the_server_does_not_know_is_unimplemented(client: Client) -> None:
    with pytest.raises(RpcError) as caught:
        await client.rpc("/etcdserverpb.Maintenance/Downgrade", DowngradeRequest(version="nonsense"))
    assert caught.value.code in (StatusCode.UNIMPLEMENTED, StatusCode.INVALID_ARGUMENT)


async def test_a_server_stream_is_iterated_over(client: Client) -> None:
    await client.put("/k", "v")
    snapshot = b"".join(
        [answer.blob async for answer in await client.rpc("/etcdserverpb.Maintenance/Snapshot", SnapshotRequest())]
    )
    # The last 32 bytes are the digest of the others (server v3rpc/maintenance.go Snapshot).
    assert hashlib.sha256(snapshot[:-32]).digest() == snapshot[-32:]


async def test_a_stream_of_both_directions_takes_one_request_and_can_be_left(
    client: Client, etcd_server: EtcdServer
) -> None:
    async def nobody_watches() -> bool:
        return await watchers(etcd_server) == 0

    await until(nobody_watches)  # those of the test before may linger
    create = WatchRequest(create_request=WatchCreateRequest(key=b"/k"))
    async with aclosing(await client.rpc("/etcdserverpb.Watch/Watch", create)) as answers:
        assert (await within(anext(answers))).created
        await client.put("/k", "v")
        [answer] = await within(take(answers, 1))
        assert answer.events[0].kv.value == b"v"
        assert await watchers(etcd_server) == 1
    await until(nobody_watches)


async def test_errors_of_a_stream_come_typed(client: Client) -> None:
    with pytest.raises(RpcError):
        [_ async for _ in await client.rpc("/etcdserverpb.KV/RangeStream", RangeRequest())]
