"""
A server in a thread of its own that says what it was told to, endlessly if need be, and is no part of what is measured.

It reads nothing but the client's first bytes unless it is told to, and it sends as fast as the client takes: whatever
piles up, piles up in the client.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.support.h2server import prefixed, raw_frame

MIB = 1024 * 1024
GREETING = raw_frame(4, 0, 0)
START = b"\x88\x0f\x10\x10application/grpc"
END = b"\x00\x0bgrpc-status\x010"


def answer(stream_id: int, message: bytes = b"") -> bytes:
    """Return a whole answer that went well."""
    return (
        raw_frame(1, 4, stream_id, START)
        + raw_frame(0, 0, stream_id, prefixed(message))
        + raw_frame(1, 5, stream_id, END)
    )


@dataclass(frozen=True)
class Script:
    """
    What is said to a client.

    Attributes:
        begin: Said once, when the client has sent its first call.
        forever: Said after that, again and again, until the client hangs up or has taken `most` bytes.
        reads: Whether the server reads what the client says meanwhile.
    """

    begin: bytes = b""
    forever: bytes = b""
    reads: bool = True
    most: int = 256 * MIB


class HostileServer:
    """Plays *script* to its first client, and answers a call of each later one; or plays it *always*."""

    def __init__(self, script: Script, *, always: bool = False) -> None:
        self.sent = 0
        self.clients = 0
        self._always = always
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _run(self) -> None:
        play = self._flood
        try:
            while True:
                client, _ = self._listener.accept()
                with client:
                    client.settimeout(10)
                    if not _is_called(client):
                        continue
                    self.clients += 1
                    with suppress(OSError):  # it has hung up
                        play(client)
                play = play if self._always else self._answer
        except OSError:  # the test is over
            return

    def _flood(self, client: socket.socket) -> None:
        script = self._script
        client.sendall(script.begin)
        reader = threading.Thread(target=_read, args=(client,), daemon=True)
        if script.reads:
            reader.start()
        try:
            while self.sent < script.most and script.forever:
                client.sendall(script.forever)
                self.sent += len(script.forever)
            _read(client)
        finally:
            if script.reads:
                _end(client)
                reader.join()  # the next client's socket may get the number of this one's

    def _answer(self, client: socket.socket) -> None:
        client.sendall(answer(1, b"well"))
        _read(client)


def _is_called(client: socket.socket) -> bool:
    """Greet, and read until the client's settings and a call have come; or it goes without having called."""
    data = b""
    with suppress(OSError):
        client.sendall(GREETING)
        while b"application/grpc" not in data and (more := client.recv(65536)):
            data += more
    return b"application/grpc" in data


def _end(client: socket.socket) -> None:
    with suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)


def _read(client: socket.socket) -> None:
    with suppress(OSError):
        while client.recv(65536):
            continue
