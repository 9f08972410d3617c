"""Asking one server over plain HTTP how it is."""

from __future__ import annotations

import socket
import time

from etcd_async.testing._steps import POLL, Steps, until
from etcd_async.testing.ports import LOOPBACK, Ports

#: Loopback connects at once or never; this bounds the wait if a paused server's backlog is full.
_CONNECT_TIMEOUT = 0.2

#: A server without a leader thinks for seconds, a paused one for ever: ask anew instead of waiting for either.
_ANSWER_TIMEOUT = 1.0

# The second leaves alarms out: a server whose space is used up is up, and a test may be about just that.
_HEALTH = ("/health", "/health?exclude=NOSPACE&exclude=CORRUPT")


def healthy(port: int) -> Steps[None]:
    """Wait until the server has a leader and answers a linearizable read, which is etcd's own definition of health."""
    while True:
        # Asked first because etcd logs every question about a health it does not have.
        while not (yield from _has(port, "etcd_server_has_leader 1")):
            yield POLL
        for path in _HEALTH:
            if '"health":"true"' in (yield from fetch(port, path)):
                return
        yield POLL


def ready(ports: Ports) -> Steps[None]:
    """
    Wait until the server is healthy and takes calls, as it does once its cluster knows its name and its address.

    It listens earlier, and a connection waits for it.
    """
    yield from healthy(ports.metrics)
    while not (yield from _reacts(ports.client)):
        yield POLL


def leads(port: int) -> Steps[bool]:
    """Whether the server is its cluster's leader, by its own account."""
    return (yield from _has(port, "etcd_server_is_leader 1"))


def fetch(port: int, path: str) -> Steps[str]:
    """The whole answer to one GET, head included; empty when none came in time."""
    try:
        return (yield from _exchange(port, path)).decode("utf-8", "replace")
    except OSError:  # TimeoutError too
        return ""


def _reacts(port: int) -> Steps[bool]:
    """Whether anything comes back from *port*; who wants TLS reacts by ending the connection."""
    try:
        yield from _exchange(port, "/version")
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def _exchange(port: int, path: str) -> Steps[bytes]:
    with socket.create_connection((LOOPBACK, port), timeout=_CONNECT_TIMEOUT) as sock:
        sock.sendall(f"GET {path} HTTP/1.0\r\nHost: {LOOPBACK}\r\n\r\n".encode())
        return (yield from until(time.monotonic() + _ANSWER_TIMEOUT, _read_all(sock)))


def _has(port: int, metric: str) -> Steps[bool]:
    return f"\n{metric}\n" in (yield from fetch(port, "/metrics"))


def _read_all(sock: socket.socket) -> Steps[bytes]:
    sock.setblocking(False)
    received = bytearray()
    while True:
        try:
            data = sock.recv(1 << 16)
        except BlockingIOError:
            yield POLL
            continue
        if not data:
            return bytes(received)
        received += data
