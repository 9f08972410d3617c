"""Work on real servers: status, alarms, defragmentation, hashes, leadership, downgrades, snapshots."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from etcd_async import (
    Alarm,
    AuthError,
    Client,
    Compacted,
    DowngradeError,
    FutureRevision,
    MemberError,
    NoSpace,
    PermissionDenied,
    RpcError,
    StatusCode,
    wire,
)
from etcd_async.maintenance import SnapshotChunk
from etcd_async.testing import EtcdCluster, EtcdServer, Ports, find_binary
from tests.faults.auth import ANN_PASSWORD, ROOT_PASSWORD, enable_auth
from tests.faults.support import STEADY
from tests.support.live import caught_up, metric, until, until_versioned, within

pytestmark = pytest.mark.timeout(120)  # elections, and members that start, can take long

KIB, MIB = 1024, 1024 * 1024
Call = Callable[[Client], Awaitable[object]]


@pytest.fixture(scope="module")
def cluster() -> Iterator[EtcdCluster]:
    with EtcdCluster(size=3, extra_args=STEADY) as cluster:
        yield cluster


@pytest.fixture
async def many(cluster: EtcdCluster) -> AsyncIterator[Client]:
    """A client of all three members."""
    async with Client(cluster.endpoints) as client:
        yield client


@pytest.fixture
async def server() -> AsyncIterator[EtcdServer]:
    """A server of the test's own."""
    async with EtcdServer() as server:
        yield server


@pytest.fixture
async def one(server: EtcdServer) -> AsyncIterator[Client]:
    """A client of ``server``."""
    async with Client(server.endpoint) as client:
        yield client


async def minor(client: Client) -> int:
    """Return n of the server's version 3.n."""
    return int((await client.maintenance.status()).version.split(".")[1])


async def agreed_leader(cluster: EtcdCluster) -> EtcdServer:
    """Wait until all members name one leader, as they do some time after a change, and return it."""
    leader = cluster[0]

    async def is_agreed() -> bool:
        nonlocal leader
        stati = [await client.maintenance.status(endpoint) for endpoint in cluster.endpoints]
        leading = [member for member, status in zip(cluster, stati, strict=True) if status.is_leader]
        leader = leading[0] if leading else leader
        return len(leading) == 1 and len({status.leader for status in stati}) == 1

    async with Client(cluster.endpoints) as client:
        await until(is_agreed, 30)
    return leader


async def fill(client: Client, number: int, size: int = 20 * KIB) -> None:
    for index in range(number):
        await client.put(f"/fill/{index:03}", os.urandom(size))


async def test_each_member_named_tells_of_itself(many: Client, cluster: EtcdCluster) -> None:
    written = (await many.put("/k", "v")).revision
    leading = await agreed_leader(cluster)
    await caught_up(cluster.endpoints)
    found = {endpoint: await many.maintenance.status(endpoint) for endpoint in cluster.endpoints}
    ids = {url: member.id for member in await many.cluster.list() for url in member.client_urls}
    assert {endpoint: status.member_id for endpoint, status in found.items()} == ids
    assert [endpoint for endpoint, status in found.items() if status.is_leader] == [leading.endpoint]
    assert {status.leader for status in found.values()} == {ids[leading.endpoint]}
    assert len({status.cluster_id for status in found.values()}) == 1
    later = {endpoint: await many.maintenance.status(endpoint) for endpoint in cluster.endpoints}
    for endpoint, status in found.items():
        assert status.version.startswith("3.")
        assert status.revision >= written
        # The two of one status are not of one moment.
        assert later[endpoint].db_size >= status.db_size_in_use > 0
        assert later[endpoint].raft_index >= status.raft_applied_index > 0
        assert (status.raft_term > 0, status.is_learner, status.errors) == (True, False, ())
        assert status.downgrade_version == ""
        assert bool(status.db_size_quota) is (int(status.version.split(".")[1]) >= 6)

    async def version_is_told() -> bool:
        """A young cluster has to agree on its version first."""
        stati = [await many.maintenance.status(endpoint) for endpoint in cluster.endpoints]
        return all(bool(status.storage_version) is bool(status.db_size_quota) for status in stati)

    await until(version_is_told, 30)


async def test_any_member_answers_if_none_is_named_and_strangers_may_be(cluster: EtcdCluster) -> None:
    async with Client(cluster[0].endpoint) as client:
        own = await client.maintenance.status()
        other = await client.maintenance.status(cluster[1].endpoint.removeprefix("http://"))
    assert own.member_id != other.member_id
    assert own.cluster_id == other.cluster_id


async def test_a_named_member_that_is_down_is_an_error_though_others_are_up(many: Client, dead_endpoint: str) -> None:
    with pytest.raises(Exception, match=r"connection refused|Connect call failed") as caught:
        await many.maintenance.status(dead_endpoint, timeout=2)
    assert dead_endpoint in str(caught.value)
    assert (await many.maintenance.status()).leader


async def test_a_full_server_takes_no_more_until_it_was_cleaned_up() -> None:
    async with EtcdServer(extra_args=[f"--quota-backend-bytes={4 * MIB}"]) as server, Client(server.endpoint) as client:
        with pytest.raises(NoSpace) as full:
            await fill(client, 500)
        assert full.value.maybe_applied
        status = await client.maintenance.status()
        raised = Alarm(status.member_id, "nospace")
        assert await client.maintenance.alarms() == [raised]
        assert any("NOSPACE" in error for error in status.errors)
        deleted = await client.delete(prefix="/fill/")  # what gives space back is still served
        await client.compact(deleted.revision, physical=True)
        await client.maintenance.defragment()
        after = await client.maintenance.status()
        assert after.db_size < status.db_size / 4
        assert await client.maintenance.disarm() == [raised]
        assert await client.maintenance.alarms() == []
        await client.put("/again", "v")


async def test_only_the_alarms_that_are_meant_are_disarmed(one: Client) -> None:
    alarm, own = "/etcdserverpb.Maintenance/Alarm", (await one.maintenance.status()).member_id
    for number in (wire.AlarmType.NOSPACE, wire.AlarmType.CORRUPT):
        raising = wire.AlarmRequestAlarmAction.ACTIVATE
        await one.rpc(alarm, wire.AlarmRequest(action=raising, member_id=own, alarm=number))
    raised = {Alarm(own, "nospace"), Alarm(own, "corrupt")}
    maintenance = one.maintenance
    assert set(await maintenance.alarms()) == raised
    assert await maintenance.disarm(member_id=own + 1) == []
    assert set(await maintenance.alarms()) == raised
    assert await maintenance.disarm(alarm="corrupt") == [Alarm(own, "corrupt")]
    assert await maintenance.disarm(alarm="corrupt") == []
    assert await maintenance.disarm(own, "nospace") == [Alarm(own, "nospace")]
    assert await maintenance.alarms() == []


async def test_members_that_agree_have_one_hash(many: Client, cluster: EtcdCluster) -> None:
    revision = 0
    for index in range(20):
        revision = (await many.put("/hash", str(index))).revision
    await caught_up(cluster.endpoints)
    hashes = [await many.maintenance.hash_kv(endpoint, revision) for endpoint in cluster.endpoints]
    assert len({each.hash for each in hashes}) == 1
    assert {each.revision >= revision for each in hashes} == {True}
    assert {each.hash_revision for each in hashes} == {revision if await minor(many) >= 6 else 0}
    older = await many.maintenance.hash_kv(cluster.endpoints[0], revision - 1)
    assert older.hash != hashes[0].hash


async def test_a_hash_of_what_is_not_there_is_an_error(one: Client) -> None:
    await fill(one, 5, 1)
    newest = await one.maintenance.hash_kv()
    await one.compact(4)
    assert (await one.maintenance.hash_kv()).compact_revision == 4
    with pytest.raises(Compacted):
        await one.maintenance.hash_kv(revision=3)
    with pytest.raises(FutureRevision):
        await one.maintenance.hash_kv(revision=newest.revision + 100)


async def test_leadership_goes_where_it_is_sent(many: Client, cluster: EtcdCluster) -> None:
    for member in await many.cluster.list():
        await many.maintenance.move_leader(member.id, timeout=20)
        assert (await agreed_leader(cluster)).name == member.name
        await many.maintenance.move_leader(member.id)  # is there already


async def test_leadership_moves_for_a_client_that_only_knows_a_follower(cluster: EtcdCluster) -> None:
    leader = await agreed_leader(cluster)
    follower, other = (member for member in cluster if member is not leader)
    async with Client(follower.endpoint) as client:
        target = (await client.maintenance.status(other.endpoint)).member_id
        await client.maintenance.move_leader(target, timeout=20)
        assert (await client.maintenance.status(other.endpoint)).is_leader
        await agreed_leader(cluster)  # the follower is the only one that the client can ask
        with pytest.raises(MemberError, match="bad leader transferee"):
            await client.maintenance.move_leader(99)


async def test_a_downgrade_is_validated_enabled_and_cancelled(one: Client, server: EtcdServer) -> None:
    await until_versioned(server)
    version = await minor(one)
    maintenance = one.maintenance
    if version < 5:
        with pytest.raises(RpcError) as unknown:
            await maintenance.downgrade("validate", "3.3")
        assert unknown.value.code is StatusCode.UNIMPLEMENTED
        return
    assert (await maintenance.downgrade("validate", f"3.{version - 1}")).startswith(f"3.{version}")
    for wrong in (f"3.{version}", f"3.{version - 2}", f"3.{version + 1}", "three"):
        with pytest.raises(DowngradeError):
            await maintenance.downgrade("validate", wrong)
    if version < 6:  # etcd 3.5 has the call, but does nothing about it in time
        return
    await maintenance.downgrade("enable", f"3.{version - 1}")
    assert (await maintenance.status()).downgrade_version.startswith(f"3.{version - 1}")
    await maintenance.downgrade("cancel")
    assert (await maintenance.status()).downgrade_version == ""


async def test_root_may_do_everything_and_others_what_harms_nobody(one: Client, server: EtcdServer) -> None:
    await enable_auth(one)
    harmless: list[Call] = [
        lambda client: client.maintenance.status(),
        lambda client: client.cluster.list(),
        lambda client: client.maintenance.alarms(),
        lambda client: client.maintenance.disarm(),
    ]
    heavy: list[Call] = [
        lambda client: client.maintenance.hash_kv(),
        lambda client: client.maintenance.defragment(),
        read_snapshot,
    ]
    async with (
        Client(server.endpoint, user="root", password=ROOT_PASSWORD) as root,
        Client(server.endpoint, user="ann", password=ANN_PASSWORD) as ann,
    ):
        for call in [*harmless, *heavy]:
            await call(root)
        assert (await ann.maintenance.status()).leader
        assert await ann.cluster.list()
        for call in [*heavy, add_a_member]:
            with pytest.raises(PermissionDenied) as refused:
                await call(ann)
            assert not refused.value.maybe_applied
            with pytest.raises(AuthError) as nobody:
                await call(one)
            assert not nobody.value.maybe_applied


async def test_a_token_that_the_server_forgot_is_replaced_for_these_calls_too(one: Client, server: EtcdServer) -> None:
    await enable_auth(one)
    async with Client(server.endpoint, user="root", password=ROOT_PASSWORD) as root:
        calls: list[Call] = [read_snapshot, lambda c: c.maintenance.hash_kv(), lambda c: c.maintenance.defragment()]
        for call in calls:
            await root.get("/k")
            await server.restart()  # simple tokens live in memory only
            await call(root)


async def add_a_member(client: Client) -> None:
    await client.cluster.add("http://127.0.0.1:1")


async def read_snapshot(client: Client) -> list[SnapshotChunk]:
    return [chunk async for chunk in client.maintenance.snapshot_stream()]


async def test_a_snapshot_stream_is_the_file_that_snapshot_writes(
    one: Client, server: EtcdServer, tmp_path: Path
) -> None:
    await until_versioned(server)  # the last that etcd writes by itself
    await fill(one, 100)
    told: list[tuple[int, int]] = []
    saved = await one.maintenance.snapshot(tmp_path / "db", progress=lambda *each: told.append(each))
    chunks = await read_snapshot(one)
    data = b"".join(chunk.data for chunk in chunks)
    assert len(data) == saved.size == saved.path.stat().st_size
    assert data[:16] == saved.path.read_bytes()[:16]
    assert {(chunk.endpoint, chunk.version) for chunk in chunks} == {(saved.endpoint, saved.version)}
    assert [chunk.remaining for chunk in chunks] == sorted((chunk.remaining for chunk in chunks), reverse=True)
    assert chunks[0].remaining == saved.size - 32 - len(chunks[0].data)
    assert bool(saved.version) is (await minor(one) >= 6)
    assert len(told) >= 2
    assert told[-1] == (saved.size, 0)
    assert all(done + remaining == saved.size - 32 for done, remaining in told[:-1])


async def test_a_snapshot_comes_from_the_member_that_is_named(
    many: Client, cluster: EtcdCluster, tmp_path: Path
) -> None:
    for endpoint in cluster.endpoints:
        saved = await many.maintenance.snapshot(tmp_path / "db", endpoint=endpoint)
        assert saved.endpoint == endpoint
    anywhere = await many.maintenance.snapshot(tmp_path / "db")
    assert anywhere.endpoint in cluster.endpoints
    assert os.listdir(tmp_path) == ["db"]


async def test_a_stream_that_is_closed_early_ends_on_the_server(one: Client, server: EtcdServer) -> None:
    await fill(one, 200)
    labels = 'grpc_method="Snapshot",grpc_service="etcdserverpb.Maintenance",grpc_type="server_stream"'
    async with aclosing(one.maintenance.snapshot_stream()) as stream:
        await anext(stream)
    started = await metric(server, f"grpc_server_started_total{{{labels}}}")
    assert started == 1
    await within(_handled(server, labels))


async def _handled(server: EtcdServer, labels: str) -> None:
    codes = ("OK", "Canceled", "Unavailable", "Unknown", "Internal")
    while not sum(
        [await metric(server, f'grpc_server_handled_total{{grpc_code="{code}",{labels}}}') for code in codes]
    ):
        pass


def restoring_tool() -> Path:
    """Return the program beside etcd that restores snapshots: etcdutl, before 3.5 etcdctl."""
    beside = find_binary().parent
    found = [beside / name for name in ("etcdutl", "etcdctl") if (beside / name).is_file()]
    if not found:
        pytest.skip(f"there is neither etcdutl nor etcdctl beside {find_binary()}")
    if not os.access(found[0], os.X_OK):  # some installers drop the bit
        found[0].chmod(0o755)
    return found[0]


async def test_a_restored_snapshot_serves_what_was_there_when_it_was_taken(one: Client, tmp_path: Path) -> None:
    tool = restoring_tool()
    await fill(one, 50)
    before = await one.range(prefix="/")
    saved = await one.maintenance.snapshot(tmp_path / "backup.db")
    await one.put("/after", "is not in it")
    data, ports = tmp_path / "data", Ports.pick()
    peer = f"http://127.0.0.1:{ports.peer}"
    restoring = await asyncio.create_subprocess_exec(
        *(tool, "snapshot", "restore", saved.path, "--data-dir", data, "--name", "default"),
        *("--initial-cluster", f"default={peer}", "--initial-advertise-peer-urls", peer),
        env={**os.environ, "ETCDCTL_API": "3"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await within(restoring.communicate(), 30)
    assert restoring.returncode == 0, output.decode()
    async with EtcdServer(data_dir=data, ports=ports) as restored, Client(restored.endpoint) as client:
        assert list(await client.range(prefix="/")) == list(before)
        await client.put("/goes", "on")
