"""Scans against a scripted server, because only etcd 3.7 streams ranges."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from etcd_async import Client, Compacted, PermissionDenied
from etcd_async.wire import KeyValue, RangeRequest, RangeResponse, RangeStreamResponse, ResponseHeader, StatusResponse
from tests.support.h2server import H2Server, Request
from tests.support.live import within

KEYS = [f"k{number:03d}".encode() for number in range(40)]
REVISION = 77
CHUNK = 5


class RangeServer:
    """Serves `KEYS`: ranges as etcd does, and streams of them as ``streams`` has it."""

    def __init__(self, streams: Callable[["RangeServer", Request, list[bytes]], None]) -> None:
        self.ranges: list[RangeRequest] = []
        self.streamed: list[RangeRequest] = []
        self.is_compacted = False
        self.streams = streams

    def answer(self, request: Request) -> None:
        asked = RangeRequest.parse(request.messages[0])
        if self.is_compacted:
            request.refuse(11, "etcdserver: mvcc: required revision has been compacted")
            return
        left = [key for key in KEYS if key >= asked.key]
        if request.path.endswith("/Range"):
            self.ranges.append(asked)
            page = left[: asked.limit] if asked.limit else left
            request.answer(bytes(_response(page, more=len(page) < len(left))))
        elif request.path.endswith("/RangeStream"):
            self.streamed.append(asked)
            request.send_headers()
            self.streams(self, request, left)
        else:  # is the server well, after a connection was lost?
            request.answer(bytes(StatusResponse(leader=1)))


def whole(_: RangeServer, request: Request, left: list[bytes]) -> None:
    for at in range(0, len(left), CHUNK):
        _send(request, left[at : at + CHUNK], is_last=at + CHUNK >= len(left))
    request.send_trailers()


def unknown(_: RangeServer, request: Request, left: list[bytes]) -> None:
    request.send_trailers(12, "unknown method RangeStream for service etcdserverpb.KV")


def breaking(server: RangeServer, request: Request, left: list[bytes]) -> None:
    _send(request, left[:CHUNK])
    if len(server.streamed) == 1:
        request.send_trailers(14, "etcdserver: server stopped")
    else:
        request.peer.cut()


def compacted(server: RangeServer, request: Request, left: list[bytes]) -> None:
    server.is_compacted = True
    _send(request, left[:CHUNK])
    request.send_trailers(11, "etcdserver: mvcc: required revision has been compacted")


def _response(keys: list[bytes], *, more: bool = False) -> RangeResponse:
    kvs = [KeyValue(key=key, value=b"v", create_revision=1, mod_revision=1, version=1) for key in keys]
    return RangeResponse(header=ResponseHeader(revision=REVISION), kvs=kvs, more=more, count=len(KEYS))


def _send(request: Request, keys: list[bytes], *, is_last: bool = False) -> None:
    response = _response(keys)
    if not is_last:  # etcd sends the header with the last chunk only
        response.header, response.count = None, 0
    request.send_message(bytes(RangeStreamResponse(range_response=response)))


@asynccontextmanager
async def serving(
    streams: Callable[[RangeServer, Request, list[bytes]], None],
) -> AsyncIterator[tuple[RangeServer, Client]]:
    ranges = RangeServer(streams)
    async with H2Server(answers=ranges.answer) as server, Client(server.endpoint, timeout=5) as client:
        yield ranges, client


async def scanned(client: Client) -> list[bytes]:
    return [kv.key async for kv in client.scan(prefix="k", page_size=8)]


async def test_what_the_first_page_leaves_is_streamed_at_its_revision() -> None:
    async with serving(whole) as (server, client):
        assert await within(scanned(client)) == KEYS
    assert [request.limit for request in server.ranges] == [8]
    assert [(request.key, request.revision, request.limit) for request in server.streamed] == [
        (KEYS[7] + b"\x00", REVISION, 0)
    ]


async def test_a_server_that_cannot_stream_is_asked_once_and_paged_from_then_on() -> None:
    async with serving(unknown) as (server, client):
        assert await within(scanned(client)) == KEYS
        assert await within(scanned(client)) == KEYS
    assert len(server.streamed) == 1
    assert [request.key for request in server.ranges[1:5]] == [KEYS[at] + b"\x00" for at in (7, 15, 23, 31)]
    assert {request.revision for request in server.ranges[1:5]} == {REVISION}


async def test_a_server_that_comes_back_is_asked_once_more_whether_it_can_stream() -> None:
    ranges = RangeServer(unknown)
    async with H2Server(answers=ranges.answer) as server, Client(server.endpoint, timeout=5) as client:
        await within(scanned(client))
        (await server.peer()).cut()
        ranges.streams = whole
        assert await within(scanned(client)) == KEYS
        assert await within(scanned(client)) == KEYS
    assert len(ranges.streamed) == 3


async def test_a_stream_that_breaks_off_is_continued_without_a_gap_or_a_repeat() -> None:
    async with serving(breaking) as (server, client):
        assert await within(scanned(client)) == KEYS
    assert len(server.streamed) > 1


async def test_compaction_ends_a_streamed_scan() -> None:
    async with serving(compacted) as (_, client):
        scan = client.scan(prefix="k", page_size=8)
        assert [(await within(anext(scan))).key for _ in range(13)] == KEYS[:13]
        with pytest.raises(Compacted):
            await within(anext(scan))


async def test_a_scan_that_is_left_early_gives_its_stream_up() -> None:
    def endless(_: RangeServer, request: Request, left: list[bytes]) -> None:
        requests.append(request)
        _send(request, left[:CHUNK])

    requests: list[Request] = []
    async with serving(endless) as (_, client):
        scan = client.scan(prefix="k", page_size=8)
        assert [(await within(anext(scan))).key for _ in range(10)] == KEYS[:10]
        await scan.aclose()
        assert await requests[0].reset() == 8  # CANCEL


async def test_an_error_of_the_pages_is_raised() -> None:
    def refuse(request: Request) -> None:
        request.refuse(7, "etcdserver: permission denied")

    async with H2Server(answers=refuse) as server, Client(server.endpoint, timeout=5) as client:
        with pytest.raises(PermissionDenied):
            await within(scanned(client))
