"""A prefix and its changes, joined at one revision: no gap, no repeat, also through compaction."""

from __future__ import annotations

import logging
from collections import deque
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Self

from etcd_async.errors import Compacted, EtcdError
from etcd_async.recipes._patience import Pauses, is_transient
from etcd_async.services import Services
from etcd_async.types import Batch, Event, KeyValue, RangeResult
from etcd_async.watch import Watch

__all__ = ["Follow"]

_log = logging.getLogger("etcd_async.follow")


class Follow:
    """
    Lists a prefix once and watches it from there on.

    Each step is a `Batch`: first one with a put event for every key that is there (perhaps none), then those of the
    watch, words of progress included. When the history that a watch must resume from was compacted away, the prefix is
    listed again and the next batch holds the differences, so that `state` is right again without a step that users
    could miss. Like the watch, this second listing waits for a server as long as there is none.

    Attributes:
        state: The keys that are there, as of `revision`.
        revision: Grows with every step.
    """

    def __init__(self, client: Services, prefix: bytes) -> None:
        self.state: dict[bytes, KeyValue] = {}
        self.revision: int = 0
        self._client = client
        self._prefix = prefix
        self._watch: Watch | None = None
        self._listed: deque[Batch] = deque()
        self._stack = AsyncExitStack()
        self._is_entered = False

    async def __aenter__(self) -> Self:
        if self._is_entered:
            raise RuntimeError("this can be entered once: make another")
        self._is_entered = True
        await self._list()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def next(self) -> Batch:
        """Wait for the next step and return it; `state` and `revision` are as of its end."""
        if not self._is_entered:
            raise RuntimeError("enter it first, by async with")
        while not self._listed:
            if self._watch is None:
                await self._list_stubbornly()
                continue
            try:
                return self._apply(await anext(self._watch.batches()))
            except Compacted:
                self._watch = None
        return self._listed.popleft()

    def adopt(self, found: RangeResult) -> Batch:
        """Take a newer listing of the prefix, and return what changed as one step; an older one changes nothing."""
        if found.revision <= self.revision:
            return Batch(self.revision)
        before, self.state = self.state, {kv.key: kv for kv in found}
        self.revision = found.revision
        return Batch(found.revision, _differences(before, self.state, found.revision))

    async def request_progress(self) -> None:
        """Have the server say how far the watch has come; the answer is a step, as is a listing that is under way."""
        if self._watch is not None:
            await self._watch.request_progress()

    async def _list_stubbornly(self) -> None:
        pauses = Pauses()
        while True:
            try:
                return await self._list()
            except EtcdError as error:
                if not is_transient(error):
                    raise
                _log.info("listing %r again is put off: %s", self._prefix, error)
                await pauses.pause()

    async def _list(self) -> None:
        await self._stack.aclose()
        while (found := await self._joined()) is None:
            pass
        self._listed.append(self.adopt(found))

    async def _joined(self) -> RangeResult | None:
        """Read the prefix and watch it from there on; None if that was compacted away before the watch began."""
        found = await self._client.range(prefix=self._prefix)
        with suppress(Compacted):
            watch = self._client.watch(prefix=self._prefix, start_revision=found.revision + 1)
            self._watch = await self._stack.enter_async_context(watch)
            return found
        return None

    def _apply(self, batch: Batch) -> Batch:
        """Apply a batch of the watch, but for what a listing was ahead of."""
        events = batch.events
        if events and events[0].revision <= self.revision:
            events = tuple(event for event in events if event.revision > self.revision)
        for event in events:
            if event.type == "put":
                self.state[event.kv.key] = event.kv
            else:
                self.state.pop(event.kv.key, None)
        self.revision = max(self.revision, batch.revision)
        return Batch(self.revision, events)


def _differences(before: dict[bytes, KeyValue], after: dict[bytes, KeyValue], revision: int) -> tuple[Event, ...]:
    new = [Event("put", kv) for key, kv in after.items() if before.get(key) != kv]
    gone = [Event("delete", KeyValue(key, mod_revision=revision)) for key in before if key not in after]
    return (*sorted(new, key=lambda event: event.revision), *gone)
