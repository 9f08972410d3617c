"""Word that something has changed, for any number of tasks that wait for it."""

from __future__ import annotations

import anyio

__all__ = ["News"]


class News:
    """Wakes all who wait at the time, each time anew."""

    def __init__(self) -> None:
        self._next = anyio.Event()

    async def wait(self) -> None:
        """Wait for the next `tell`; look first whether there is anything to wait for."""
        await self._next.wait()

    def tell(self) -> None:
        """Wake all who wait."""
        told, self._next = self._next, anyio.Event()
        told.set()
