"""
A proxy that reads HTTP/2 frames and cuts a connection at a chosen place of the next call of some kind.

    async with Cutter(server.endpoint) as cutter, Client(cutter.endpoint) as client:
        cut = cutter.at("/etcdserverpb.KV/Put", before_headers)
        with pytest.raises(Unavailable):
            await client.put("k", "v")                # etcd has answered, but not a byte of it came here
        await cut.made()

It knows nothing of `etcd_async`: what it says about bytes is evidence.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Self, TypeAlias, cast
from urllib.parse import urlsplit

import hpack

PUT: Final = "/etcdserverpb.KV/Put"
RANGE: Final = "/etcdserverpb.KV/Range"
TXN: Final = "/etcdserverpb.KV/Txn"
WATCH: Final = "/etcdserverpb.Watch/Watch"
KEEP_ALIVE: Final = "/etcdserverpb.Lease/LeaseKeepAlive"

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEADER: Final = 9
_DATA, _HEADERS, _SETTINGS = 0, 1, 4
_END_STREAM, _END_HEADERS, _PADDED, _PRIORITY = 0x1, 0x4, 0x8, 0x20

How: TypeAlias = Literal["close", "reset"]
"""How the client learns of a cut: by FIN behind the last byte, or by RST."""


@dataclass(frozen=True)
class Frame:
    """
    A frame of the stream that is to be cut.

    Attributes:
        is_answer: It comes from the server.
        before: How many bytes of the stream went in this direction before it.
        message: For DATA that is not empty: its number among those of its direction, from 1; else 0.
    """

    kind: int
    flags: int
    stream_id: int
    raw: bytes
    is_answer: bool = False
    before: int = 0
    message: int = 0

    @property
    def size(self) -> int:
        return len(self.raw)

    @property
    def is_last(self) -> bool:
        """Whether it ends the stream: of an answer, the trailers."""
        return bool(self.flags & _END_STREAM) and self.kind in (_DATA, _HEADERS)


Place: TypeAlias = Callable[[Frame], int | None]
"""Where to cut: None to let a frame pass, or how many of its bytes still pass."""


def unseen(frame: Frame) -> int | None:
    """As soon as the request comes: the server gets nothing of it."""
    return 0


def amid_request(frame: Frame) -> int | None:
    """Behind the request's headers: the server gets no message."""
    return frame.size if frame.kind == _HEADERS else None


def before_headers(frame: Frame) -> int | None:
    """When the server has answered, before the first byte of that."""
    return 0 if frame.is_answer else None


def after_headers(frame: Frame) -> int | None:
    """Behind the answer's headers."""
    return frame.size if frame.is_answer and frame.kind == _HEADERS else None


def amid_frame_header(frame: Frame) -> int | None:
    """Between length and type of the frame with the first message."""
    return 3 if frame.is_answer and frame.message == 1 else None


def amid_message(number: int) -> Place:
    """In the middle of the answer's message of that number."""
    return lambda frame: _HEADER + (frame.size - _HEADER) // 2 if frame.is_answer and frame.message == number else None


def after_message(number: int) -> Place:
    """Behind the answer's message of that number: of a unary call, before the trailers."""
    return lambda frame: frame.size if frame.is_answer and frame.message == number else None


def amid_trailers(frame: Frame) -> int | None:
    """In the middle of the trailers."""
    return frame.size // 2 if frame.is_answer and frame.is_last else None


def after_trailers(frame: Frame) -> int | None:
    """Right behind the trailers."""
    return frame.size if frame.is_answer and frame.is_last else None


def after_bytes(number: int) -> Place:
    """Behind exactly so many bytes of the answer; not at all if it has fewer."""

    def place(frame: Frame) -> int | None:
        left = number - frame.before
        return left if frame.is_answer and left <= frame.size else None

    return place


class Cut:
    """One cut to come."""

    def __init__(self, path: str, place: Place, how: How) -> None:
        self.path = path
        self.place = place
        self.how = how
        self._made = asyncio.Event()

    @property
    def is_made(self) -> bool:
        """Whether it has happened."""
        return self._made.is_set()

    async def made(self) -> None:
        """Wait until it has happened."""
        async with asyncio.timeout(10):
            await self._made.wait()

    def make(self) -> None:
        self._made.set()


class Cutter:
    """Listens on a free port of 127.0.0.1 in front of one server."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname, parts.port)
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._changed = asyncio.Event()
        self.next_cut: Cut | None = None
        self.accepted = 0
        self.messages: dict[str, int] = {}

    @property
    def endpoint(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def at(self, path: str, place: Place, how: How = "close") -> Cut:
        """Cut the next call of *path* at *place*."""
        self.next_cut = Cut(path, place, how)
        return self.next_cut

    async def answers(self, path: str, number: int) -> None:
        """Wait until so many more messages have come in answer to calls of *path*."""
        wanted = self.messages.get(path, 0) + number
        async with asyncio.timeout(10):
            while self.messages.get(path, 0) < wanted:
                self._changed.clear()
                await self._changed.wait()

    def answered(self, path: str) -> None:
        self.messages[path] = self.messages.get(path, 0) + 1
        self._changed.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for link in list(self._links):
            await link.close()

    def _accept(self) -> _Side:
        self.accepted += 1
        link = _Link(self, cast(tuple[str, int], self._target))
        self._links.add(link)
        return link.client


class _Side(asyncio.Protocol):
    """One of the two connections of a link."""

    def __init__(self, link: _Link, *, is_server: bool) -> None:
        self.link = link
        self.is_server = is_server
        self.transport: asyncio.Transport | None = None
        self.gone = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self.is_server:
            self.link.dial()

    def data_received(self, data: bytes) -> None:
        self.link.take(self, data)

    def connection_lost(self, error: Exception | None) -> None:
        self.gone.set_result(None)
        self.link.lost(self)


class _Link:
    """A client's connection and the one to the server."""

    def __init__(self, cutter: Cutter, target: tuple[str, int]) -> None:
        self.client = _Side(self, is_server=False)
        self._server = _Side(self, is_server=True)
        self._cutter = cutter
        self._target = target
        self._early = b""
        self._rests = {self.client: b"", self._server: b""}
        self._passed: dict[tuple[_Side, int], tuple[int, int]] = {}
        self._paths: dict[int, str] = {}
        self._decoder = hpack.Decoder()
        self._has_preface = False
        self._is_cut = False
        self._bound: tuple[int, Cut] | None = None

    def dial(self) -> None:
        self._dialing = asyncio.get_running_loop().create_task(self._dial())

    async def _dial(self) -> None:
        await asyncio.get_running_loop().create_connection(lambda: self._server, *self._target)
        early, self._early = self._early, b""
        self.take(self.client, early)

    async def close(self) -> None:
        await asyncio.wait([self._dialing])
        for side in (self.client, self._server):
            if side.transport is not None:
                side.transport.abort()
                await side.gone

    def lost(self, side: _Side) -> None:
        other = self.client if side is self._server else self._server
        if other.transport is not None and not self._is_cut:
            other.transport.close()

    def take(self, side: _Side, data: bytes) -> None:
        """Pass on what one side has said, up to where it is to be cut."""
        if self._is_cut:
            return
        if self._server.transport is None:
            self._early += data
            return
        other = self.client if side is self._server else self._server
        assert other.transport is not None
        out = b""
        for frame in self._frames(side, data):
            cut = self._cut_of(frame)
            size = cut.place(frame) if cut is not None else None
            if cut is not None and size is not None:
                self._cut(cut, side, out + frame.raw[:size])
                return
            out += frame.raw
        other.transport.write(out)

    def _frames(self, side: _Side, data: bytes) -> Iterator[Frame]:
        data = self._rests[side] + data
        if side is self.client and not self._has_preface and data.startswith(_PREFACE):
            self._has_preface = True
            yield Frame(-1, 0, 0, _PREFACE)
            data = data[len(_PREFACE) :]
        while len(data) >= _HEADER and len(data) >= (end := _HEADER + int.from_bytes(data[:3], "big")):
            raw, data = data[:end], data[end:]
            yield self._read(side, Frame(raw[3], raw[4], int.from_bytes(raw[5:9], "big"), raw))
        self._rests[side] = data

    def _read(self, side: _Side, frame: Frame) -> Frame:
        if frame.kind not in (_DATA, _HEADERS):
            return frame
        if side is self.client and frame.kind == _HEADERS:
            self._opened(frame)
        key = (side, frame.stream_id)
        size, messages = self._passed.get(key, (0, 0))
        brings = frame.kind == _DATA and frame.size > _HEADER
        self._passed[key] = size + frame.size, messages + brings
        if brings and side is self._server:
            self._cutter.answered(self._paths[frame.stream_id])
        message = messages + 1 if brings else 0
        return Frame(frame.kind, frame.flags, frame.stream_id, frame.raw, side is self._server, size, message)

    def _opened(self, frame: Frame) -> None:
        assert frame.flags & _END_HEADERS
        assert not frame.flags & (_PADDED | _PRIORITY)
        fields = {str(name): str(text) for name, text in self._decoder.decode(frame.raw[_HEADER:])}
        path = self._paths[frame.stream_id] = fields[":path"]
        cut = self._cutter.next_cut
        if cut is not None and cut.path == path:
            self._bound = frame.stream_id, cut
            self._cutter.next_cut = None

    def _cut_of(self, frame: Frame) -> Cut | None:
        if self._bound is None or frame.kind not in (_DATA, _HEADERS) or frame.stream_id != self._bound[0]:
            return None
        return self._bound[1]

    def _cut(self, cut: Cut, side: _Side, last: bytes) -> None:
        """Let *last* pass and end both connections."""
        self._is_cut = True
        assert self.client.transport is not None
        assert self._server.transport is not None
        (self.client if side is self._server else self._server).transport.write(last)  # type: ignore[union-attr]
        if cut.how == "reset":
            _reset(self.client.transport)
        else:
            # Closing would reset it if the client has sent something meanwhile, and a reset may overtake bytes.
            self.client.transport.write_eof()
        self._server.transport.close()
        cut.make()


def _reset(transport: asyncio.Transport) -> None:
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
