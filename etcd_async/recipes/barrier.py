"""A barrier that holds everybody up until it is released."""

from __future__ import annotations

from contextlib import suppress

import anyio

from etcd_async import ops
from etcd_async._keys import check_patience, to_key
from etcd_async.errors import BarrierTimeout, Compacted, KeyExists
from etcd_async.recipes._contest import look, until_event
from etcd_async.services import Services

__all__ = ["Barrier"]


class Barrier:
    """
    Holds everybody up who waits, until it is released; made by ``client.barrier(name)``.

    It is one key, of that name. As long as it stands, `wait` waits; without it, `wait` returns at once.
    """

    def __init__(self, client: Services, name: str | bytes) -> None:
        self.name: bytes = to_key(name, "name")
        self._client = client

    async def hold(self, *, lease: ops.LeaseLike | None = None) -> None:
        """
        Close the barrier, until somebody releases it, or *lease* ends.

        Raises:
            KeyExists: It is closed already.
        """
        if not await self._client.put_if_absent(self.name, b"", lease=lease):
            raise KeyExists(f"barrier {self.name!r} is held already")

    async def release(self) -> None:
        """Let everybody go on, whoever closed it. Harmless if it is open."""
        await self._client.delete(self.name)

    async def wait(self, *, timeout: float | None = None) -> None:
        """
        Wait until the barrier is open, or for *timeout* seconds. Any number may wait.

        Raises:
            BarrierTimeout: It stayed closed.
        """
        check_patience(timeout)
        with anyio.move_on_after(timeout) as limit:
            while await self._is_closed():
                pass
        if limit.cancelled_caught:
            raise BarrierTimeout(f"barrier {self.name!r} stayed closed for {timeout:g} s")

    async def _is_closed(self) -> bool:
        """Return False if it is open, or was opened after a wait."""
        found = await look(self._client, ops.range(start=self.name, end=self.name + b"\x00", keys_only=True))
        if not found:
            return False
        with suppress(Compacted):  # looked at again
            await until_event(self._client, self.name, found.revision, but="no_put")
            return False
        return True
