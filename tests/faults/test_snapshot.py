"""Snapshots that are cut off, stopped, spoilt on the way, cancelled, or refused at first."""

# ruff: noqa: ASYNC240  # these tests are all that runs in their loop
import asyncio
import hashlib
import os
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, closing, suppress
from pathlib import Path

import pytest

from etcd_async import Client, DeadlineExceeded, EtcdError, SnapshotCorrupt, StatusCode, Unavailable, wire
from etcd_async._codec import encode
from etcd_async.testing import EtcdServer, FaultProxy
from tests.faults.support import MIB, Stopwatch, cancelled, open_exchanges, start
from tests.support.h2server import H2Server, Request
from tests.support.live import until, within

pytestmark = pytest.mark.faults

MARKER = b"not a bit of this may change on its way"
DATABASE = os.urandom(512 * 200)
DIGEST = hashlib.sha256(DATABASE).digest()
LARGE = 24  # MiB: more than windows and sockets hold on the way


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where a snapshot goes, with one from before in it."""
    path = tmp_path / "backup.db"
    path.write_bytes(b"the one before")
    return path


def is_as_it_was(place: Path) -> bool:
    return os.listdir(place.parent) == [place.name] and place.read_bytes() == b"the one before"


async def fill(client: Client, megabytes: int) -> None:
    """Put so much, and have etcd write it to its disk, which may take seconds: the next snapshot begins at once."""
    for index in range(megabytes):
        await client.put(f"/fill/{index}", os.urandom(MIB), timeout=20)
    async with aclosing(client.maintenance.snapshot_stream(timeout=40)) as chunks:
        await anext(chunks)


async def until_quiet(client: Client) -> None:
    async def is_quiet() -> bool:
        await client.get("/k", serializable=True)
        return open_exchanges(client) == 0

    await until(is_quiet)


@pytest.mark.parametrize("fault", ["kill", "cut"])
async def test_a_snapshot_that_breaks_off_leaves_nothing_and_is_not_begun_again(
    server: EtcdServer, proxy: FaultProxy, distant: Client, place: Path, fault: str
) -> None:
    await fill(distant, LARGE)
    told: list[int] = []

    async def break_off(done: int, _remaining: int) -> None:
        told.append(done)
        if len(told) == 1:
            await server.kill() if fault == "kill" else proxy.cut()

    with pytest.raises(Unavailable) as caught:
        await within(distant.maintenance.snapshot(place, progress=break_off), 20)
    assert proxy.endpoint in str(caught.value)
    assert told == sorted(told)
    assert told[-1] < LARGE * MIB
    assert is_as_it_was(place)


async def test_a_server_that_stops_in_the_middle_is_waited_for_as_long_as_told(
    server: EtcdServer, client: Client, place: Path
) -> None:
    await fill(client, LARGE)

    async def stop(done: int, _remaining: int) -> None:
        if done < 2 * MIB:
            await server.pause()

    with pytest.raises(DeadlineExceeded, match="sent nothing for 1 s"):
        await within(client.maintenance.snapshot(place, progress=stop, timeout=1))
    assert is_as_it_was(place)
    await server.resume()
    await until_quiet(client)


async def test_a_cancelled_snapshot_leaves_nothing_here_and_no_stream(
    server: EtcdServer, client: Client, place: Path
) -> None:
    await fill(client, LARGE)
    begun = asyncio.Event()
    snapshot = start(client.maintenance.snapshot(place, progress=lambda _done, _remaining: begun.set()))
    await within(begun.wait())
    await cancelled(snapshot)
    assert snapshot.cancelled()
    assert is_as_it_was(place)
    await until_quiet(client)


async def test_memory_does_not_grow_with_the_database(client: Client, place: Path) -> None:
    await fill(client, 2 * LARGE)
    tracemalloc.start()
    try:
        saved = await within(client.maintenance.snapshot(place), 50)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert saved.size > 2 * LARGE * MIB
    assert peak < LARGE * MIB


@asynccontextmanager
async def flipping(server: EtcdServer) -> AsyncIterator[str]:
    """Yield an endpoint in front of *server* that changes one bit of the first `MARKER` it passes on to a client."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = await asyncio.open_connection("127.0.0.1", server.ports.client)
        for source, sink, changes in ((reader, upstream[1], False), (upstream[0], writer, True)):
            tasks.add(asyncio.create_task(pump(source, sink, changes)))

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, changes: bool) -> None:
        with suppress(ConnectionError), closing(sink):
            while data := await source.read(65536):
                at = data.find(MARKER) if changes else -1
                if at >= 0:
                    changes = False
                    data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
                sink.write(data)

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        await within(asyncio.wait(tasks))


async def test_a_bit_that_flips_on_the_way_is_noticed(server: EtcdServer, client: Client, place: Path) -> None:
    await client.put("/marked", MARKER * 1000)
    async with flipping(server) as endpoint, Client(endpoint) as flipped:
        with pytest.raises(SnapshotCorrupt, match="digest"):
            await flipped.maintenance.snapshot(place)
    assert is_as_it_was(place)
    saved = await client.maintenance.snapshot(place)
    assert saved.size == place.stat().st_size


def chunk(blob: bytes, remaining: int = 0) -> bytes:
    return encode(wire.SnapshotResponse(blob=blob, remaining_bytes=remaining))


def whole(request: Request) -> None:
    """Serve a snapshot."""
    request.send_headers()
    request.send_message(chunk(DATABASE))
    request.send_message(chunk(DIGEST))
    request.send_trailers()


def refused(code: StatusCode, message: str = "later") -> Callable[[Request], None]:
    return lambda request: request.refuse(int(code), message)


def broken_off(request: Request) -> None:
    """Serve the beginning, and then nothing more."""
    request.send_headers()
    request.send_message(chunk(DATABASE[:512], len(DATABASE) - 512))
    request.send_trailers(int(StatusCode.UNAVAILABLE), "going down")


def without_digest(request: Request) -> None:
    request.send_headers()
    request.send_message(chunk(DATABASE))
    request.send_trailers()


def silent(_request: Request) -> None:
    """Never say a word."""


@asynccontextmanager
async def scripted(*answers: Callable[[Request], None]) -> AsyncIterator[tuple[str, list[Request]]]:
    """Yield the endpoint of a server that gives *answers* in turn, and the requests it got; probes get none."""
    left = list(answers)
    requests: list[Request] = []

    def answer(request: Request) -> None:
        if request.path.endswith("/Authenticate"):
            request.answer(encode(wire.AuthenticateResponse(token="t")))
        elif request.path.endswith("/Snapshot"):
            requests.append(request)
            left.pop(0)(request)

    async with H2Server(answers=answer) as server:
        yield server.endpoint, requests


@pytest.mark.parametrize(
    "first", [refused(StatusCode.UNAVAILABLE, "etcdserver: server stopped"), refused(StatusCode.UNAVAILABLE)]
)
async def test_a_refusal_before_the_first_message_is_tried_again(place: Path, first: Callable[[Request], None]) -> None:
    async with scripted(first, whole) as (endpoint, requests), Client(endpoint) as client:
        saved = await client.maintenance.snapshot(place)
    assert len(requests) == 2
    assert place.read_bytes() == DATABASE + DIGEST
    assert saved.sha256 == DIGEST.hex()


async def test_a_token_may_be_refused_a_few_times(place: Path) -> None:
    """As it is where users or roles are just being changed."""
    stale = refused(StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token")
    async with (
        scripted(stale, stale, stale, whole) as (endpoint, requests),
        Client(endpoint, user="root", password="pw") as client,
    ):
        await within(client.maintenance.snapshot(place))
    assert len(requests) == 4


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ([broken_off], EtcdError),
        ([refused(StatusCode.PERMISSION_DENIED, "etcdserver: permission denied")], EtcdError),
        ([refused(StatusCode.UNAVAILABLE)] * 2, EtcdError),
        ([without_digest], SnapshotCorrupt),
    ],
)
async def test_what_can_not_get_better_is_not_tried_again(
    place: Path, answers: list[Callable[[Request], None]], error: type[EtcdError]
) -> None:
    async with scripted(*answers) as (endpoint, requests), Client(endpoint) as client:
        with pytest.raises(error):
            await within(client.maintenance.snapshot(place))
    assert len(requests) == len(answers)
    assert is_as_it_was(place)


async def test_a_silent_member_costs_a_part_of_the_time_only(place: Path) -> None:
    async with (
        scripted(silent, silent) as (dumb, _),
        scripted(whole, whole) as (good, requests),
        Client([dumb, good]) as client,
    ):
        watch = Stopwatch()
        for _ in range(2):  # whichever of the two is first in turn
            saved = await within(client.maintenance.snapshot(place, timeout=4))
            assert saved.endpoint == good
        assert watch.seconds < 6  # half of the time, twice, if it was the first in turn both times
    assert len(requests) == 2


async def test_a_member_that_was_silent_is_left_by_later_calls_too(place: Path) -> None:
    async with (
        H2Server() as dumb,
        scripted(whole, whole, whole, whole) as (good, requests),
        Client([dumb.endpoint, good]) as client,
    ):
        for _ in range(2):  # whichever of the two is first in turn
            assert (await within(client.maintenance.snapshot(place, timeout=4))).endpoint == good
        await within(is_set_aside(client, dumb.endpoint))
        asked = len(snapshots_of(dumb))
        for _ in range(2):
            assert (await within(client.maintenance.snapshot(place, timeout=4))).endpoint == good
        assert asked == len(snapshots_of(dumb))
    assert len(requests) == 4


async def is_set_aside(client: Client, endpoint: str) -> None:
    """Wait until calls pass over *endpoint*."""
    async for state in client.state_changes():
        if any(each.endpoint == endpoint and not each.is_healthy for each in state.endpoints):
            return


def snapshots_of(server: H2Server) -> list[Request]:
    """Return the requests for snapshots that *server* got."""
    requests = [request for peer in server.peers for request in peer.requests.values()]
    return [request for request in requests if request.path.endswith("/Snapshot")]


async def test_a_member_that_is_named_is_the_only_one_asked(place: Path) -> None:
    async with (
        scripted(silent) as (dumb, _),
        scripted() as (other, requests),
        Client([dumb, other]) as client,
    ):
        with pytest.raises(DeadlineExceeded):
            await within(client.maintenance.snapshot(place, endpoint=dumb, timeout=0.2))
    assert not requests
    assert is_as_it_was(place)


async def test_a_stream_says_at_its_end_that_it_was_spoilt() -> None:
    async with scripted(without_digest) as (endpoint, _), Client(endpoint) as client:
        stream = client.maintenance.snapshot_stream()
        assert (await anext(stream)).data == DATABASE
        with pytest.raises(SnapshotCorrupt):
            await anext(stream)


async def test_a_closed_client_takes_no_snapshot(client: Client, place: Path) -> None:
    await client.aclose()
    with pytest.raises(EtcdError, match="closed"):
        await client.maintenance.snapshot(place)
    assert is_as_it_was(place)
