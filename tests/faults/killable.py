"""Programs of tests that are killed and started anew."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.support.live import within

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


class Program:
    """A program beside this file that runs until its standard input ends."""

    def __init__(self, name: str, *arguments: str) -> None:
        self._command = [sys.executable, "-W", "error", str(HERE / name), *arguments]
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, for the first time or after `kill`."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    async def kill(self) -> None:
        """Kill it; harmless if it has ended."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.communicate()

    async def stop(self) -> None:
        """End it in an orderly way; it must have nothing to complain of."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        _, complaints = await within(self._process.communicate(), 60)
        assert (self._process.returncode, complaints.decode()) == (0, "")


@asynccontextmanager
async def running_all(programs: Iterable[Program]) -> AsyncIterator[list[Program]]:
    """Have all *programs* run while the body does; those that still do are killed at the end."""
    started: list[Program] = []
    try:
        for program in programs:
            started.append(program)
            await program.start()
        yield started
    finally:
        for program in started:
            await program.kill()
