"""
The true log of a run: every event of the store, as watches on each member, past all proxies, report it.

A member's watch may miss what is compacted while the member is down, and then goes on behind the gap; what the others
and one more watch at the end say must close it. Whatever two of them report must be the same, and no revision may be
missing in the end: each revision of etcd's store holds at least one event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from math import inf

from etcd_async import Client, Compacted, EtcdError
from etcd_async.types import Event, KeyValue

__all__ = ["Log", "LogError", "Witness", "with_previous"]


class LogError(Exception):
    """The log can't be had: its witnesses contradict one another, or there is a gap."""


class Log:
    """
    What the witnesses have reported.

    Attributes:
        come: Every revision up to here is known.
    """

    def __init__(self) -> None:
        self.come = 1
        self.contradictions: list[str] = []
        self._revisions: dict[int, tuple[Event, ...]] = {}
        self._change = asyncio.Event()

    def take(self, witness: str, events: Sequence[Event]) -> None:
        """Take whole revisions; what is known already must be the same."""
        for revision, group in groupby(events, lambda event: event.revision):
            told = tuple(group)
            known = self._revisions.setdefault(revision, told)
            if known != told:
                self.contradictions.append(f"{witness} says {told} where another said {known}")
        while self.come + 1 in self._revisions:
            self.come += 1
        self._change.set()
        self._change = asyncio.Event()

    async def until(self, revision: int) -> None:
        """Wait until every revision up to *revision* is known."""
        while self.come < revision:
            await self._change.wait()

    def events(self) -> list[Event]:
        """
        Return every event in order, each with what was before.

        Raises:
            LogError: Something is missing, or was contradicted.
        """
        if self.contradictions:
            raise LogError("; ".join(self.contradictions[:3]))
        last = max(self._revisions, default=1)
        if self.come < last:
            raise LogError(f"revision {self.come + 1} is missing, the last one is {last}")
        return list(with_previous(event for revision in sorted(self._revisions) for event in self._revisions[revision]))


def with_previous(events: Iterable[Event]) -> Iterator[Event]:
    """Add to each event what its key was before, as the events themselves tell."""
    state: dict[bytes, KeyValue] = {}
    for event in events:
        yield replace(event, prev_kv=state.get(event.kv.key))
        if event.type == "put":
            state[event.kv.key] = event.kv
        else:
            state.pop(event.kv.key, None)


class Witness:
    """
    A watch of everything through one client, which goes on whatever happens.

    Attributes:
        come: All up to here was reported, or is compacted.
    """

    def __init__(self, name: str, client: Client, log: Log) -> None:
        self._name = name
        self._client = client
        self._log = log
        self.come = 0

    async def run(self, last: float = inf) -> None:
        """Report until cancelled, or until it has come to the revision *last*."""
        while self.come < last:
            try:
                await self._watch(last)
            except Compacted as error:
                self.come = max(self.come, error.compact_revision or 0)
            except EtcdError:
                await asyncio.sleep(0.1)

    async def _watch(self, last: float) -> None:
        async with self._client.watch(start=b"\0", from_key=True, start_revision=self.come + 1) as watch:
            async for batch in watch.batches():
                self._log.take(self._name, batch.events)
                self.come = max(self.come, batch.revision)
                if self.come >= last:
                    return
