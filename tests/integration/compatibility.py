"""
What differs between the etcds in use: the table of docs/compatibility.md, each row with the way to see it.

A row's function observes the running server and returns the text of its cell.
"""

import asyncio
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from etcd_async import Client, EtcdError, PermissionDenied, RpcError, StatusCode, wire
from etcd_async._codec import decode, encode
from etcd_async._transport import methods
from etcd_async._transport.callstream import CallStream
from etcd_async.testing import EtcdServer, find_binary
from tests.faults.auth import ANN_PASSWORD, ROOT_PASSWORD, enable_auth
from tests.support.live import caught_up, metric, until, until_versioned, within
from tests.support.versions import VERSIONS

Observe = Callable[[EtcdServer], Awaitable[str]]

PROGRESS: Final = wire.WatchRequest(progress_request=wire.WatchProgressRequest())


@dataclass(frozen=True, slots=True)
class Row:
    """One difference: what it is, what it says of each version, and how to see what is true of the running one."""

    feature: str
    cells: dict[str, str]
    observe: Observe


ROWS: Final[list[Row]] = []


def row(feature: str, *cells: str) -> Callable[[Observe], Observe]:
    """Add a row to the table: a cell for each of `VERSIONS`, and the function below."""

    def add(observe: Observe) -> Observe:
        ROWS.append(Row(feature, dict(zip(VERSIONS, cells, strict=True)), observe))
        return observe

    return add


@row("`scan` reads what its first page leaves", *["in pages"] * 4, "as a stream")
async def scanning(server: EtcdServer) -> str:
    async def streams() -> float:
        labels = 'grpc_code="OK",grpc_method="RangeStream",grpc_service="etcdserverpb.KV",grpc_type="server_stream"'
        return await metric(server, f"grpc_server_handled_total{{{labels}}}")

    before = await streams()
    async with Client(server.endpoint, namespace="/scanned/") as client:
        await client.put_many({f"{each:02d}": "v" for each in range(20)})
        assert [kv.key async for kv in client.scan(prefix="", page_size=3)] == [b"%02d" % each for each in range(20)]
    return "as a stream" if await streams() == before + 1 else "in pages"


@row("`keys_only` answers tell the lease of a key", *["yes"] * 4, "no")
async def keys_only(server: EtcdServer) -> str:
    async with Client(server.endpoint) as client, client.lease(60) as lease:
        await client.put("/leased", "v", lease=lease)
        found = await client.get("/leased", keys_only=True)
    assert found is not None
    assert found.lease in (0, lease.id)
    return "yes" if found.lease else "no"


@row("A request for progress, with events on their way, is answered", *["before them"] * 2, *["after them"] * 3)
async def progress_amid_events(server: EtcdServer) -> str:
    async with Client(server.endpoint) as client:
        first = (await client.put("/late", "v")).revision
        for _ in range(5):  # the events may have come first by chance
            async with watching(client, wire.WatchCreateRequest(key=b"/late", start_revision=first)) as stream:
                stream.send(encode(PROGRESS))
                created, answer = [await answered(stream) for _ in range(2)]
            assert created.created
            if not answer.events:
                return "before them"
    return "after them"


@row("... and beside a watch that starts at a later revision", *["at once"] * 2, *["once that is reached"] * 3)
async def progress_of_the_future(server: EtcdServer) -> str:
    async with Client(server.endpoint) as client:
        now = (await client.put("/now", "v")).revision
        later = wire.WatchCreateRequest(key=b"/later", start_revision=now + 1)
        async with watching(client, later) as stream:
            assert (await answered(stream)).created
            stream.send(encode(PROGRESS))
            # The answer to this one would come after that to the request before.
            stream.send(encode(wire.WatchRequest(create_request=later)))
            if not (await answered(stream)).created:
                return "at once"
            await client.put("/elsewhere", "v")
            stream.send(encode(PROGRESS))
            header = (await answered(stream)).header
            assert header is not None
            assert header.revision == now + 1
    return "once that is reached"


@row("A watch with an unknown token is refused with", "invalid token", "permission denied", *["invalid token"] * 3)
async def watch_with_an_unknown_token(server: EtcdServer) -> str:
    create = wire.WatchCreateRequest(key=b"/ann/1")
    async with (
        guarded() as users,
        Client(users.endpoint, token="unknown.1") as stranger,
        watching(stranger, create) as stream,
    ):
        reason = (await answered(stream)).cancel_reason
    known = {"etcdserver: invalid auth token": "invalid token", "etcdserver: permission denied": "permission denied"}
    return known[reason.rpartition(" desc = ")[2]]


@row("`auth.status` answers", "nobody", *["root"] * 3, "everybody")
async def auth_status(server: EtcdServer) -> str:
    async with guarded() as users:
        if isinstance(await outcome(users.root.auth.status()), EtcdError):
            return "nobody"
        return "root" if isinstance(await outcome(users.ann.auth.status()), PermissionDenied) else "everybody"


@row("Members, leases and status, to who is not logged in, are", *["told"] * 2, *["refused"] * 3)
async def reads_without_a_user(server: EtcdServer) -> str:
    async with guarded() as users:
        nobody = users.nobody
        calls = (nobody.cluster.list(), nobody.leases.list(), nobody.maintenance.status())
        said = {isinstance(await outcome(call), EtcdError) for call in calls}
    assert len(said) == 1
    return "refused" if said.pop() else "told"


@row("Keep-alive and keys of a lease, to who has no right to them, are", *["allowed"] * 2, *["denied"] * 3)
async def leases_of_others(server: EtcdServer) -> str:
    async with guarded() as users:
        lease = (await users.root.leases.grant(60)).id
        await users.root.put("/secret", "v", lease=lease)
        calls = (users.ann.leases.keep_alive_once(lease), users.ann.leases.time_to_live(lease, keys=True))
        said = {isinstance(await outcome(call), PermissionDenied) for call in calls}
    assert len(said) == 1
    return "denied" if said.pop() else "allowed"


@row("`maintenance` without rights raises", *["`PermissionDenied`"] * 5)
async def maintenance_without_rights(server: EtcdServer) -> str:
    async with guarded() as users:
        error = await outcome(users.ann.maintenance.hash_kv())
    return f"`{type(error).__name__}`"


@row("`maintenance.downgrade`", "no", *["only `validate`"] * 2, *["yes"] * 2)
async def downgrading(server: EtcdServer) -> str:
    major, minor, _ = server.version.split(".")
    before = f"{major}.{int(minor) - 1}"
    async with EtcdServer() as own, Client(own.endpoint) as client:
        await until_versioned(own)
        validated = await outcome(client.maintenance.downgrade("validate", before))
        if isinstance(validated, RpcError):
            assert validated.code is StatusCode.UNIMPLEMENTED
            return "no"
        enabled = await outcome(client.maintenance.downgrade("enable", before, timeout=4.0))
        if not (await client.maintenance.status()).downgrade_version.startswith(before):
            assert isinstance(enabled, EtcdError), enabled
            return "only `validate`"
        await client.maintenance.downgrade("cancel")
    return "yes"


@row("`maintenance.status` has `storage_version` and `db_size_quota`", *["no"] * 3, *["yes"] * 2)
async def status_details(server: EtcdServer) -> str:
    async with Client(server.endpoint) as client:
        status = await client.maintenance.status()

        async def version_is_told() -> bool:
            nonlocal status
            status = await client.maintenance.status()
            return bool(status.storage_version) is bool(status.db_size_quota)

        await until(version_is_told, 30)  # a young cluster has to agree on it first
    assert status.version == server.version
    return "yes" if status.storage_version else "no"


@row("`maintenance.hash_kv` has `hash_revision`", *["no"] * 3, *["yes"] * 2)
async def hash_details(server: EtcdServer) -> str:
    async with Client(server.endpoint) as client:
        revision = (await client.put("/hashed", "v")).revision
        hashed = await client.maintenance.hash_kv()
    assert hashed.hash_revision in (0, revision)
    return "yes" if hashed.hash_revision else "no"


@row("A snapshot has its `version`", *["no"] * 3, *["yes"] * 2)
async def snapshot_details(server: EtcdServer) -> str:
    async with Client(server.endpoint) as client, aclosing(client.maintenance.snapshot_stream()) as chunks:
        versions = {chunk.version async for chunk in chunks}
    return "yes" if any(versions) else "no"


@row("Learners (`cluster.add_learner`, `cluster.promote`)", *["yes"] * 5)
async def learners(server: EtcdServer) -> str:
    async with EtcdServer() as own, Client(own.endpoint) as client:
        added = await client.cluster.add_learner("http://127.0.0.1:1")
        promoted = await outcome(client.cluster.promote(added.id))
        assert isinstance(promoted, RpcError)  # it never started
        await caught_up(own.endpoints)  # or the next change is dropped
        assert len(await client.cluster.remove(added.id)) == 1
    return "yes" if added.is_learner else "no"


@row("A read-only transaction that is cancelled as it runs", "is harmless", "stops the server", *["is harmless"] * 3)
async def cancelled_transactions(server: EtcdServer) -> str:
    everything = wire.RequestOp(request_range=wire.RangeRequest(key=b"/", range_end=b"0"))
    reading = wire.TxnRequest(success=[everything] * 20)
    async with EtcdServer() as own, Client(own.endpoint, timeout=30.0) as client:
        await client.put_many({f"/{each:04d}": b"v" * 100 for each in range(2000)}, atomic=False)
        for turn in range(30):
            with suppress(TimeoutError, EtcdError):
                await asyncio.wait_for(client.rpc("/etcdserverpb.KV/Txn", reading), 0.002 * (1 + turn % 10))
        if isinstance(await outcome(client.get("/0000")), EtcdError):
            await until(lambda: _ended(own))
        return "is harmless" if own.is_running else "stops the server"


@row("The flag `--watch-progress-notify-interval` is called", *["`--experimental-…`"] * 3, "both", "as it is")
async def progress_flag(server: EtcdServer) -> str:
    asked = await asyncio.create_subprocess_exec(find_binary(), "--help", stdout=PIPE, stderr=STDOUT)
    said, _ = await asked.communicate()
    words = {word for word in said.decode().split() if word.endswith("watch-progress-notify-interval")}
    match sorted(words):
        case ["--experimental-watch-progress-notify-interval"]:
            return "`--experimental-…`"
        case ["--watch-progress-notify-interval"]:
            return "as it is"
    return "both"


@dataclass(frozen=True, slots=True)
class Guarded:
    """Clients of a server where ``ann`` may only read and write ``/ann/``."""

    endpoint: str
    root: Client
    ann: Client
    nobody: Client


@asynccontextmanager
async def guarded() -> AsyncIterator[Guarded]:
    """Start a server with users, and log them in."""
    async with EtcdServer(extra_args=["--bcrypt-cost=4"]) as server:
        at = server.endpoint
        async with (
            Client(at) as nobody,
            Client(at, user="root", password=ROOT_PASSWORD) as root,
            Client(at, user="ann", password=ANN_PASSWORD) as ann,
        ):
            await enable_auth(nobody)
            yield Guarded(at, root, ann, nobody)


@asynccontextmanager
async def watching(client: Client, create: wire.WatchCreateRequest) -> AsyncIterator[CallStream]:
    """Open a stream of watches, as bare messages, and ask for one."""
    stream = await client._core.caller.open(methods.WATCH, timeout=5.0)
    try:
        stream.send(encode(wire.WatchRequest(create_request=create)))
        yield stream
    finally:
        stream.cancel()


async def answered(stream: CallStream) -> wire.WatchResponse:
    """Return the next answer of a stream of watches."""
    message = await within(stream.receive())
    assert message is not None
    return decode(wire.WatchResponse, message)


async def outcome(call: Coroutine[Any, Any, Any]) -> Any:
    """Return what *call* returns, or the error that it raises."""
    try:
        return await call
    except EtcdError as error:
        return error


async def _ended(server: EtcdServer) -> bool:
    await asyncio.sleep(0)
    return not server.is_running
