"""
Proxies between the members of a cluster, one for each ordered pair, so that a member can be cut off in both directions.

A member has one URL that all others dial, so what arrives there is told apart by who dialled: the process that owns the
other end of the connection, which Linux tells. A member's own connections to the others carry the messages
*to* it (rafthttp: the dialler of a stream is its reader), so it is cut off only if both kinds of connections are.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from etcd_async.testing import FaultProxy
from etcd_async.testing._link import Link
from etcd_async.testing.ports import LOOPBACK, listener

__all__ = ["Gate", "PairProxy", "can_tell_dialers", "dialer"]

_ESTABLISHED = "01"

# linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h
_SOCK_DIAG = 4
_BY_FAMILY = 20
_REQUEST = 1
_ANY = 0xFFFFFFFF  # state, cookie
_HEADER = struct.Struct("=IHHII")
_QUESTION = struct.Struct("=BBBBI")
_INODE_AT = _HEADER.size + 68


def can_tell_dialers() -> bool:
    """Whether this machine tells which process has dialled; if not, members can't be partitioned here."""
    return Path("/proc/self/net/tcp").exists()


def dialer(connection: socket.socket, pids: Sequence[int | None]) -> int | None:
    """Return which of *pids* has the other end of a loopback connection, by its index; None if it is none of them."""
    (_, here), (_, there) = connection.getsockname(), connection.getpeername()
    inode = _inode(local=there, remote=here)
    owners = (index for index, pid in enumerate(pids) if inode is not None and pid is not None and _owns(pid, inode))
    return next(owners, None)


class PairProxy(FaultProxy):
    """What lies between one member and another that it dials; it does not listen but is handed connections."""

    def accept(self) -> None:
        """Do nothing: the gate listens."""

    def adopt(self, client: socket.socket) -> None:
        """Take a connection that the gate has accepted."""
        link = Link(client, target=self._target, faults=self._faults, changed=self._changed)
        task = asyncio.get_running_loop().create_task(link.run(), name=f"etcd_async.proxy.{self._accepted}")
        self._accepted += 1
        self._links[task] = link
        task.add_done_callback(self._ended)


class Gate:
    """
    Where the other members dial one member; hands each connection to the proxy of its pair.

    Args:
        target: The member's own URL for peers.
        members: How many members there are.
        pids: Tells the process ids of all members, None for one that is down.
    """

    def __init__(self, target: str, members: int, pids: Callable[[], Sequence[int | None]]) -> None:
        self.pairs = [PairProxy(target) for _ in range(members)]
        self._pids = pids
        self._listener = listener()

    @property
    def url(self) -> str:
        """What the member has to advertise to its peers."""
        return f"http://{LOOPBACK}:{self._listener.getsockname()[1]}"

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop().add_reader(self._listener, self._accept)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        for pair in self.pairs:
            await pair.stop()

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except BlockingIOError:  # the dialler has gone again
            return
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            index = dialer(client, self._pids()) if can_tell_dialers() else 0
        except OSError:  # it was reset already
            index = None
        if index is None:
            client.close()
        else:
            self.pairs[index].adopt(client)


def _inode(*, local: int, remote: int) -> int | None:
    """Return the inode of the socket of this machine that has these two ports on loopback."""
    with suppress(OSError):  # of a kernel that can't tell
        if inode := _asked_for(local, remote):
            return inode
    return _looked_up(local, remote)


def _asked_for(local: int, remote: int) -> int:
    """Ask for that one socket, 0 for none: to list all that a test run leaves behind takes tens of milliseconds."""
    loopback = socket.inet_aton(LOOPBACK).ljust(16, b"\0")
    ends = struct.pack("!HH16s16s", local, remote, loopback, loopback) + struct.pack("=III", 0, _ANY, _ANY)
    question = _QUESTION.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 0, _ANY) + ends
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as kernel:
        kernel.send(_HEADER.pack(_HEADER.size + len(question), _BY_FAMILY, _REQUEST, 0, 0) + question)
        answer = kernel.recv(1 << 12)
    is_found = _HEADER.unpack_from(answer)[1] == _BY_FAMILY
    return int.from_bytes(answer[_INODE_AT : _INODE_AT + 4], sys.byteorder) if is_found else 0


def _looked_up(local: int, remote: int) -> int | None:
    ends = f"0100007F:{local:04X} 0100007F:{remote:04X} {_ESTABLISHED}"
    for line in Path("/proc/self/net/tcp").read_text().splitlines():
        if ends in line:
            return int(line.split()[9])
    return None


def _owns(pid: int, inode: int) -> bool:
    files = f"/proc/{pid}/fd"
    with suppress(OSError):  # the process has ended
        return any(_leads_to(f"{files}/{name}", f"socket:[{inode}]") for name in os.listdir(files))
    return False


def _leads_to(path: str, target: str) -> bool:
    with suppress(OSError):  # the file was closed meanwhile
        return os.readlink(path) == target
    return False
