"""
What goes wrong when: a plan made from a seed alone, and its execution.

Two lanes run side by side, so that faults meet: one does harm to members and what lies between them, one to what lies
between them and their clients. In each lane one fault follows another, with a pause between; every kind occurs once
before any occurs again. All members but one are always well, except for short times under ``majority``.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final, Literal, TypeAlias

from etcd_async.testing.proxy import Direction
from tests.robustness.cluster import SIZE, Cluster
from tests.robustness.peers import can_tell_dialers

__all__ = ["CLIENT_KINDS", "KINDS", "MEMBER_KINDS", "Fault", "Injector", "available", "plan"]

Kind: TypeAlias = Literal[
    "kill", "pause", "partition", "leader", "majority", "blackhole", "stall", "cut", "mute", "delay", "refuse"
]

MEMBER_KINDS: Final[tuple[Kind, ...]] = ("kill", "pause", "partition", "leader", "majority")
CLIENT_KINDS: Final[tuple[Kind, ...]] = ("blackhole", "stall", "cut", "mute", "delay", "refuse")
KINDS: Final = MEMBER_KINDS + CLIENT_KINDS

_LONGEST: dict[Kind, float] = {"majority": 1.5, "leader": 0.5}
_SECONDS = (0.5, 3.5)
_PAUSE = (0.3, 1.5)
_LONG_SHARE = 0.15
_LONG_FACTOR = 3
_MARGIN = 1.0
_MUTED = 0.15
_ELECTION = 2.0
_DIRECTIONS: tuple[Direction, ...] = ("both", "both", "to_server", "to_client")


@dataclass(frozen=True, slots=True)
class Fault:
    """
    One thing that goes wrong.

    Attributes:
        at: Seconds from the start.
        seconds: How long.
        member: Which member, or which one's clients; None is whoever leads at that time.
        direction: Of the bytes that a fault of clients concerns.
        size: How far something goes: seconds of a delay, number of cuts, bytes before a cut.
    """

    kind: Kind
    at: float
    seconds: float
    member: int | None
    direction: Direction = "both"
    size: float = 0.0


def available(kinds: Iterable[Kind] = KINDS) -> tuple[Kind, ...]:
    """Return those of *kinds* that this machine can do, in order."""
    chosen = set(kinds)
    return tuple(kind for kind in KINDS if kind in chosen and (kind != "partition" or can_tell_dialers()))


def plan(seed: int, seconds: float, kinds: Sequence[Kind] = KINDS) -> list[Fault]:
    """Return the faults of a run in the order of their times: the same for the same arguments."""
    lanes = [_lane(Random(f"{seed}/{lane}"), seconds, kinds) for lane, kinds in _lanes(kinds)]
    return sorted((fault for lane in lanes for fault in lane), key=lambda fault: fault.at)


def _lanes(kinds: Sequence[Kind]) -> Iterator[tuple[str, list[Kind]]]:
    for name, of_lane in (("members", MEMBER_KINDS), ("clients", CLIENT_KINDS)):
        if chosen := [kind for kind in of_lane if kind in kinds]:
            yield name, chosen


def _lane(random: Random, seconds: float, kinds: Sequence[Kind]) -> Iterator[Fault]:
    at = _MARGIN
    while True:
        for kind in random.sample(kinds, len(kinds)):
            fault = _fault(random, kind, at)
            if fault.at + fault.seconds > seconds - _MARGIN:
                return
            yield fault
            at = fault.at + fault.seconds + random.uniform(*_PAUSE)


def _fault(random: Random, kind: Kind, at: float) -> Fault:
    length = min(random.uniform(*_SECONDS), _LONGEST.get(kind, _SECONDS[1]))
    if kind not in _LONGEST and random.random() < _LONG_SHARE:
        length *= _LONG_FACTOR
    member = random.choice([None, *range(SIZE)])
    fault = Fault(kind, round(at, 3), round(length, 3), member, random.choice(_DIRECTIONS))
    size = random.random()
    match kind:
        case "delay":
            return replace(fault, size=round(0.02 + 0.4 * size, 3))
        case "cut":
            return replace(fault, size=float(1 + int(3000 * size)))
    return fault


class Injector:
    """
    Carries a plan out.

    Attributes:
        done: How often each kind was.
        log: What was done when, for the record.
    """

    def __init__(self, cluster: Cluster, faults: Sequence[Fault]) -> None:
        self.done: Counter[str] = Counter()
        self.log: list[dict[str, object]] = []
        self._cluster = cluster
        self._faults = faults
        self._start = 0.0

    async def run(self) -> None:
        """Do all of it; the cluster is well again afterwards, unless this is cancelled."""
        self._start = time.monotonic()
        async with asyncio.TaskGroup() as lanes:
            for kinds in (MEMBER_KINDS, CLIENT_KINDS):
                lanes.create_task(self._lane([fault for fault in self._faults if fault.kind in kinds]))

    async def _lane(self, faults: Sequence[Fault]) -> None:
        for fault in faults:
            await asyncio.sleep(self._start + fault.at - time.monotonic())
            member = fault.member
            if member is None:
                member = await self._cluster.leader() or 0
            began = time.monotonic() - self._start
            if await self._inject(fault, member):
                self.done[fault.kind] += 1
                ended = time.monotonic() - self._start
                self.log.append({"kind": fault.kind, "member": member, "from": round(began, 3), "to": round(ended, 3)})

    async def _inject(self, fault: Fault, member: int) -> bool:
        match fault.kind:
            case "kill":
                await self._kill([member], fault.seconds)
            case "pause":
                await self._pause([member], fault.seconds)
            case "partition":
                await self._partition([member], fault.seconds)
            case "majority":
                await self._lose_majority(fault, [member, (member + 1) % SIZE])
            case "leader":
                return await self._move_leader(member)
            case _:
                await self._disturb(fault, member)
        return True

    async def _move_leader(self, member: int) -> bool:
        """Make *member* the leader, or the next one if it is; wait for an election that goes on, but not for long."""
        end = time.monotonic() + _ELECTION
        while time.monotonic() < end:
            target = (member + 1) % SIZE if await self._cluster.leader() == member else member
            if await self._cluster.move_leader(target):
                return True
            await asyncio.sleep(_ELECTION / 20)
        return False

    async def _lose_majority(self, fault: Fault, members: list[int]) -> None:
        # All faults of members in turn; which one depends on the plan only.
        ways = [self._kill, self._pause, self._partition if can_tell_dialers() else self._pause]
        # Of a partition, two members that are both cut off from the third and from each other.
        await ways[int(fault.at * 1000) % len(ways)](members, fault.seconds)

    async def _kill(self, members: list[int], seconds: float) -> None:
        servers = [self._cluster.servers[member] for member in members]
        for server in servers:
            await server.kill()
        await asyncio.sleep(seconds)
        await asyncio.gather(*(server.start() for server in servers))

    async def _pause(self, members: list[int], seconds: float) -> None:
        servers = [self._cluster.servers[member] for member in members]
        for server in servers:
            await server.pause()
        await asyncio.sleep(seconds)
        for server in servers:
            await server.resume()

    async def _partition(self, members: list[int], seconds: float) -> None:
        self._cluster.partition(members)
        await asyncio.sleep(seconds)
        self._cluster.rejoin()

    async def _disturb(self, fault: Fault, member: int) -> None:
        proxy = self._cluster.proxies[member]
        match fault.kind:
            case "blackhole":
                proxy.blackhole(fault.direction)
            case "stall":
                proxy.hold(fault.direction)
            case "delay":
                proxy.delay(fault.size, fault.size, fault.direction)
            case "refuse":
                proxy.refuse()
                proxy.cut()
            case "mute":
                return await self._mute(fault, member)
            case _:
                return await self._cut(fault, member)
        await asyncio.sleep(fault.seconds)
        return proxy.heal()

    async def _mute(self, fault: Fault, member: int) -> None:
        """Again and again, lose answers to what the member carries out, and reset the connection before any timeout."""
        proxy = self._cluster.proxies[member]
        end = time.monotonic() + fault.seconds
        while time.monotonic() < end:
            proxy.blackhole("to_client")
            await asyncio.sleep(_MUTED)
            proxy.heal()
            await asyncio.sleep(_MUTED)

    async def _cut(self, fault: Fault, member: int) -> None:
        """Cut connections again and again, by turns all at once and one exactly behind some byte."""
        proxy = self._cluster.proxies[member]
        rounds = 4
        for number in range(rounds):
            if number % 2:
                proxy.cut()
            else:
                proxy.cut_after(int(fault.size) * (number + 1), fault.direction)
            await asyncio.sleep(fault.seconds / rounds)
        proxy.heal()
