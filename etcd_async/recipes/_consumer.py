"""
A consumer of a queue: it claims the first item that nobody has, or waits in line for one.

Claiming is one transaction that puts the claim's key, on the consumer's lease, if there is none on the item. A consumer
that finds nothing stands in line. Only the first few in line watch for items, so that an item wakes a few, not all.
"""

from __future__ import annotations

from contextlib import suppress

from etcd_async import ops
from etcd_async.errors import ClaimLost, Compacted
from etcd_async.options import CLIENT_DEFAULT, Timeout
from etcd_async.recipes._contest import SILENCE, Contender, look, until_gone
from etcd_async.recipes._queue_keys import QueueKeys
from etcd_async.services import Services
from etcd_async.types import KeyValue, OpResult, TxnResult

__all__ = ["Consumer"]

_AWAKE = 3  # consumers that watch for items; the others wait for one of these to go. More than one, as one may be dead
_PAGE = 32  # keys of claims and items that are read at first
_TRIES = 4  # items that one transaction tries to claim, since others may be about to claim the first ones;
_MOST_TRIES = 16  # more where there are more of them


class Consumer(Contender[ClaimLost]):
    """
    One consumer, from looking for an item to the end of its claim.

    Attributes:
        item: What it has claimed; None before that.
    """

    def __init__(self, client: Services, keys: QueueKeys, ttl: float) -> None:
        super().__init__(client, keys.line, ttl, ClaimLost)
        self.item: KeyValue | None = None
        self._keys = keys
        self._seen = 0  # the revision as of which there was nothing to claim
        self._rivals = 0  # how many others had a claim then, and may be back for the next item

    @property
    def hindrance(self) -> str:
        return "there was nothing to claim" if self._seen else SILENCE

    async def try_take(self) -> bool:
        """Claim the first item, and return True; False if there is none."""
        await self._take_lease()
        with self.being_kept():
            return await self._take_first()

    async def take(self) -> None:
        """Claim the first item, as soon as there is one."""
        if await self.try_take():
            return
        with self.being_kept():
            await self._stand_in_line()
            while not await self._take_first():
                with suppress(Compacted):  # it looks again in any case
                    await self._until_something_is_free()

    async def settle(self, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Delete the item and the claim; raises the loss if it is not this one's any more."""
        if self.loss.reason is not None:
            raise self.loss.reason
        assert self.item is not None, "take first"
        self.retire()
        done = [ops.delete(self.item.key), ops.delete(self.key)]
        result = await self._client.txn([self.owned], done, timeout=timeout)
        if not result.succeeded:
            raise ClaimLost("its key was deleted")

    async def _take_first(self) -> bool:
        tries = _TRIES
        while available := await self._available():
            if await self._take(available[: min(tries + self._rivals, _MOST_TRIES)]):
                return True
            tries *= 2
        return False

    async def _available(self) -> list[KeyValue]:
        """Return the first items that nobody has claimed, if there are any as of `_seen`."""
        first, end = self._keys.watched
        limit = _PAGE
        while True:
            found = await look(self._client, ops.range(start=first, end=end, limit=limit, keys_only=True))
            self._seen = found.revision
            self._rivals = sum(kv.key.startswith(self._keys.claims) for kv in found)
            unclaimed = self._keys.unclaimed(found)
            if unclaimed or not found.more:
                return unclaimed
            limit *= 4

    async def _take(self, items: list[KeyValue]) -> bool:
        """Claim the first of *items* that nobody else has, and leave the line; return False if others were faster."""
        result = await self._client.do(self._claim_first_of(items))
        branch: OpResult = result
        for item in items:
            assert isinstance(branch, TxnResult), "one for each item, inside each other"
            if branch.succeeded:
                self._hold(item.key, branch.results[-1], result.revision)
                return True
            branch = branch.results[0] if branch.results else None
        return False

    def _claim_first_of(self, items: list[KeyValue]) -> ops.Txn:
        """Return a transaction that claims the first that can be: whoever comes at the same time gets the next one."""
        item, rest = items[0], items[1:]
        claims = self._keys.claims_on(item.key)
        when = [ops.create_revision(item.key) == item.create_revision, ops.create_revision(prefix=claims) == 0]
        then: list[ops.Op] = [
            ops.put(claims + self._hex_id, b"", lease=self.lease),
            ops.delete(self._keys.line + self._hex_id),
            ops.get(item.key),
        ]
        return ops.txn(when, then, [self._claim_first_of(rest)] if rest else [])

    def _hold(self, item: bytes, found: OpResult, revision: int) -> None:
        assert isinstance(found, KeyValue), "compared in the transaction"
        self._stand_on(self._keys.claims_on(item) + self._hex_id, revision)
        self.item = found

    async def _stand_in_line(self) -> None:
        """Wait until fewer than so many as are to be awake wait for longer."""
        place = await self._client.put(self._keys.line + self._hex_id, b"", lease=self.lease)
        before = ops.range(
            prefix=self._keys.line,
            max_create_revision=place.revision - 1,
            sort_by="create_revision",
            keys_only=True,
        )
        while len(ahead := await look(self._client, before)) >= _AWAKE:
            with suppress(Compacted):  # the line is looked at again in any case
                waiting = {kv.key for kv in ahead}
                await until_gone(self._client, self._keys.line, waiting, ahead.revision, leaving=_AWAKE - 1)

    async def _until_something_is_free(self) -> None:
        first, end = self._keys.watched
        watching = self._client.watch(start=first, end=end, start_revision=self._seen + 1, timeout=None)
        async with watching as watch:
            async for batch in watch.batches():
                if self._keys.frees(batch):
                    return

    @property
    def _hex_id(self) -> bytes:
        return f"{self.lease.id:x}".encode()
