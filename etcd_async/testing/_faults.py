"""What is wrong with one direction of a proxy, shared by all its connections."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

import anyio

#: A throttled direction sends a piece this many times a second.
_PIECES_PER_SECOND = 20


@dataclass(slots=True, kw_only=True)
class Faults:
    """
    The faults of one direction. After setting any of the first six call `update`.

    Attributes:
        swallow: Bytes are read and thrown away.
        hold: Bytes are not read; those read already stay.
        delay: Seconds from the arrival of bytes to their departure.
        jitter: The delay grows by a random part of this many seconds.
        rate: Bytes per second and connection, or None.
        budget: How many bytes still pass before the connection that carries the last of them is cut, or None.
        passed: How many bytes were passed on.
        swallowed: How many were thrown away.
    """

    swallow: bool = False
    hold: bool = False
    delay: float = 0.0
    jitter: float = 0.0
    rate: float | None = None
    budget: int | None = None
    passed: int = 0
    swallowed: int = 0
    _free: asyncio.Event = field(default_factory=asyncio.Event)
    _healthy: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Start healthy."""
        self.update()

    def heal(self) -> None:
        """Take every fault away."""
        self.swallow = self.hold = False
        self.delay = self.jitter = 0.0
        self.rate = self.budget = None
        self.update()

    def update(self) -> None:
        """Wake whom a change concerns."""
        _set(self._free, not self.hold)
        _set(self._healthy, not (self.swallow or self.hold or self.delay or self.jitter or self.rate))

    def due(self, now: float) -> float:
        """When bytes that arrive at *now* may leave."""
        return now + self.delay + random.uniform(0, self.jitter)

    def piece(self, size: int) -> int:
        """How many of *size* bytes may be sent in one go."""
        if self.rate is not None:
            size = min(size, max(1, int(self.rate / _PIECES_PER_SECOND)))
        return size if self.budget is None else min(size, self.budget)

    def spend(self, size: int) -> bool:
        """Account for bytes about to be sent; True if they use up the budget, which is then no more."""
        self.passed += size
        if self.budget is None:
            return False
        self.budget -= size
        if self.budget > 0:
            return False
        self.budget = None
        return True

    async def free(self) -> None:
        """Wait while bytes are held."""
        await self._free.wait()

    async def healthy(self) -> None:
        """Wait until there is no fault."""
        await self._healthy.wait()

    async def rest(self, seconds: float) -> None:
        """Wait for so long, or until there is no fault any more."""
        with anyio.move_on_after(seconds):
            await self._healthy.wait()


def _set(event: asyncio.Event, value: bool) -> None:
    if value:
        event.set()
    else:
        event.clear()
