"""A fair semaphore: so many holders at a time, in the order in which they came."""

from __future__ import annotations

from contextlib import suppress

from etcd_async import ops
from etcd_async._keys import prefix_end, to_key
from etcd_async._loss import OnLoss
from etcd_async.errors import Compacted, LimitMismatch, LockLost
from etcd_async.lease import check_ttl
from etcd_async.recipes._contest import Contender, is_empty, look, until_gone
from etcd_async.recipes.holding import Holding
from etcd_async.services import Services

__all__ = ["Semaphore"]


class Semaphore(Holding):
    """
    At most *limit* holders at a time, first come, first served; made by ``client.semaphore(name, limit=3)``.

    See `Holding` for the rest. An object takes one permit; make another for each. All who hold or wait must give the
    same limit: acquiring with another one is refused with `LimitMismatch` until all of them have gone.

    Whoever leaves is told to all who wait, so that none of them depends on another one's coming forward: this is for
    hundreds of waiters, not for many thousands.

    Args:
        client: The client.
        name: The semaphore's name: its contenders' keys are ``<name>/<limit>/<lease id>``. Keep other keys out of
            ``<name>/``.
        limit: How many may enter, 1 or more.
        ttl: Seconds after which another may enter when a holder has died; etcd's minimum is about 2.
        timeout: Seconds to wait at most; None for no limit, 0 to enter only if that needs no waiting.
        on_loss: ``"cancel"`` or ``"signal"``.
    """

    def __init__(
        self,
        client: Services,
        name: str | bytes,
        *,
        limit: int,
        ttl: float,
        timeout: float | None = None,
        on_loss: OnLoss = "cancel",
    ) -> None:
        self.name: bytes = to_key(name, "name")
        self.limit: int = ops.at_least(limit, "limit", 1)
        self._client = client
        self._ttl = check_ttl(ttl)
        super().__init__(f"semaphore {self.name!r}", self._enlist, timeout=timeout, on_loss=on_loss)

    def _enlist(self) -> Contender[LockLost]:
        return _Permit(self._client, self.name, self.limit, self._ttl)


class _Permit(Contender[LockLost]):
    """A contender that may go ahead as soon as fewer than *limit* are before it."""

    def __init__(self, client: Services, name: bytes, limit: int, ttl: float) -> None:
        self._all = name + b"/"
        self._limit = limit
        self._place = self._all + b"%d/" % limit
        super().__init__(client, self._place, ttl, LockLost)

    async def join(self, value: bytes = b"") -> None:
        """Take a place at the end of the queue; raises `LimitMismatch` if there is one for another limit."""
        after, end = prefix_end(self._place), prefix_end(self._all)
        while not await self.join_if([is_empty(self._all, self._place), is_empty(after, end)], value):
            await self._check_limit()

    async def try_join(self, value: bytes = b"") -> bool:
        """Take a place, and return whether it is one that need not wait. If not, `leave`."""
        await self.join(value)
        with self.being_kept():
            ahead, _ = await self._those_ahead()
        return len(ahead) < self._limit

    async def _comes_forward(self) -> bool:
        ahead, revision = await self._those_ahead()
        if len(ahead) < self._limit:
            return True
        with suppress(Compacted):  # the queue is looked at again in any case
            # Nobody else can get ahead, so those who are there need only be counted down.
            await until_gone(self._client, self._place, ahead, revision, leaving=self._limit - 1)
        return False

    async def _those_ahead(self) -> tuple[set[bytes], int]:
        """Return the keys before this one, and as of which revision."""
        up_to_own = ops.range(
            prefix=self._place,
            max_create_revision=self.revision,
            sort_by="create_revision",
            descending=True,
            keys_only=True,
        )
        queue = await look(self._client, up_to_own)
        self.check_own(queue)
        return {kv.key for kv in queue[1:]}, queue.revision

    async def _check_limit(self) -> None:
        for kv in await look(self._client, ops.range(prefix=self._all, keys_only=True)):
            if not kv.key.startswith(self._place):
                used, _, _ = kv.key[len(self._all) :].partition(b"/")
                name = self._all[:-1]
                raise LimitMismatch(
                    f"semaphore {name!r} is in use with the limit {used.decode(errors='replace')}, not {self._limit}"
                )
