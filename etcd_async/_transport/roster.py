"""The endpoints of one client: whether they work, the channel to each, and word of every change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Final

import anyio

from etcd_async._protocol.endpoints import Endpoint
from etcd_async._protocol.headers import Metadata
from etcd_async._protocol.pool import Health, Pool
from etcd_async._transport.channel import Channel
from etcd_async._transport.prober import Prober
from etcd_async._transport.tasks import Tasks
from etcd_async.errors import ClientClosed
from etcd_async.options import TLS, Backoff, TransportOptions
from etcd_async.types import EndpointState

PROBES: Final = Backoff(initial=0.1, factor=2.0, maximum=10.0)
"""Until an endpoint that was set aside is probed again."""
LEAVE_GRACE: Final = 5.0
"""Seconds that calls and streams may go on where the client has left; then streams go on elsewhere."""


class Roster:
    """
    The endpoints that calls may go to, in turn, and the channels to these and any others.

    Args:
        endpoints: At least one; the same one twice counts once.
        tls: For endpoints with TLS.
        options: Of each connection.
        backoff: Between attempts to connect.
        probes: Until an endpoint that was set aside is probed.
        tasks: Whose the background tasks are.
        clock: Monotonic seconds.
        random: For jitter, and for which endpoint comes first.
        metadata: Returns the headers of probes.

    Attributes:
        pool: Says which endpoint is next.
        channels: Those made so far, by the spelling of their endpoints.
        patience: Seconds that a call waits for a connection while there are other endpoints; None if there is one only.
        is_closed: Whether `aclose` was called.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        *,
        tls: TLS | None,
        options: TransportOptions,
        backoff: Backoff,
        probes: Backoff,
        tasks: Tasks,
        clock: Callable[[], float],
        random: Random,
        metadata: Callable[[], Metadata],
    ) -> None:
        self.pool: Pool = Pool(endpoints, backoff=probes, random=random)
        self.channels: dict[str, Channel] = {}
        self.is_closed: bool = False
        self.options = options
        self._tls = tls
        self._backoff = backoff
        self._tasks = tasks
        self._clock = clock
        self._epoch = time.time() - clock()  # turns the clock's seconds into times of day
        self._prober = Prober(self, tasks, clock=clock, metadata=metadata, random=random)
        self._leaving: set[Channel] = set()
        self._news = asyncio.Event()
        self._on_use: Callable[[], None] | None = None

    def when_used(self, action: Callable[[], None]) -> None:
        """Call *action* when the first channel is made: then there is a loop to run in."""
        self._on_use = action

    def channel(self, endpoint: Endpoint) -> Channel:
        """
        Return the channel to *endpoint*.

        Raises:
            ClientClosed: `aclose` was called.
            RuntimeError: The client was first used in another event loop.
        """
        if self.is_closed:
            raise ClientClosed
        self._tasks.claim_loop()
        action, self._on_use = self._on_use, None
        if action is not None:
            action()
        channel = self.channels.get(endpoint.text)
        if channel is None:
            channel = self.channels[endpoint.text] = Channel(
                endpoint,
                tls=self._tls,
                options=self.options,
                backoff=self._backoff,
                on_change=self._notify,
                on_slow=lambda: self.suspect(endpoint),
            )
        return channel

    def failed(self, endpoint: Endpoint, reason: str) -> None:
        """Set *endpoint* aside until a probe, or a call that had nowhere else to go, finds that it works."""
        version = self.pool.version
        self.pool.failed(endpoint, self._clock(), reason)
        if self.pool.version != version:
            self._notify()
            self._prober.attend(endpoint)

    def succeeded(self, endpoint: Endpoint, started: float) -> None:
        """Take *endpoint* back: it has answered something that was *started* after it was set aside."""
        version = self.pool.version
        self.pool.succeeded(endpoint, started, self._clock())
        if self.pool.version != version:
            self._notify()

    def suspect(self, endpoint: Endpoint) -> None:
        """Find out whether *endpoint* works: it keeps a call waiting, or has done so until its deadline."""
        if not self.is_closed and endpoint in self.pool.endpoints:
            self._prober.suspect(endpoint)

    def replace(self, endpoints: Sequence[Endpoint]) -> None:
        """
        Use *endpoints* from now on. What goes on at those that were used before may end there, within `LEAVE_GRACE`.

        Channels to any others, for calls that had to go there, are given up as well if nothing goes on there now.

        Raises:
            ValueError: There are none.
        """
        before = self.pool.endpoints
        self.pool.replace(endpoints)
        for channel in list(self.channels.values()):
            endpoint = channel.endpoint
            if endpoint not in self.pool.endpoints and (endpoint in before or channel.is_idle):
                del self.channels[endpoint.text]
                self._leaving.add(channel)
                self._tasks.start(f"etcd_async.leave {endpoint.text}", partial(self._leave, channel))
        self._notify()

    def state(self) -> tuple[EndpointState, ...]:
        """Return what is known of every endpoint, in the order they were given."""
        return tuple(self._state(health) for health in self.pool.health())

    async def change(self) -> None:
        """
        Wait until `state` may have changed.

        Raises:
            ClientClosed: `aclose` was called.
        """
        if not self.is_closed:
            await self._news.wait()
        if self.is_closed:
            raise ClientClosed

    async def aclose(self) -> None:
        """End every call and stream with `ClientClosed`, and the connections; any number of times."""
        self.is_closed = True
        self._notify()
        async with anyio.create_task_group() as group:
            for channel in [*self.channels.values(), *self._leaving]:
                group.start_soon(channel.aclose)

    async def _leave(self, channel: Channel) -> None:
        try:
            await channel.leave(LEAVE_GRACE)
        finally:
            self._leaving.discard(channel)

    def _state(self, health: Health) -> EndpointState:
        channel = self.channels.get(health.endpoint.text)
        since = None if health.since is None else datetime.fromtimestamp(self._epoch + health.since, UTC)
        return EndpointState(
            health.endpoint.text,
            is_connected=channel is not None and channel.is_connected,
            is_healthy=health.is_healthy,
            failures=health.failures,
            failing_since=since,
            last_error=health.last_error,
        )

    def _notify(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()
