"""
Watches: every change of some keys, in order, each once, none missing.

What their common stream says is decided in `_protocol/watch.py`, and carried out by `_watcher.Watcher`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Literal, Self, TypeAlias

from etcd_async import _codec
from etcd_async._keyspace import Keyspace
from etcd_async._offload import offload
from etcd_async._pb.etcdserverpb import WatchCreateRequest, WatchCreateRequestFilterType, WatchRequest
from etcd_async._protocol import watch_outputs as machine
from etcd_async._transport.calls import check_size
from etcd_async._watch_inbox import Inbox, size_of
from etcd_async._watcher import Watcher
from etcd_async.errors import Compacted, DeadlineExceeded, EtcdError
from etcd_async.types import Batch, Event

__all__ = ["Filter", "Watch", "check_filters", "check_request"]

Filter: TypeAlias = Literal["no_put", "no_delete"]

_MAX_INT = 2**63 - 1
_FILTERS = {"no_put": WatchCreateRequestFilterType.NOPUT, "no_delete": WatchCreateRequestFilterType.NODELETE}


class Watch:
    """
    One watch; made by ``client.watch(...)`` and used as ``async with client.watch(...) as watch``.

    When the body starts, the watch is registered: it brings every change from then on (or from *start_revision* on),
    in the order of revisions, each once, none missing, through lost connections and restarted servers. Iterate over it
    for `Event`\\ s, or over `batches` for whole revisions with their events.

    When its consumer is behind by more than the buffer holds, the watch is stopped on the server and later resumed
    where it stopped: memory stays bounded and nothing is lost, unless the history is compacted meanwhile.

    Iterating raises `Compacted` if the history that the watch must go on from is gone (its ``compact_revision`` says
    from where there is some), `PermissionDenied`, or `WatchCanceled`; events that came before are delivered first.
    """

    def __init__(
        self,
        watcher: Watcher,
        request: WatchCreateRequest,
        *,
        space: Keyspace,
        now: Callable[[], Awaitable[int]],
        buffer: int,
        timeout: float | None,
    ) -> None:
        self._watcher = watcher
        self._request = request
        self._space = space
        self._now = now
        self._timeout = timeout
        self._inbox = Inbox(buffer)
        self._handle: int | None = None
        self._was_entered = self._is_created = False
        self._is_paused = False
        self._error: EtcdError | None = None
        self._waiters: set[asyncio.Future[None]] = set()
        self._events: Iterator[Event] = iter(())

    async def started(self) -> None:
        """
        Wait until the server has registered the watch: at once in the body, unless its connection was just lost.

        Raises:
            EtcdError: The watch has ended, and why.
        """
        self._check_was_entered()
        while not self._is_created and self._error is None:
            await self._news()
        if self._error is not None:
            raise self._error.with_traceback(None)

    async def request_progress(self) -> None:
        """
        Ask the server how far it has come; the answer is a progress batch in `batches`.

        The server answers when all watches of this client are in step with the store. Before etcd 3.4.25 and 3.5.8 it
        does not order the answer with events, and newer ones do not answer while a watch has not begun (one "from now"
        begins with the next write): the batch then says how far this watch is known to have come.
        """
        self._watcher.request_progress(self._entered)

    def batches(self) -> AsyncIterator[Batch]:
        """Iterate over whole revisions with their events, never split, and over words of progress without events."""
        return _Batches(self)

    async def next_batch(self) -> Batch:
        """Wait for the next batch and return it; StopAsyncIteration once the body was left and all was taken."""
        self._check_was_entered()
        while not self._inbox:
            if self._error is not None:
                raise self._error.with_traceback(None)
            if self._handle is None:
                raise StopAsyncIteration
            await self._news()
        batch = self._inbox.take()
        if self._is_paused and self._inbox.has_room_again and self._handle is not None:
            self._is_paused = False
            self._watcher.resume(self._handle)
        return await self._mapped(batch) if self._space.maps else batch

    def receive(self, output: machine.Output) -> None:
        """Take what the machine says about this watch."""
        match output:
            case machine.Batch():
                self._inbox.put(Batch(output.revision, output.events))
                self._pause_if_full()
            case machine.Progress():
                self._inbox.put(Batch(output.revision))
            case machine.Created():
                self._is_created = True
            case machine.Failed():
                self._error = output.error
        self._wake()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while (event := next(self._events, None)) is None:
            self._events = iter((await self.next_batch()).events)
        return event

    async def __aenter__(self) -> Self:
        if self._was_entered:
            raise RuntimeError("a watch can be entered once: make another with client.watch(...)")
        self._was_entered = True
        try:
            await self._register()
        except BaseException:
            self._close()
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    async def _mapped(self, batch: Batch) -> Batch:
        try:
            return await offload(size_of(batch.events) if self._space.cipher else 0, self._space.batch, batch)
        except BaseException:
            self._inbox.put_back(batch)  # cancelled in the midst of it
            raise

    async def _register(self) -> None:
        limit = asyncio.timeout(self._timeout)
        try:
            async with limit:
                while not await self._created_from(self._request.start_revision):
                    pass
        except TimeoutError as error:
            if limit.expired():
                raise DeadlineExceeded(f"the watch was not registered within {self._timeout:g} s") from error
            raise

    async def _created_from(self, revision: int) -> bool:
        """Create the watch; False if its start "now" was compacted away before the server had the request."""
        request = replace(self._request, start_revision=revision or await self._now() + 1)
        self._handle = self._watcher.add(self, request)
        try:
            await self.started()
        except Compacted:
            if revision:
                raise
            self._error = None
            return False
        return True

    def _close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            self._watcher.cancel(handle)
        self._wake()

    def _pause_if_full(self) -> None:
        if self._inbox.is_full and not self._is_paused and self._handle is not None:
            self._is_paused = True
            self._watcher.pause(self._handle)

    @property
    def _entered(self) -> int:
        self._check_was_entered()
        if self._handle is None:
            raise RuntimeError("the watch was left")
        return self._handle

    def _check_was_entered(self) -> None:
        if not self._was_entered:
            raise RuntimeError("enter the watch first: async with client.watch(...) as watch")

    async def _news(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)


class _Batches:
    """Iterates over a watch's batches."""

    __slots__ = ("_watch",)

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        return await self._watch.next_batch()


def check_filters(filters: Sequence[str]) -> list[WatchCreateRequestFilterType]:
    """Return etcd's values for *filters*; others are a ValueError, what is no sequence a TypeError."""
    if not isinstance(filters, Sequence):
        raise TypeError(f"filters must be a sequence of str, not {type(filters).__name__}")
    if isinstance(filters, str) or not all(each in list(_FILTERS) for each in filters):
        raise ValueError(f"filters must be a sequence of {', '.join(map(repr, _FILTERS))}, not {filters!r}")
    return [_FILTERS[each] for each in filters]


def check_request(request: WatchCreateRequest, limit: int) -> None:
    """
    Refuse a request that could not be encoded or sent: on the stream that all watches share it would end the others.

    Raises:
        TypeError, ValueError: A field has the wrong type, or is out of its range.
        RequestTooLarge: It has more than *limit* bytes, whatever its id and its start will be.
    """
    longest = replace(request, fragment=True, watch_id=_MAX_INT, start_revision=max(request.start_revision, _MAX_INT))
    check_size(_codec.encode(WatchRequest(create_request=longest)), limit)
