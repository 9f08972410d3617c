"""A prefix held in memory, kept up to date by a watch."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, suppress
from typing import Final

import anyio

from etcd_async import ops
from etcd_async._keys import FIRST, check_patience, to_bytes
from etcd_async.errors import DeadlineExceeded
from etcd_async.recipes._follow import Follow
from etcd_async.recipes._kept import Kept
from etcd_async.services import Services
from etcd_async.types import Batch, Event, KeyValue

__all__ = ["Cache"]

_PATIENCE: Final = 0.5
"""Seconds that the watch has to say how far it has come before the keys are read instead."""

_MAX_PENDING: Final = 10_000
"""Events that wait for one consumer of `Cache.changes` before only the last of each key is kept."""


class Cache(Kept):
    """
    A local copy of every key of a prefix, read like a mapping from keys to `KeyValue`.

    Made by ``client.cache(prefix=...)``:

    ``async with client.cache(prefix="/a/") as cache`` reads the prefix once and follows it by a watch, joined at one
    revision. Reading costs no call: ``cache["/a/x"]``, ``cache.get("/a/x")``, ``in``, ``len``, iteration in key order.
    What is read is as of `revision`, which runs behind the store by the time that events take; `sync` waits until all
    that was written before is there. When the history was compacted away while the connection was lost, the prefix is
    read again by itself.

    If the watch ends for good (`PermissionDenied`, a closed client), every way to read raises why, and RuntimeError
    once the body was left: a copy that no longer follows is never passed off as one.
    """

    _kind = "cache"
    _after = "what it holds is no longer kept up to date"

    def __init__(self, client: Services, prefix: str | bytes) -> None:
        super().__init__(client)
        self.prefix: bytes = to_bytes(prefix, "prefix")
        self._follow = Follow(client, self.prefix)
        self._consumers: set[_Pending] = set()
        self._reading = anyio.Lock()  # one reading serves all who wait

    @property
    def revision(self) -> int:
        """The revision that the copy is as of; it never goes back."""
        self._check()
        return self._follow.revision

    async def wait_for(self, revision: int, *, timeout: float | None = None) -> None:
        """
        Wait until the copy holds everything up to *revision*, such as that of a put.

        Args:
            revision: One that exists; for one of the future, this waits for it.
            timeout: Seconds; None for no limit.

        Raises:
            DeadlineExceeded: *timeout* passed.
            EtcdError: The watch has ended, and why; or no server answered when it had no news.
            RuntimeError: The body was left.
        """
        check_patience(timeout)
        with anyio.move_on_after(timeout) as limit:
            while self.revision < revision:
                await self._ask(revision)
        if limit.cancelled_caught:
            raise DeadlineExceeded(f"the cache was not at revision {revision} within {timeout:g} s")

    async def sync(self, *, timeout: float | None = None) -> int:
        """
        Wait until the copy holds everything that was written before this call, and return the revision that it is of.

        What is then read from the copy is as fresh as a linearizable read begun at the time of this call. *timeout* and
        errors are those of `wait_for`.
        """
        check_patience(timeout)
        self._check()
        with anyio.move_on_after(timeout) as limit:
            await self.wait_for(await self._now())
        if limit.cancelled_caught:
            raise DeadlineExceeded(f"the cache was not up to date within {timeout:g} s")
        return self.revision

    async def changes(self) -> AsyncGenerator[Event, None]:
        """
        Iterate over the changes from now (the first step) on, in the order of their revisions.

        There may be any number of consumers. One that falls more than 10,000 events behind gets only the last change of
        each key that waits. After the prefix had to be read again, the differences come as events. The end of the body
        ends it.
        """
        self._check()
        pending = _Pending()
        self._consumers.add(pending)
        try:
            while pending or not self._is_left:
                if pending:
                    yield pending.take()
                    continue
                self._check()
                await self._news.wait()
        finally:
            self._consumers.discard(pending)

    def __getitem__(self, key: str | bytes) -> KeyValue:
        self._check()
        return self._follow.state[to_bytes(key, "key")]

    def get(self, key: str | bytes) -> KeyValue | None:
        """Return a key, or None if it does not exist."""
        self._check()
        return self._follow.state.get(to_bytes(key, "key"))

    def keys(self) -> list[bytes]:
        """Return all keys in order."""
        return list(self)

    def values(self) -> list[KeyValue]:
        """Return what all keys hold, in the order of the keys."""
        return [self._follow.state[key] for key in self]

    def items(self) -> list[tuple[bytes, KeyValue]]:
        """Return all keys with what they hold, in order."""
        return [(key, self._follow.state[key]) for key in self]

    def __contains__(self, key: str | bytes) -> bool:
        self._check()
        return to_bytes(key, "key") in self._follow.state

    def __iter__(self) -> Iterator[bytes]:
        self._check()
        return iter(sorted(self._follow.state))

    def __len__(self) -> int:
        self._check()
        return len(self._follow.state)

    def __repr__(self) -> str:
        state = "left" if self._is_left else f"at revision {self._follow.revision}"
        return f"<Cache of {self.prefix!r}, {len(self._follow.state)} keys, {state}>"

    async def _begin(self, stack: AsyncExitStack) -> None:
        await stack.enter_async_context(self._follow)
        await self._follow.next()  # the listing

    async def _follow_on(self) -> None:
        with suppress(StopAsyncIteration):  # the body was left, by a cancellation that did not wait for this task
            while True:
                self._tell(await self._follow.next())

    async def _ask(self, revision: int) -> None:
        """
        Wait for news, after asking for some; if the watch has none for long, read the keys, once *revision* exists.

        Not every etcd orders the answer with events, and none answers while a watch of the same stream waits for the
        future (server ``mvcc/watchable_store.go`` progressIfSync): its silence says nothing.
        """
        await self._follow.request_progress()
        before = self.revision
        with anyio.move_on_after(_PATIENCE):
            while self.revision == before:
                await self._news.wait()
            return
        async with self._reading:
            if self.revision < revision <= await self._now():
                self._tell(self._follow.adopt(await self._client.range(prefix=self.prefix)))

    async def _now(self) -> int:
        """Return the store's revision, told with the answer on a single key: counting many is work for the server."""
        return (await self._client.do(ops.Range(self.prefix or FIRST, keys_only=True))).revision

    def _tell(self, batch: Batch) -> None:
        for pending in self._consumers:
            pending.put(batch.events)
        self._news.tell()


class _Pending:
    """The events that wait for one consumer."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._limit = _MAX_PENDING

    def __bool__(self) -> bool:
        return bool(self._events)

    def put(self, events: tuple[Event, ...]) -> None:
        self._events += events
        if len(self._events) > self._limit:
            last = {event.kv.key: event for event in self._events}
            self._events = deque(sorted(last.values(), key=lambda event: event.revision))
            self._limit = max(_MAX_PENDING, 2 * len(last))

    def take(self) -> Event:
        return self._events.popleft()
