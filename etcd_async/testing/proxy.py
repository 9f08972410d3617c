"""A TCP proxy in front of one server that does what networks do: delay, lose, hold, refuse and cut."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Literal, Self, TypeAlias
from urllib.parse import urlsplit

from etcd_async.testing._faults import Faults
from etcd_async.testing._link import Link, Way
from etcd_async.testing.ports import LOOPBACK, listener

__all__ = ["Direction", "FaultProxy"]

#: Which bytes a fault concerns: those to the server, those to the client, or all.
Direction: TypeAlias = Literal["to_server", "to_client", "both"]


class FaultProxy:
    """
    A proxy on a free port of 127.0.0.1 in front of one server.

        async with EtcdServer() as server, FaultProxy(server.endpoint) as proxy, Client(proxy.endpoint) as client:
            proxy.blackhole("to_client")                       # etcd gets the put, the client never hears of it
            put = asyncio.ensure_future(client.put("/a", "1"))
            async with Client(server.endpoint) as direct:
                while not await direct.exists("/a"):
                    pass
            proxy.cut()
            proxy.heal()

    Faults apply to open connections and to new ones, may be combined, and last until `heal`. Bytes are never changed or
    reordered, and at most 1 MiB per connection and direction is on its way inside the proxy: beyond that the sender has
    to wait, as on a real network. TLS passes through. A proxy belongs to the event loop in which it was started.
    """

    def __init__(self, target: str = "127.0.0.1:2379") -> None:
        """
        Describe a proxy; nothing is started.

        Args:
            target: The server: ``"host:port"``, or a URL such as `EtcdServer.endpoint`.

        Raises:
            ValueError: *target* has no host or no port.
        """
        parts = urlsplit(target if "://" in target else f"http://{target}")
        if parts.hostname is None or parts.port is None:
            raise ValueError(f"target must be host:port or a URL with both, not {target!r}")
        self._scheme = parts.scheme
        self._target = (parts.hostname, parts.port)
        self._faults: dict[Way, Faults] = {"to_server": Faults(), "to_client": Faults()}
        self._links: dict[asyncio.Task[None], Link] = {}
        self._listener: socket.socket | None = None
        self._port: int | None = None
        self._accepted = 0
        self._change = asyncio.Event()

    def __repr__(self) -> str:
        """Where it listens and leads to."""
        host, port = self._target
        return f"<FaultProxy on port {self._port} for {host}:{port}, {self.connections} connections>"

    async def __aenter__(self) -> Self:
        """Start listening."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop listening and cut every connection."""
        await self.stop()

    @property
    def endpoint(self) -> str:
        """
        The URL for clients, with the scheme of the target: ``"http://127.0.0.1:<port>"``.

        Raises:
            RuntimeError: The proxy was never started.
        """
        if self._port is None:
            raise RuntimeError("the proxy was not started yet")
        return f"{self._scheme}://{LOOPBACK}:{self._port}"

    @property
    def connections(self) -> int:
        """How many connections of clients are open now."""
        return sum(not link.is_cut for link in self._links.values())

    @property
    def accepted(self) -> int:
        """How many connections were accepted in all."""
        return self._accepted

    def passed(self, direction: Direction = "both") -> int:
        """How many bytes were passed on in *direction* since the start, or are just being sent."""
        return sum(faults.passed for faults in self._chosen(direction))

    def swallowed(self, direction: Direction = "both") -> int:
        """
        How many bytes were thrown away in *direction* since the start.

        That it is more than none does not mean that an answer is among them: both sides also send bytes of their own
        accord, pings and the like.
        """
        return sum(faults.swallowed for faults in self._chosen(direction))

    async def until(self, condition: Callable[[FaultProxy], bool]) -> None:
        """
        Wait until *condition* of this proxy is true; it is asked again whenever bytes pass or connections come or go.

            async with asyncio.timeout(5):
                await proxy.until(lambda proxy: proxy.accepted == 2)
        """
        while not condition(self):
            await self._change.wait()

    async def start(self) -> None:
        """
        Listen: on a free port, and when started again on the same as before.

        Raises:
            OSError: The port is taken.
        """
        self.accept()

    async def stop(self) -> None:
        """Stop listening and cut every connection; nothing is left running. Twice is harmless."""
        self.refuse()
        tasks = list(self._links)
        self.cut()
        if tasks:
            await asyncio.wait(tasks)

    def refuse(self) -> None:
        """Stop listening: new connections are refused, open ones go on."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def accept(self) -> None:
        """
        Listen again after `refuse`, on the same port.

        Raises:
            OSError: The port is taken.
        """
        if self._listener is None:
            self._listener = listener(self._port)
            self._port = self._listener.getsockname()[1]
            asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    def cut(self) -> None:
        """Reset every open connection, on both sides, and pass none of their bytes any more. New ones are accepted."""
        self._cut(self._links.items())

    def cut_after(self, size: int, direction: Direction = "both") -> None:
        """
        Cut one connection exactly behind the next *size* bytes in *direction*, once.

        The bytes of all connections count, for ``"both"`` each direction by itself. The connection that carries the
        last of them is cut: the receiver gets that byte and then the end of the stream, the sender is reset.

        Raises:
            ValueError: *size* is less than 1.
        """
        if size < 1:
            raise ValueError(f"size must be at least 1, not {size}")
        for faults in self._changing(direction):
            faults.budget = size

    def blackhole(self, direction: Direction = "both") -> None:
        """
        Swallow all bytes in *direction*, silently: senders can send on, and nobody learns that the other side closed.

        A stream can't go on with a hole in it, so `heal` resets the connections that have lost something.
        ``"to_client"`` drops the replies only: the server carries out what it is asked.
        """
        for faults in self._changing(direction):
            faults.swallow = True

    def hold(self, direction: Direction = "both") -> None:
        """Stop reading in *direction*: the pipe fills until the sender can send no more. `heal` lets all of it pass."""
        for faults in self._changing(direction):
            faults.hold = True

    def delay(self, seconds: float, jitter: float = 0.0, direction: Direction = "both") -> None:
        """
        Pass bytes on *seconds* after they came, plus a random part of *jitter* seconds; order is kept.

        Raises:
            ValueError: One of them is negative.
        """
        if seconds < 0 or jitter < 0:
            raise ValueError(f"seconds and jitter must not be negative: {seconds}, {jitter}")
        for faults in self._changing(direction):
            faults.delay, faults.jitter = seconds, jitter

    def throttle(self, bytes_per_second: float, direction: Direction = "both") -> None:
        """
        Pass at most so many bytes a second, on each connection and in each direction.

        Raises:
            ValueError: *bytes_per_second* is not positive.
        """
        if bytes_per_second <= 0:
            raise ValueError(f"bytes_per_second must be positive, not {bytes_per_second}")
        for faults in self._changing(direction):
            faults.rate = bytes_per_second

    def heal(self) -> None:
        """
        End every fault; listen again if connections were refused.

        Delayed and held bytes pass at once. Connections from which bytes were swallowed are reset.
        """
        self._cut((task, link) for task, link in self._links.items() if link.has_lost_bytes)
        for faults in self._faults.values():
            faults.heal()
        self.accept()

    def _cut(self, links: Iterable[tuple[asyncio.Task[None], Link]]) -> None:
        for task, link in links:
            link.doom()
            task.cancel()

    def _chosen(self, direction: Direction) -> list[Faults]:
        if direction == "both":
            return list(self._faults.values())
        if direction not in self._faults:
            raise ValueError(f"direction must be to_server, to_client or both, not {direction!r}")
        return [self._faults[direction]]

    def _changing(self, direction: Direction) -> Iterator[Faults]:
        for faults in self._chosen(direction):
            yield faults
            faults.update()

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except BlockingIOError:  # the client has gone again
            return
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = Link(client, target=self._target, faults=self._faults, changed=self._changed)
        task = asyncio.get_running_loop().create_task(link.run(), name=f"etcd_async.proxy.{self._accepted}")
        self._accepted += 1
        self._links[task] = link
        task.add_done_callback(self._ended)
        self._changed()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._links.pop(task).close()
        self._changed()

    def _changed(self) -> None:
        self._change.set()
        self._change = asyncio.Event()
