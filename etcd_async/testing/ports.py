"""Free TCP ports that stay free while their owner is down."""

from __future__ import annotations

import itertools
import os
import random
import socket
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["LOOPBACK", "Ports", "free_port", "listener"]

LOOPBACK = "127.0.0.1"

# Below the ranges that Linux (32768-60999) and macOS (49152-65535) give to outgoing connections. A port of those ranges
# could be taken by any connection while its server restarts, or by the very connection that tries to reach it: TCP then
# connects the socket to itself.
_RANGE = range(10_000, 32_768)
_SHARES = 22
_ATTEMPTS = 100

# Not the shared generator: test plugins seed it alike in parallel workers, which would then all try the same ports.
_random = random.SystemRandom()
_candidates: dict[int, Iterator[int]] = {}  # by process
_claims: dict[int, int] = {}  # by process: the file descriptor that holds its share


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """
    The three ports of one server, all on 127.0.0.1.

    Attributes:
        client: For clients.
        peer: For the other members of its cluster.
        metrics: Health and metrics, in plain HTTP even if *client* speaks TLS.
    """

    client: int
    peer: int
    metrics: int

    @classmethod
    def pick(cls) -> Ports:
        """Choose three ports that are free right now."""
        return cls.pick_many(1)[0]

    @classmethod
    def pick_many(cls, count: int) -> list[Ports]:
        """Choose for *count* servers; no port occurs twice."""
        free = iter(_distinct(3 * count))
        return [cls(client=next(free), peer=next(free), metrics=next(free)) for _ in range(count)]


def free_port() -> int:
    """
    Choose a port on 127.0.0.1 that is free right now and that no outgoing connection will be given.

    Raises:
        OSError: No free port was found.
    """
    with listener() as sock:
        port: int = sock.getsockname()[1]
        return port


def listener(port: int | None = None) -> socket.socket:
    """
    Listen on 127.0.0.1, without blocking.

    Args:
        port: The port; None chooses a free one.

    Raises:
        OSError: The port is taken, or no free one was found.
    """
    if port is not None:
        return _listen(port)
    for _ in range(_ATTEMPTS):
        try:
            return _listen(_candidate())
        except OSError:
            continue
    raise OSError(f"none of {_ATTEMPTS} ports tried on {LOOPBACK} is free")


def _candidate() -> int:
    """
    Return a port that this process did not try for the last thousand times.

    Each process keeps to a share of the ports: what is free now would else be taken by another test run just while its
    owner restarts.
    """
    process = os.getpid()
    if process not in _candidates:
        share = _RANGE[_claim(process) :: _SHARES][1:]
        start = _random.randrange(len(share))
        _candidates[process] = itertools.cycle([*share[start:], *share[:start]])
    return next(_candidates[process])


def _claim(process: int) -> int:
    """Return the number of a share that is nobody else's; if there is none, of one that few have."""
    for number in range(process, process + _SHARES):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            try:
                sock.bind((LOOPBACK, _RANGE[number % _SHARES]))
            except OSError:
                continue
            _claims[process] = sock.detach()  # held until the process ends
            return number % _SHARES
    return process % _SHARES


def _listen(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # As etcd does: connections of an earlier owner that linger in TIME_WAIT don't matter.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        sock.bind((LOOPBACK, port))
        sock.listen(512)
    except BaseException:
        sock.close()
        raise
    return sock


def _distinct(count: int) -> set[int]:
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return ports
