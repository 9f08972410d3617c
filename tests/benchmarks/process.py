"""A worker's process, seen from the one that compares."""

import asyncio
import json
import os
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

from tests.benchmarks.cases import LIVE, Case
from tests.benchmarks.environments import FOLDER, ROOT, interpreter
from tests.benchmarks.measurement import Measurement

SECONDS_PER_ANSWER = 60.0


class Worker:
    """One client in a process of its own; make it with `started`."""

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self._process = process

    async def startup(self) -> dict[str, Measurement]:
        """What the import and the first call took; once, before any round."""
        return {name: Measurement(**values) for name, values in (await self._answer()).items()}

    async def measure(self, case: Case, *, revision: int | None = None, writer: "Worker | None" = None) -> Measurement:
        """Run a round; *writer* writes the events of a live watch once the watch is registered."""
        await self._ask({"case": asdict(case), "revision": revision})
        if writer is None:
            return Measurement(**await self._answer())
        await self._answer()
        async with asyncio.TaskGroup() as group:
            written = group.create_task(writer.write(LIVE, case.operations))
            answer = await self._answer()
        await written
        return Measurement(**answer)

    async def write(self, prefix: str, count: int) -> tuple[int, int]:
        """Write so many keys; the first and the last revision."""
        await self._ask({"write": prefix, "count": count})
        answer = await self._answer()
        return answer["first"], answer["last"]

    async def _ask(self, order: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        await self._process.stdin.drain()

    async def _answer(self) -> Any:
        assert self._process.stdout is not None
        async with asyncio.timeout(SECONDS_PER_ANSWER):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of {self.name} ended; what it wrote to standard error says why")
        return json.loads(line)


@asynccontextmanager
async def started(name: str, endpoint: str, *, uvloop: bool) -> AsyncIterator[Worker]:
    """Start a client's process, and end it."""
    command = [str(interpreter(name)), "-m", "tests.benchmarks.worker", name, endpoint]
    options = ["--uvloop"] if uvloop else []
    env = environment()
    process = await asyncio.create_subprocess_exec(*command, *options, cwd=ROOT, env=env, stdin=PIPE, stdout=PIPE)
    try:
        yield Worker(name, process)
    finally:
        await _ended(process)


def environment() -> dict[str, str]:
    """Every client's modules come from cached bytecode, which the round that warms up writes, and not into the tree."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return inherited | {"PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(FOLDER / "bytecode")}


async def _ended(process: Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        async with asyncio.timeout(5):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
