"""Processes that use the recipes of etcd's own Go client: see ``main.go``."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from tests.support.golang import BUILD, program
from tests.support.live import within

__all__ = ["TTL", "GoError", "Gopher", "binary", "gopher"]

SOURCE: Final = Path(__file__).parent
TTL: Final = 5
"""Seconds after which one that was killed is no longer counted with."""


class GoError(Exception):
    """What Go's recipe has to object."""


class Gopher:
    """A process with one recipe."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def do(self, action: str, *, seconds: float = 30.0) -> str:
        """Have it carry out *action*, however long that waits, and return what it tells."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{action}\n".encode())
        answer = (await within(self._process.stdout.readline(), seconds)).decode()
        if not answer.startswith("ok "):
            raise GoError(answer.strip() or "it has ended")
        return answer.removeprefix("ok ").strip()

    async def kill(self) -> None:
        """End it by SIGKILL; its lease runs out."""
        self._process.kill()
        await within(self._process.wait())


def binary() -> Path:
    """
    Return the program, built if it has not been from these sources.

    Raises:
        Unbuildable: There is no Go, or it could not build.
    """
    return program(SOURCE, BUILD / "interop")


@asynccontextmanager
async def gopher(endpoint: str, recipe: str, name: str, count: int = 0) -> AsyncIterator[Gopher]:
    """Run a process with the recipe of that *name*; it is killed at the end, if it has not ended."""
    process = await asyncio.create_subprocess_exec(
        binary(), endpoint, recipe, name, str(count), stdin=PIPE, stdout=PIPE
    )
    try:
        yield Gopher(process)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()
