"""All watches of one client, joined to the machine that decides what their common stream says."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import anyio

from etcd_async import _codec
from etcd_async._pb.etcdserverpb import WatchCreateRequest
from etcd_async._protocol import watch_outputs as machine
from etcd_async._protocol.watch import Watches
from etcd_async._transport import methods
from etcd_async._transport.caller import Caller
from etcd_async._transport.callstream import CallStream
from etcd_async._transport.duplex import Duplex
from etcd_async._transport.tasks import Background, Tasks
from etcd_async._transport.versions import Version, Versions, orders_progress
from etcd_async.errors import ClientClosed, EtcdError

__all__ = ["Watcher", "Watching"]

_ASK_AGAIN = 60.0  # seconds until a member that did not tell its version is asked again


class Watching(Protocol):
    """Somebody who watches."""

    def receive(self, output: machine.Output) -> None:
        """Take what the machine says about the watch; nothing more comes after `machine.Failed`."""
        ...


class Watcher:
    """
    All watches of one client, on one stream.

    Which etcd that stream leads to decides what its word about progress is worth, so each one is asked for its version.
    """

    def __init__(self, caller: Caller, tasks: Tasks, clock: Callable[[], float]) -> None:
        self._machine = Watches(has_user=caller.has_user)
        self._tasks = tasks
        self._versions = Versions(caller)
        self._learning: Background[None] | None = None
        self._watches: dict[int, Watching] = {}
        self._closed: EtcdError | None = None
        self._duplex = Duplex(
            self._machine,
            methods.WATCH,
            caller,
            tasks,
            encode=_codec.encode,
            decode=_codec.decode_watch_response,
            deliver=self._deliver,
            clock=clock,
            on_open=self._opened,
        )

    def add(self, watch: Watching, request: WatchCreateRequest) -> int:
        """Create a watch on the server; its outputs go to *watch*."""
        if self._closed is not None:
            raise self._closed
        handle = self._machine.add(request)
        self._watches[handle] = watch
        self._duplex.wake()
        return handle

    def cancel(self, handle: int) -> None:
        """Forget a watch; nothing more comes out of it."""
        if self._watches.pop(handle, None) is not None:
            self._machine.cancel(handle)
            self._duplex.wake()

    def pause(self, handle: int) -> None:
        """Stop a watch on the server, to go on later where it stopped."""
        self._machine.pause(handle)
        self._duplex.wake()

    def resume(self, handle: int) -> None:
        """Go on with a paused watch."""
        self._machine.resume(handle)
        self._duplex.wake()

    def request_progress(self, handle: int) -> None:
        """Ask the server how far the watch has come."""
        self._machine.request_progress(handle)
        self._duplex.wake()

    def close(self, error: EtcdError) -> None:
        """End every watch with *error*, and take no more."""
        self._closed = error
        for output in self._machine.fail_all(error):
            self._deliver(output)

    def _opened(self, stream: CallStream) -> None:
        if self._learning is not None:
            self._learning.cancel()
        with suppress(ClientClosed):
            self._learning = self._tasks.start("etcd_async.version", lambda: self._learn(stream))

    async def _learn(self, stream: CallStream) -> None:
        """Find out whether progress of *stream* is in order with its events; try again while it does not tell."""
        while self._duplex.stream is stream:
            version = await self._versions.of(stream)
            if version is not None:
                self._order_progress(stream, version)
                return
            await anyio.sleep(_ASK_AGAIN)

    def _order_progress(self, stream: CallStream, version: Version) -> None:
        if self._duplex.stream is stream:
            self._machine.orders_progress = orders_progress(version)

    def _deliver(self, output: machine.Output) -> None:
        watch = self._watches.get(output.handle)
        if watch is None:
            return
        if isinstance(output, machine.Failed):
            del self._watches[output.handle]
        watch.receive(output)
