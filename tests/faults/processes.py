"""Processes of their own that hold and await locks, as the test sees them."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.live import within

HOLDER = Path(__file__).with_name("holder.py")
ROOT = HOLDER.parents[2]


@dataclass(frozen=True, slots=True)
class Said:
    """One line of a holder."""

    event: str
    at: float
    token: int
    expires_at: float
    overdue: float


class Holder:
    """A process that runs ``holder.py``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def says(self, event: str, seconds: float = 20.0) -> Said:
        """Return the next line, which must be of that *event*."""
        said = await within(self.next(), seconds)
        assert said.event == event
        return said

    async def next(self) -> Said:
        assert self.process.stdout is not None
        event, at, token, *term = (await self.process.stdout.readline()).decode().split()
        return Said(event, float(at), int(token), *map(float, term))

    def release(self) -> None:
        """End its input: it leaves the lock."""
        assert self.process.stdin is not None
        self.process.stdin.close()


@asynccontextmanager
async def holder(endpoint: str, name: str, *, ttl: float, timeout: float | None = None) -> AsyncIterator[Holder]:
    """Run a process that takes the lock *name*; it is killed at the end, if it has not ended."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(HOLDER),
        endpoint,
        name,
        str(ttl),
        "" if timeout is None else str(timeout),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield Holder(process)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()
