"""
Judges who held what, by what etcd's history says of it and by no clock.

Whoever has entered writes its key to ``<name>.journal`` in a transaction that its ``owned`` guards. As of the revision
of each such entry, those who stand in its way must be gone.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from etcd_async import Client, Event, Holding, Semaphore, put

Rule: TypeAlias = Callable[[bytes, list[bytes]], bool]
"""Tells by a holder's key, and the keys that came before it and are there, whether it may be in."""


def may_be_in_lock(key: bytes, ahead: list[bytes]) -> bool:
    """For a read-write lock: readers may have other readers ahead of them, writers nobody."""
    return not [each for each in ahead if b"/write/" in each or b"/write/" in key]


def may_be_in_semaphore(limit: int) -> Rule:
    def rule(key: bytes, ahead: list[bytes]) -> bool:
        return len(ahead) < limit

    return rule


@dataclass
class Verdict:
    """
    What a history shows.

    Attributes:
        entered: The keys that were in at some time, in the order in which they were first seen there.
        most: How many were in at once at most.
        violations: What must not have been.
    """

    entered: list[bytes] = field(default_factory=list)
    most: int = 0
    violations: list[str] = field(default_factory=list)


def judge(events: Iterable[Event], name: bytes, rule: Rule) -> Verdict:
    """Replay the history of the contenders ``<name>/...`` and of their journal."""
    verdict = Verdict()
    present: dict[bytes, int] = {}
    inside: set[bytes] = set()
    for event in events:
        key = event.kv.key
        if key == name + b".journal":
            holder = event.kv.value
            ahead = [each for each, created in present.items() if created < present.get(holder, 0)]
            if holder not in present or not rule(holder, ahead):
                verdict.violations.append(f"{event.revision}: {holder!r} in with {ahead} before it")
            if holder not in inside:
                inside.add(holder)
                verdict.entered.append(holder)
            verdict.most = max(verdict.most, len(inside))
        elif key.startswith(name + b"/"):
            if event.type == "put":
                present[key] = event.kv.create_revision
            else:
                present.pop(key, None)
                inside.discard(key)
    return verdict


async def note(client: Client, holding: Holding, name: bytes) -> bool:
    """Write a line of the journal as the holder; return whether it counts."""
    return (await client.txn([holding.owned], [put(name + b".journal", holding.key)])).succeeded


async def history(client: Client, start_revision: int) -> list[Event]:
    """Return all that has happened from a revision on."""
    last = (await client.put("/end-of-history", "")).revision
    events: list[Event] = []
    async with client.watch(prefix="", start_revision=start_revision) as watch:
        async for event in watch:
            if event.revision == last:
                break
            events.append(event)
    return events


def holdings(client: Client, name: bytes, recipe: str, *, ttl: float, timeout: float | None = None) -> list[Holding]:
    """Return one of each kind that contends for *name*."""
    if recipe == "semaphore":
        permit: Semaphore = client.semaphore(name, limit=2, ttl=ttl, timeout=timeout)
        return [permit]
    lock = client.rwlock(name, ttl=ttl, timeout=timeout)
    return [lock.read(), lock.write()]


RULES: dict[str, Rule] = {"rwlock": may_be_in_lock, "semaphore": may_be_in_semaphore(2)}
