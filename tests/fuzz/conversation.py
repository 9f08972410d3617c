"""A whole connection: two calls and a stream on it, and a server that says anything."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from grpclib.config import Configuration

from etcd_async._protocol import frames
from etcd_async._protocol.headers import request_block
from etcd_async._protocol.inbox import MAX_HEADER_BLOCK
from etcd_async._transport.calls import Unary
from etcd_async._transport.connection import Connection
from etcd_async._transport.failure import AttemptFailed
from etcd_async._transport.http2 import Control, _Channel, _NoCodec
from etcd_async._transport.stream import Stream
from etcd_async.errors import EtcdError
from etcd_async.options import TransportOptions
from tests.fuzz.source import Source, pieces

WINDOW = 65_535
LIMIT = 5_000
OPTIONS = replace(TransportOptions(), stream_window=WINDOW, connection_window=2 * WINDOW, max_receive_bytes=LIMIT)
BLOCK = request_block(path="/a.B/C", scheme="http", authority="h", user_agent="u")
GREETING = frames.frame(frames.SETTINGS, 0, 0)
STREAM_IDS = (0, 1, 3, 5, 1, 3, 5, 7, 2, 2**31 - 1)
# Header blocks that a fuzzer would take long to find: an ordinary start, ordinary ends, a 1xx, an odd one.
BLOCKS = (
    b"\x88\x0f\x10\x10application/grpc",
    b"\x40\x0bgrpc-status\x010",
    b"\x00\x0bgrpc-status\x015\x00\x0cgrpc-message\x06a%20b\xff",
    b"\x08\x03103",
    b"\x88\x00\x0dgrpc-encoding\x04gzip\x0f\x10\x10application/grpc",
)


class _Wire(asyncio.Transport):
    """A transport that leads nowhere."""

    protocol: asyncio.Protocol

    def __init__(self) -> None:
        super().__init__()
        self._is_closing = False

    def write(self, data: Any) -> None:
        assert not self._is_closing

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()


class _Scene:
    """A connection with a call that has ended by being cancelled, two that wait, and a stream that is being read."""

    def __init__(self) -> None:
        self.wire = _Wire()
        config = Configuration(http2_connection_window_size=2 * WINDOW, http2_stream_window_size=WINDOW)
        channel = _Channel("h", 1, codec=_NoCodec(), config=config)
        channel.make_link = self._link
        self.wire.protocol = self.protocol = channel._protocol_factory()
        self.protocol.connection_made(self.wire)
        self.calls = [self._call() for _ in range(2)]
        self.stream = Stream(BLOCK, connection=self.connection, deadline=None, limit=LIMIT, send_limit=LIMIT)
        self.connection.start(self.stream)
        self.stream.send(b"hello")
        self.reader = asyncio.create_task(self._read())
        self.late = self._call()

    def _link(self, transport: asyncio.Transport, control: Control) -> Connection:
        self.connection = Connection(
            transport, control, endpoint="e", options=OPTIONS, ping_interval=10, on_over=lambda connection: None
        )
        return self.connection

    def _call(self) -> Unary:
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        call = Unary(BLOCK, b"request", answer=answer, endpoint="e", deadline=None, limit=LIMIT)
        self.connection.start(call)
        return call

    async def _read(self) -> None:
        while await self.stream.receive() is not None:
            continue

    def check_bounds(self) -> None:
        """Hold what is kept of the server's words to its limits."""
        inbox = self.connection._inbox
        assert len(inbox.unread) <= frames.MAX_INBOUND_FRAME + 9 or self.connection.is_over
        assert sum(map(len, inbox._block)) <= MAX_HEADER_BLOCK + frames.MAX_INBOUND_FRAME
        assert self.stream.held <= WINDOW or self.stream.is_closed
        assert len(self.stream._messages) * 5 <= WINDOW

    async def check_end(self) -> None:
        """See that the end of the connection is the end of everything on it, each with an error of ours."""
        self.wire.close()
        for _ in range(4):
            await asyncio.sleep(0)
        assert self.connection.is_over
        assert self.connection.outbox.is_idle
        assert self.reader.done()
        outcomes: list[asyncio.Future[Any]] = [self.reader, *(call.answer for call in (*self.calls, self.late))]
        for each in outcomes:
            error = each.exception()
            assert error is None or isinstance(error, (EtcdError, AttemptFailed)), repr(error)


async def _converse(data: bytes) -> None:
    source = Source(data)
    mode, size = source.number(), source.number(64)
    scene = _Scene()
    await asyncio.sleep(0)
    said = GREETING if mode & 1 else b""
    said += _scripted(source) if mode & 2 else source.rest()
    for piece in pieces(said, size if mode & 4 else 0):
        scene.protocol.data_received(piece)
        if mode & 8:
            await asyncio.sleep(0)
        scene.check_bounds()
    scene.connection.abandon(scene.late)
    scene.late.on_failed(AttemptFailed("e", "abandoned", sent=True))
    await scene.check_end()


def _scripted(source: Source) -> bytes:
    """Build frames whose lengths are right and whose streams exist, mostly."""
    out: list[bytes] = []
    while not source.is_empty and len(out) < 200:
        kind, flags = source.number(12), source.number()
        stream_id = STREAM_IDS[source.number(len(STREAM_IDS))]
        if kind == 11:
            kind, payload = frames.HEADERS, BLOCKS[source.number(len(BLOCKS))]
            flags &= ~(frames.PADDED | frames.WITH_PRIORITY)
        elif kind == 10:
            body = source.string()
            kind, flags = frames.DATA, flags & frames.END_STREAM
            payload = b"\0" + len(body).to_bytes(4, "big") + body
        else:
            payload = source.string()
        repeats = 1 + source.number() * 16 if source.number() == 255 and len(payload) < 20 else 1
        out.append(frames.frame(kind, flags, stream_id, payload) * repeats)
    return b"".join(out)


class _Complaints(list[dict[str, Any]]):
    def take(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.append(context)


_LOOP: list[asyncio.AbstractEventLoop] = []


def fuzz_connection(data: bytes) -> None:
    """Nothing that a server says breaks anything but its own connection, or has more kept than the limits allow."""
    if not _LOOP:
        _LOOP.append(asyncio.new_event_loop())
    loop, complaints = _LOOP[0], _Complaints()
    loop.set_exception_handler(complaints.take)
    loop.run_until_complete(_converse(data))
    assert not complaints, complaints
