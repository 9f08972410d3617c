"""Several real etcd servers that form one cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from etcd_async.testing import _health
from etcd_async.testing._lifecycle import Lifecycle
from etcd_async.testing._steps import POLL, Steps, run, together
from etcd_async.testing.ports import LOOPBACK, Ports
from etcd_async.testing.server import EtcdServer, EtcdStartFailed

__all__ = ["EtcdCluster"]

_PORT_ATTEMPTS = 5


class EtcdCluster(Lifecycle):
    """
    A cluster of real etcd servers on free ports of 127.0.0.1.

        async with EtcdCluster(size=3) as cluster:
            await cluster[0].kill()
            await (await cluster.leader()).pause()
            await cluster[0].start()

    Started, stopped, and independent of event loops, as an `EtcdServer`; it is ready once every member is healthy and
    knows all others by name and address. One member is handled through ``cluster[i]``, all of them through the cluster;
    `start` starts those that are down.
    """

    def __init__(
        self,
        size: int = 3,
        *,
        binary: str | os.PathLike[str] | None = None,
        name: str = "member",
        extra_args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        fsync: bool = False,
        start_timeout: float = 60.0,
        stop_timeout: float = 10.0,
    ) -> None:
        """
        Describe a cluster; nothing is started.

        Args:
            size: How many members, at least 1. They are named *name* and their index.
            binary: As for `EtcdServer`, and so are the rest, which apply to every member.
            name: The beginning of the members' names.
            extra_args: More arguments for every member.
            env: More environment variables for every member.
            fsync: Wait for the disk.
            start_timeout: Seconds until all members must be healthy.
            stop_timeout: Seconds from SIGTERM to SIGKILL.

        Raises:
            ValueError: *size* is less than 1.
        """
        if size < 1:
            raise ValueError(f"size must be at least 1, not {size}")
        self._names = [f"{name}{index}" for index in range(size)]
        self._options: dict[str, Any] = {
            "binary": binary,
            "extra_args": tuple(extra_args),
            "env": dict(env or {}),
            "fsync": fsync,
            "start_timeout": start_timeout,
            "stop_timeout": stop_timeout,
        }
        self._members: list[EtcdServer] = []

    def __repr__(self) -> str:
        """The members."""
        return f"<EtcdCluster {self._members or self._names}>"

    def __len__(self) -> int:
        """The number of members."""
        return len(self._names)

    def __iter__(self) -> Iterator[EtcdServer]:
        """The members in order."""
        return iter(self.members)

    def __getitem__(self, index: int) -> EtcdServer:
        """One member."""
        return self.members[index]

    @property
    def members(self) -> list[EtcdServer]:
        """
        The members in order.

        Raises:
            RuntimeError: The cluster was never started: its ports are chosen then.
        """
        if not self._members:
            raise RuntimeError("the etcd cluster was not started yet")
        return list(self._members)

    @property
    def endpoints(self) -> list[str]:
        """The URLs for clients, one per member, in order. Raises as `members`."""
        return [member.endpoint for member in self.members]

    @property
    def is_running(self) -> bool:
        """Whether every member is running."""
        return bool(self._members) and all(member.is_running for member in self._members)

    async def leader(self) -> EtcdServer:
        """
        The member that leads by its own account; waits until there is one.

        After a leader was paused or cut off two may say so for a moment: the first in order is returned. Members that
        do not answer are passed over, so bound the wait (`asyncio.timeout`) where no majority may be up.
        """
        return await run(self._leader())

    async def kill(self) -> None:
        """End every member by SIGKILL, all at once, and wait until they are gone."""
        await run(self._end())

    async def pause(self) -> None:
        """Stop every member in its tracks. Raises as `EtcdServer.pause` if one is not running."""
        for member in self.members:
            await member.pause()

    async def resume(self) -> None:
        """Let every member go on. Raises as `EtcdServer.resume` if one is not running."""
        for member in self.members:
            await member.resume()

    def _start(self) -> Steps[None]:
        if self._members:
            return (yield from self._start_members())
        for _ in range(_PORT_ATTEMPTS - 1):
            try:
                return (yield from self._found())
            except EtcdStartFailed as failure:
                if not failure.port_in_use:
                    raise
        return (yield from self._found())

    def _found(self) -> Steps[None]:
        """Start for the first time. The members must know each other's ports, so a taken one means to begin anew."""
        self._members = self._plan()
        try:
            yield from self._start_members()
        except BaseException:
            self._clean_up()
            self._members = []
            raise

    def _plan(self) -> list[EtcdServer]:
        ports = dict(zip(self._names, Ports.pick_many(len(self._names)), strict=True))
        initial = ",".join(f"{name}=http://{LOOPBACK}:{ports[name].peer}" for name in self._names)
        return [
            EtcdServer(name=name, ports=ports[name], initial_cluster=initial, **self._options) for name in self._names
        ]

    def _start_members(self) -> Steps[None]:
        down = [member for member in self._members if not member.is_running]
        if not down:
            raise RuntimeError("every member of the etcd cluster is running already")
        try:
            yield from together(*(member._start() for member in down))
            # Each has told the others its name and address meanwhile; a read of now comes after all of them.
            yield from together(*(member._ready(member._running()) for member in down))
        except BaseException:
            for member in down:
                member._abort()
            raise

    def _stop(self) -> Steps[None]:
        # One by one: a leader that stops hands its office to another, and waits seconds for one that stops as well.
        for member in self._members:
            yield from member._stop()

    def _end(self) -> Steps[None]:
        # Nothing is kept, so nobody needs to hand over.
        yield from together(*(member._kill() for member in self._members))

    def _clean_up(self) -> None:
        for member in self._members:
            member._clean_up()

    def _leader(self) -> Steps[EtcdServer]:
        while True:
            for member in self.members:
                if member.is_running and (yield from _health.leads(member.ports.metrics)):
                    return member
            yield POLL
