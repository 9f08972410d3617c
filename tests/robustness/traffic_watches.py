"""Watching clients: one watch after another, each with other options, and everything that comes written down."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from random import Random
from typing import Final

from etcd_async import Client, EtcdError, ops
from etcd_async._keys import to_range
from etcd_async.watch import Filter, Watch
from tests.robustness.history import Asked, Ended, Got, Started
from tests.robustness.recorder import Recorder
from tests.robustness.traffic import KEYS, PREFIX
from tests.robustness.traffic_streams import rest

__all__ = ["ARRIVAL_TIMEOUT", "Finish", "Style", "Watching"]

_ENTER_TIMEOUT: Final = 3.0
_READ_TIMEOUT: Final = 1.0
_SPREAD: Final = 100
_FOR_EVER: Final = 1000.0
_PROGRESS_EVERY: Final = 0.3
ARRIVAL_TIMEOUT: Final = 40.0
_FILTERS: tuple[tuple[Filter, ...], ...] = (("no_put",), ("no_delete",))


@dataclass(slots=True)
class Finish:
    """
    The end of a run, as its watches learn of it.

    Attributes:
        stopped: No new watch is to begin.
        revision: The store's last revision, once that is known: watches are left when they have come there.
        stuck: What is to be said of watches that did not come there.
    """

    stopped: asyncio.Event
    revision: asyncio.Future[int]
    stuck: list[str]


@dataclass(frozen=True, slots=True)
class Style:
    """
    How a watch is used.

    Attributes:
        seconds: How long, at most.
        buffer: As for `Client.watch`.
        pause: How long its consumer rests after each batch.
        progress: As for `Client.watch`.
        asks: It asks for progress now and then.
    """

    seconds: float
    buffer: int
    pause: float
    progress: bool
    asks: bool

    @classmethod
    def draw(cls, random: Random) -> Style:
        """Choose one: a third are slow, with a small buffer."""
        is_slow = random.random() < 0.3
        return cls(
            seconds=random.choice([random.uniform(0.3, 4), random.uniform(2, 10), random.uniform(5, 20), _FOR_EVER]),
            buffer=random.randint(1, 4) if is_slow else 1000,
            pause=random.uniform(0.01, 0.2) if is_slow else 0.0,
            progress=random.random() < 0.5,
            asks=random.random() < 0.5,
        )


class Watching:
    """One watch after another on one client."""

    def __init__(self, client: Client, random: Random, *, recorder: Recorder, finish: Finish) -> None:
        self._client = client
        self._random = random
        self._recorder = recorder
        self._finish = finish

    async def run(self) -> None:
        """Go on until the end; what began before is left when it has come to the last revision."""
        while not self._finish.stopped.is_set():
            asked, style = draw(self._random, self._recorder.revision), Style.draw(self._random)
            scope = _Scope(self._client, asked, style, recorder=self._recorder, finish=self._finish)
            await scope.run()
            await rest(self._finish.stopped, self._random.uniform(0, 0.3))


class _Scope:
    """One watch, from entering to leaving."""

    def __init__(self, client: Client, asked: Asked, style: Style, *, recorder: Recorder, finish: Finish) -> None:
        self._client = client
        self._asked = asked
        self._style = style
        self._recorder = recorder
        self._finish = finish
        self._number = recorder.asked(asked)
        self._come = 0

    async def run(self) -> None:
        try:
            async with self._watch() as watch, asyncio.timeout(self._style.seconds) as limit:
                await self._attended(watch, limit)
        except TimeoutError as error:
            self._end(error if isinstance(error, EtcdError) else None)
        except EtcdError as error:
            self._end(error)
        else:
            self._end(None)

    def _watch(self) -> Watch:
        asked, style = self._asked, self._style
        return self._client.watch(
            start=asked.key,
            end=asked.range_end or asked.key + b"\0",
            start_revision=asked.start_revision or None,
            prev_kv=asked.prev_kv,
            filters=asked.filters,
            progress=style.progress,
            buffer=style.buffer,
            timeout=_ENTER_TIMEOUT,
        )

    async def _attended(self, watch: Watch, limit: asyncio.Timeout) -> None:
        works = (self._mark_start(), self._ask(watch), self._leave_at_last(limit))
        aides = [asyncio.create_task(work) for work in works]
        try:
            await self._take(watch)
        finally:
            for aide in aides:
                aide.cancel()
            await asyncio.wait(aides)
            for aide in aides:
                if not aide.cancelled():
                    aide.result()

    async def _take(self, watch: Watch) -> None:
        async for batch in watch.batches():
            self._recorder.watch(self._number, Got(batch.revision, batch.events))
            self._come = max(self._come, batch.revision)
            if self._has_arrived():
                return
            if self._style.pause and not self._finish.stopped.is_set():
                await asyncio.sleep(self._style.pause)

    def _has_arrived(self) -> bool:
        last = self._finish.revision
        return last.done() and self._come >= last.result()

    async def _mark_start(self) -> None:
        """Find out by a read where a watch from now surely has begun."""
        revision = 0
        try:
            if not self._asked.start_revision:
                read = ops.Range(self._asked.key, keys_only=True)
                revision = (await self._client.do(read, timeout=_READ_TIMEOUT)).revision
        except EtcdError:
            revision = 0
        finally:
            self._recorder.watch(self._number, Started(revision))

    async def _ask(self, watch: Watch) -> None:
        if not self._style.asks:
            await self._finish.stopped.wait()
        while True:
            await watch.request_progress()
            await asyncio.sleep(_PROGRESS_EVERY)

    async def _leave_at_last(self, limit: asyncio.Timeout) -> None:
        """Give the watch time to come to the last revision once there is one, and complain if it does not."""
        last = await asyncio.shield(self._finish.revision)
        now = asyncio.get_running_loop().time()
        if self._has_arrived() or not self._must_arrive(last):
            limit.reschedule(now)
            return
        limit.reschedule(now + 2 * ARRIVAL_TIMEOUT)
        await asyncio.sleep(ARRIVAL_TIMEOUT)
        self._finish.stuck.append(
            f"watch {self._number} came to {self._come} of {last} only: {self._asked}, {self._style}"
        )
        limit.reschedule(now)

    def _must_arrive(self, last: int) -> bool:
        """Whether the last revision, which puts every key, concerns the watch."""
        return self._asked.start_revision <= last and "no_put" not in self._asked.filters

    def _end(self, error: EtcdError | None) -> None:
        compacted = getattr(error, "compact_revision", None) or 0
        self._recorder.watch(
            self._number, Ended("" if error is None else type(error).__name__, str(error or ""), compacted)
        )


def draw(random: Random, revision: int) -> Asked:
    """Choose what to watch: from now, or from some revision around *revision*, the highest that is known."""
    key, end = random.choice(
        [
            to_range(prefix=PREFIX),
            to_range(prefix=PREFIX),
            to_range(random.choice(KEYS)),
            to_range(start=KEYS[random.randint(0, 4)], end=KEYS[random.randint(5, 9)]),
        ]
    )
    start = 0 if random.random() < 0.3 else max(1, revision + random.randint(-_SPREAD, _SPREAD))
    return Asked(
        key=key,
        range_end=end,
        start_revision=start,
        prev_kv=random.random() < 0.5,
        filters=random.choice(_FILTERS) if random.random() < 0.1 else (),
        known_revision=0 if start else revision,
    )
