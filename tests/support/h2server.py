"""
A scripted HTTP/2 server: the test decides what it says, frame by frame if need be.

    async with H2Server() as server, channel_to(server) as channel:
        call = asyncio.create_task(channel.unary("/a/b", b"ping", deadline=None))
        request = await server.request()
        request.answer(b"pong")
        assert await call == b"pong"

Well-behaved frames go through h2, with its windows; anything else goes out as raw bytes (`Peer.write`). Every wait has
a deadline, so a test that goes wrong fails instead of hanging.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import h2.errors
import h2.settings
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    PingAckReceived,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError

from tests.support.live import within

WAIT = 10.0
"""Seconds that anything awaited in a test may take."""

ANSWER_HEADERS = [(":status", "200"), ("content-type", "application/grpc")]

# h2 has forgotten what the client gave up before it tells the first event of the same read.
_TURNS = {RequestReceived: 0, StreamReset: 1, ConnectionTerminated: 2}

E = TypeVar("E", bound=Event)
T = TypeVar("T")


def prefixed(message: bytes, *, compressed: int = 0) -> bytes:
    """Return a gRPC message as it stands in DATA frames."""
    return bytes((compressed,)) + len(message).to_bytes(4, "big") + message


def raw_frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Return any frame, valid or not."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream_id.to_bytes(4, "big") + payload


class Request:
    """One stream that the client opened."""

    def __init__(self, peer: Peer, stream_id: int, headers: dict[str, str]) -> None:
        self.peer = peer
        self.stream_id = stream_id
        self.headers = headers
        self.body = b""
        self.has_ended = False
        self.reset_code: int | None = None
        self._to_send = bytearray()
        self._then: list[Callable[[], None]] = []

    @property
    def path(self) -> str:
        return self.headers[":path"]

    @property
    def messages(self) -> list[bytes]:
        """The whole messages that have arrived."""
        found, rest = [], self.body
        while len(rest) >= 5 and len(rest) >= 5 + int.from_bytes(rest[1:5], "big"):
            size = int.from_bytes(rest[1:5], "big")
            found.append(rest[5 : 5 + size])
            rest = rest[5 + size :]
        return found

    async def whole(self) -> Request:
        """Wait until the client has ended its side."""
        await self.peer.until(lambda: self.has_ended)
        return self

    async def message(self, number: int = 0) -> bytes:
        """Return the client's message of that *number*, counted from 0."""
        await self.peer.until(lambda: len(self.messages) > number)
        return self.messages[number]

    async def reset(self) -> int:
        """Wait for the client's RST_STREAM and return its code."""
        await self.peer.until(lambda: self.reset_code is not None)
        return cast(int, self.reset_code)

    def send_headers(self, *fields: tuple[str, str], end: bool = False) -> None:
        """Send the answer's headers, gRPC's ordinary ones unless told otherwise."""
        self.peer.h2.send_headers(self.stream_id, list(fields) or ANSWER_HEADERS, end_stream=end)
        self.peer.flush()

    def send_data(self, data: bytes) -> None:
        """Send *data*, as the client's windows allow; what comes after it waits."""
        self._to_send += data
        self.pump()

    def send_message(self, message: bytes) -> None:
        """Send one message."""
        self.send_data(prefixed(message))

    def send_trailers(self, status: int | str = 0, message: str = "") -> None:
        """End the stream after all data has left."""
        fields = [("grpc-status", str(status)), ("grpc-message", message)]
        self._then.append(lambda: self.peer.h2.send_headers(self.stream_id, fields, end_stream=True))
        self.pump()

    def answer(self, message: bytes) -> None:
        """Send a whole answer that went well."""
        self.send_headers()
        self.send_message(message)
        self.send_trailers()

    def refuse(self, status: int | str, message: str = "") -> None:
        """Answer with trailers only."""
        self.send_headers(*ANSWER_HEADERS, ("grpc-status", str(status)), ("grpc-message", message), end=True)

    def abandon(self, code: int) -> None:
        """Send RST_STREAM."""
        self.peer.h2.reset_stream(self.stream_id, code)
        self.peer.flush()

    def pump(self) -> None:
        """Send what the windows allow."""
        connection = self.peer.h2
        while self._to_send and self.reset_code is None:
            room = min(connection.local_flow_control_window(self.stream_id), connection.max_outbound_frame_size)
            if room <= 0:
                break
            connection.send_data(self.stream_id, bytes(self._to_send[:room]))
            del self._to_send[:room]
        if not self._to_send and self.reset_code is None:
            for action in self._then:
                action()
            self._then.clear()
        self.peer.flush()


class Peer(asyncio.Protocol):
    """One connection, seen from the server."""

    def __init__(self, server: H2Server) -> None:
        self.server = server
        self.h2 = H2Connection(config=H2Configuration(client_side=False, header_encoding="utf-8"))
        self.log: list[Event] = []
        self.requests: dict[int, Request] = {}
        self.opens_windows = True
        self.fault: ProtocolError | None = None
        self.is_lost = self.has_said_goodbye = False
        self.reads: list[bytes] = []
        self._changed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values=cast(Any, self.server.settings))
        self.h2.max_inbound_frame_size = self.h2.local_settings.max_frame_size
        self.h2.initiate_connection()
        if self.server.greets:
            self.flush()
        self.server.peers.append(self)
        self.server.notify()

    def data_received(self, data: bytes) -> None:
        self.reads.append(data)
        if self.server.greets:
            try:
                events = self.h2.receive_data(data)
            except ProtocolError as error:
                self.fault = error
                self.flush()
                self.transport.close()
                events = []
            for event in sorted(events, key=lambda event: _TURNS.get(type(event), len(_TURNS))):
                self._on_event(event)
            self.flush()
        self.notify()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.is_lost = True
        self.notify()

    def notify(self) -> None:
        self._changed.set()
        self.server.notify()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until *condition* holds; it is asked whenever something has arrived."""
        async with asyncio.timeout(WAIT):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def event(self, kind: type[E], number: int = 0) -> E:
        """Return the h2 event of that *kind* and *number*, counted from 0."""
        await self.until(lambda: len(self.events(kind)) > number)
        return self.events(kind)[number]

    def events(self, kind: type[E]) -> list[E]:
        return [event for event in self.log if isinstance(event, kind)]

    async def lost(self) -> None:
        """Wait until the connection is gone."""
        await self.until(lambda: self.is_lost)

    async def echo(self) -> None:
        """Wait until the client has taken all that was sent so far: it answers pings in order."""
        count = len(self.events(PingAckReceived))
        self.h2.ping(b"are-you?")
        self.flush()
        await self.event(PingAckReceived, count)

    def flush(self) -> None:
        data = self.h2.data_to_send()
        if data and not self.transport.is_closing():
            self.transport.write(data)

    def write(self, data: bytes) -> None:
        """Send raw bytes, after what h2 has to say."""
        self.flush()
        self.transport.write(data)

    def change_settings(self, settings: Mapping[h2.settings.SettingCodes, int]) -> None:
        """Send SETTINGS."""
        self.h2.update_settings(cast(Any, dict(settings)))
        self.flush()

    def goaway(self, last_id: int, code: int = 0, debug: bytes = b"") -> None:
        """Send GOAWAY and go on, as Go's servers do when they stop gracefully."""
        self.write(raw_frame(7, 0, 0, last_id.to_bytes(4, "big") + code.to_bytes(4, "big") + debug))

    def cut(self) -> None:
        """Cut the connection with a TCP reset."""
        self.transport.abort()

    def _on_event(self, event: Event) -> None:
        self.log.append(event)
        if isinstance(event, RequestReceived):
            headers = {str(name): str(value) for name, value in cast(list[tuple[str, str]], event.headers)}
            self.requests[event.stream_id] = Request(self, event.stream_id, headers)
            self.server.on_request(self.requests[event.stream_id])
        elif isinstance(event, DataReceived):
            self.requests[event.stream_id].body += event.data
            if self.opens_windows:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            self.requests[event.stream_id].has_ended = True
            is_wanted = self.requests[event.stream_id].reset_code is None and not self.has_said_goodbye
            if self.server.answers is not None and is_wanted:
                self.server.answers(self.requests[event.stream_id])
        elif isinstance(event, StreamReset):
            self.requests[event.stream_id].reset_code = int(event.error_code)
        elif isinstance(event, ConnectionTerminated):
            self.has_said_goodbye = True
        elif isinstance(event, WindowUpdated):
            waiting = self.requests.values() if not event.stream_id else [self.requests[event.stream_id]]
            for request in list(waiting):
                request.pump()


class H2Server:
    """
    Listens on a free port of the loopback, or on a unix socket.

    Args:
        settings: The server's own SETTINGS.
        answers: Called with every unary request as soon as it is whole.
        tls: Makes it a TLS server.
        path: Listen on this unix socket instead.
        greets: False accepts connections and never says a word.
    """

    def __init__(
        self,
        *,
        settings: Mapping[h2.settings.SettingCodes, int] | None = None,
        answers: Callable[[Request], None] | None = None,
        tls: ssl.SSLContext | None = None,
        path: str | None = None,
        greets: bool = True,
    ) -> None:
        self.settings = dict(settings or {})
        self.answers = answers
        self.greets = greets
        self.peers: list[Peer] = []
        self._tls = tls
        self._path = path
        self._requests: asyncio.Queue[Request] = asyncio.Queue()
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def endpoint(self) -> str:
        if self._path is not None:
            return f"unix:{self._path}"
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    async def request(self) -> Request:
        """Return the next request, as soon as its headers are there."""
        return await within(self._requests.get())

    async def peer(self, number: int = 0) -> Peer:
        """Return the connection of that *number*, counted from 0."""
        async with asyncio.timeout(WAIT):
            while len(self.peers) <= number:
                self._changed.clear()
                await self._changed.wait()
        return self.peers[number]

    def on_request(self, request: Request) -> None:
        self._requests.put_nowait(request)

    def notify(self) -> None:
        self._changed.set()

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        if self._path is not None:
            self._server = await loop.create_unix_server(lambda: Peer(self), self._path, ssl=self._tls)
        else:
            self._server = await loop.create_server(lambda: Peer(self), "127.0.0.1", 0, ssl=self._tls)

    def stop(self) -> None:
        """Listen no more and cut every connection."""
        assert self._server is not None
        self._server.close()
        for peer in self.peers:
            peer.transport.abort()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        for peer in self.peers:
            await peer.lost()
