"""A barrier that holds everybody up until it is released."""

from __future__ import annotations

from contextlib import suppress

import anyio

from etcd_async import ops
from etcd_async._keys import check_patience, to_key
from etcd_async.errors import BarrierTimeout, Compacted, KeyExists
from etcd_async.options import CLIENT_DEFAULT, Timeout
from etcd_async.recipes._contest import SILENCE, look, until_event
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

    async def hold(self, *, lease: ops.LeaseLike | None = None, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """
        Close the barrier, until somebody releases it, or *lease* ends; *timeout* is for the one call.

        Raises:
            KeyExists: It is closed already.
        """
        if not await self._client.put_if_absent(self.name, b"", lease=lease, timeout=timeout):
            raise KeyExists(f"barrier {self.name!r} is held already")

    async def release(self, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Let everybody go on, whoever closed it. Harmless if it is open."""
        await self._client.delete(self.name, timeout=timeout)

    async def wait(self, *, timeout: float | None = None) -> None:
        """
        Wait until the barrier is open, or for *timeout* seconds; with 0, only look. Any number may wait.

        A server that can't be reached is waited for as well, but when only looking.

        Raises:
            BarrierTimeout: It stayed closed.
        """
        check_patience(timeout)
        if timeout == 0:
            if await self._client.exists(self.name):
                raise BarrierTimeout(f"barrier {self.name!r} is closed")
            return
        revision = 0
        with anyio.move_on_after(timeout) as limit:
            while revision := await self._closed_at():
                with suppress(Compacted):  # looked at again
                    await until_event(self._client, self.name, revision, but="no_put")
                    break
        if limit.cancelled_caught:
            why = "it stayed closed" if revision else SILENCE
            raise BarrierTimeout(f"waited {timeout:g} s for barrier {self.name!r} in vain: {why}")

    async def _closed_at(self) -> int:
        """Return a revision at which it is closed, or 0 if it is open."""
        found = await look(self._client, ops.Range(self.name, keys_only=True))
        return found.revision if found else 0
