"""What every view of one client shares: the way to the servers, the background tasks, leases kept alive and watches."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol
from weakref import ref

import anyio

from etcd_async._keeper import Keeper
from etcd_async._keys import check_timeout
from etcd_async._transport.caller import Caller
from etcd_async._transport.tasks import Tasks
from etcd_async._watcher import Watcher
from etcd_async.errors import ClientClosed, EtcdError
from etcd_async.options import CLIENT_DEFAULT, FAREWELL_TIMEOUT, Timeout

__all__ = ["Core"]


class Reached(Protocol):
    """The connection to a server, as far as it matters for what is known of the server."""

    is_usable: bool
    """False once it takes no new calls."""


class Core:
    """
    The one instance behind a client and its namespaced views.

    Attributes:
        timeout: The client's default timeout in seconds; None for no limit.
        clock: Seconds of the one clock that all terms and deadlines are counted on.
    """

    def __init__(self, caller: Caller, tasks: Tasks, timeout: float | None) -> None:
        self.caller: Caller = caller
        self.tasks: Tasks = tasks
        self.timeout: float | None = timeout
        self.clock: Callable[[], float] = time.monotonic
        self.keeper: Keeper = Keeper(caller, tasks, self.clock)
        self.watcher: Watcher = Watcher(caller, tasks, self.clock)
        self._pager: Callable[[], Reached | None] = lambda: None

    @property
    def streams_ranges(self) -> bool:
        """False as long as a server is connected that turned out not to know RangeStream (before etcd 3.7)."""
        pager = self._pager()
        return pager is None or not pager.is_usable

    def reads_in_pages(self, connection: Reached) -> None:
        """Take note that the server at the other end of *connection* does not know RangeStream."""
        self._pager = ref(connection)

    def seconds(self, timeout: Timeout) -> float | None:
        """Return the seconds that a call may take."""
        if timeout is CLIENT_DEFAULT:
            return self.timeout
        check_timeout(timeout)
        return timeout

    async def aclose(self) -> None:
        """End everything: watches and leases hear of it, calls fail, tasks and connections are gone on return."""
        self.tasks.check_closer()
        self.abandon(ClientClosed())
        try:
            with anyio.move_on_after(FAREWELL_TIMEOUT):  # scopes that are just being left still tell the server
                await self.tasks.aclose()
        finally:
            await self.caller.aclose()
        await self.tasks.aclose()

    def abandon(self, reason: EtcdError) -> None:
        """Tell every watch and every lease kept alive that it goes on no longer."""
        self.watcher.close(reason)
        self.keeper.close(reason)
