"""
One connection through a proxy: two sockets, and for each direction a reader and a writer with a bounded queue between.

The queue is what lets a delay be latency: bytes keep arriving while earlier ones wait. It holds 16 pieces of 64 KiB;
then the reader stops, and TCP makes the sender wait.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Literal, TypeAlias

import anyio

from etcd_async.testing._faults import Faults

Way: TypeAlias = Literal["to_server", "to_client"]

_CHUNK = 1 << 16
_CHUNKS = 16

#: In the queue instead of bytes: the sender reset its connection.
_RESET = None

_Queue: TypeAlias = asyncio.Queue[tuple[float, bytes | None]]


class Link:
    """A client's connection and ours to the server. Whoever runs it calls `close` when `run` has ended, in any way."""

    def __init__(
        self,
        client: socket.socket,
        *,
        target: tuple[str, int],
        faults: Mapping[Way, Faults],
        changed: Callable[[], None],
    ) -> None:
        self._client = client
        self._server: socket.socket | None = None
        self._target = target
        self._faults = faults
        self._changed = changed
        self._scope = anyio.CancelScope()
        self._sink: socket.socket | None = None
        self._is_orderly = False
        self.has_lost_bytes = False
        self._is_doomed = False

    @property
    def is_cut(self) -> bool:
        """Whether its budget ran out: it only waits for the receiver to take the last bytes."""
        return self._sink is not None

    async def run(self) -> None:
        """Pass bytes until both sides have ended, one reset its connection, or the budget is spent."""
        self._server = await self._dial()
        if self._server is None:
            return
        with self._scope:
            async with anyio.create_task_group() as flows:
                flows.start_soon(self._flow, "to_server", self._client, self._server)
                flows.start_soon(self._flow, "to_client", self._server, self._client)
            self._is_orderly = not self.has_lost_bytes
        if self._sink is not None:
            await self._finish(self._sink)

    def doom(self) -> None:
        """Pass no byte any more: this link is about to be reset."""
        self._is_doomed = True

    def close(self) -> None:
        """Close both sockets: by RST, unless both sides had ended in order. Twice is harmless."""
        for sock in (self._client, self._server):
            if sock is not None:
                _close(sock, reset=not self._is_orderly)

    async def _dial(self) -> socket.socket | None:
        try:
            return await _connect(*self._target)
        except OSError:
            # The refusal is news from the server as any other: it does not pass a faulty direction.
            await self._faults["to_client"].healthy()
            return None

    async def _flow(self, way: Way, source: socket.socket, sink: socket.socket) -> None:
        queue: _Queue = asyncio.Queue(_CHUNKS)
        async with anyio.create_task_group() as both:
            both.start_soon(self._read, source, queue, self._faults[way])
            both.start_soon(self._write, sink, queue, self._faults[way])

    async def _read(self, source: socket.socket, queue: _Queue, faults: Faults) -> None:
        loop = asyncio.get_running_loop()
        data: bytes | None = b"any"
        while data:
            await faults.free()
            try:
                data = await loop.sock_recv(source, _CHUNK)
            except OSError:
                data = _RESET
            await queue.put((faults.due(loop.time()), data))

    async def _write(self, sink: socket.socket, queue: _Queue, faults: Faults) -> None:
        loop = asyncio.get_running_loop()
        data: bytes | None = b"any"
        while data and not self._scope.cancel_called:
            due, data = await queue.get()
            await faults.rest(due - loop.time())
            await faults.free()
            try:
                if data:
                    await self._send(sink, memoryview(data), faults)
                else:
                    self._end(sink, data, faults)
            except OSError:  # the receiver has reset its connection
                self._scope.cancel()

    async def _send(self, sink: socket.socket, data: memoryview, faults: Faults) -> None:
        while data:
            await faults.free()
            if faults.swallow or self._is_doomed:
                self._lose(len(data), faults)
                return
            size = faults.piece(len(data))
            is_last = faults.spend(size)
            await asyncio.get_running_loop().sock_sendall(sink, data[:size])
            self._changed()
            if is_last:
                self._sink = sink
                self._scope.cancel()
                return
            if faults.rate is not None:
                await faults.rest(size / faults.rate)
            data = data[size:]

    def _end(self, sink: socket.socket, data: bytes | None, faults: Faults) -> None:
        """Pass on the end of the sender: FIN as FIN, reset as reset."""
        if faults.swallow or self._is_doomed:
            self._lose(0, faults)
        elif data is _RESET:
            self._scope.cancel()
        else:
            sink.shutdown(socket.SHUT_WR)

    def _lose(self, size: int, faults: Faults) -> None:
        self.has_lost_bytes = True
        faults.swallowed += size
        self._changed()

    async def _finish(self, sink: socket.socket) -> None:
        """
        End the receiver's connection behind the last byte, the sender's at once.

        A reset could overtake bytes that the receiver has not taken yet, and so could closing a socket that has unread
        bytes of its own. So the receiver is told by FIN, and what it sends is read and dropped until it closes.
        """
        source = self._server if sink is self._client else self._client
        if source is not None:
            _close(source, reset=True)
        self._changed()
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
            while await asyncio.get_running_loop().sock_recv(sink, _CHUNK):
                continue


async def _connect(host: str, port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    family, kind, protocol, _, address = (await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def _close(sock: socket.socket, *, reset: bool) -> None:
    if reset and sock.fileno() >= 0:
        # A linger time of zero makes close() send RST. macOS refuses it on a connection that is gone already.
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
