"""
A fair queue of contenders: what locks, elections, semaphores and barriers share.

Each contender is a key ``<prefix><lease id in hex>`` under a lease of its own, as in etcd's own recipes
(``client/v3/concurrency/mutex.go``), so they queue up with Go's. The key created first is the winner; every other
contender waits for the one just before it to go. The key dies with the lease, and the lease with the contender: leaving
is one revocation, which can't touch anybody else's key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import Final, Generic, TypeVar

from etcd_async import ops
from etcd_async._loss import Loss, guarding
from etcd_async.errors import Compacted, EtcdError, LeaseLost, LeaseNotFound
from etcd_async.lease import Lease
from etcd_async.recipes._patience import patiently
from etcd_async.services import Services
from etcd_async.types import KeyValue, RangeResult
from etcd_async.watch import Filter

__all__ = ["SILENCE", "Contender", "Lost", "is_empty", "look", "until_event", "until_gone"]

SILENCE: Final = "no server answered"  # why somebody waited in vain who never heard of others

Lost = TypeVar("Lost", bound=LeaseLost)


class Contender(Generic[Lost]):
    """
    One contender, from joining the queue to leaving it.

    Args:
        client: The client.
        prefix: What its key starts with.
        ttl: The term of its lease in seconds.
        lost: The class of the error that tells of a loss.
        ahead: What the keys of those start with that it queues up behind; by default *prefix*.

    Attributes:
        key: Its key; empty before it joined.
        revision: The revision that created the key: its place in the queue, and a token that only ever grows.
        loss: Fires when the lease or the key is lost, with an error of the class *lost*.
    """

    def __init__(
        self, client: Services, prefix: bytes, ttl: float, lost: type[Lost], *, ahead: bytes | None = None
    ) -> None:
        self.key: bytes = b""
        self.revision: int = 0
        self.loss: Loss = Loss()
        self._client = client
        self._prefix = prefix
        self._ahead = prefix if ahead is None else ahead
        self._ttl = ttl
        self._lost = lost
        self._lease: Lease | None = None
        self._unguard: Callable[[], None] = lambda: None
        self._stack = AsyncExitStack()

    @property
    def is_lost(self) -> bool:
        """True once the lease or the key is lost; see `Lease.is_lost` for a loop that was held up."""
        return self.loss.is_lost or (self._lease is not None and self._lease.is_lost)

    @property
    def owned(self) -> ops.Compare:
        """Holds in a transaction as long as the key is the one that this contender created."""
        return ops.create_revision(self.key) == self.revision

    @property
    def hindrance(self) -> str:
        """Why it is still waiting: for others, or since nobody has told it of any."""
        return "others stayed ahead" if self.revision else SILENCE

    @property
    def lease(self) -> Lease:
        """The lease that the key lives on."""
        assert self._lease is not None, "join first"
        return self._lease

    async def lost(self) -> Lost:
        """Wait until the lease or the key is lost and return why."""
        reason = await self.loss.wait()
        assert isinstance(reason, self._lost)
        return reason

    async def join(self, value: bytes = b"") -> None:
        """Take a place at the end of the queue."""
        await self.join_if([], value)

    async def try_join(self, value: bytes = b"") -> bool:
        """Join only if nobody would be ahead; return whether that was so. If not, `leave`."""
        return await self.join_if([ops.create_revision(prefix=self._ahead) == 0], value)

    async def join_if(self, when: Sequence[ops.Compare], value: bytes = b"") -> bool:
        """Join if all of *when* hold, in one transaction; return whether they did. If not, try again or `leave`."""
        if self._lease is None:
            await self._take_lease()
        absent = ops.create_revision(self.key) == 0
        place = ops.put(self.key, value, lease=self.lease)
        with self.being_kept():
            result = await self._client.txn([absent, *when], [place], [ops.get(self.key)])
        existing = None if result.succeeded else result.results[0]
        if not result.succeeded and existing is None:
            return False
        # The key is there already only if an answer was lost: it carries the id of a lease that nobody else knows.
        created = existing.create_revision if isinstance(existing, KeyValue) else result.revision
        self._stand_on(self.key, created)
        return True

    async def wait_turn(self) -> None:
        """Wait until nobody is ahead; raises the loss if the lease or the key is lost before that."""
        with self.being_kept():
            while not await self._comes_forward():
                pass

    async def leave(self) -> None:
        """Give up the place, first or not; never raises for an unreachable server: the lease runs out by itself."""
        await self._stack.aclose()

    def retire(self) -> None:
        """Have the loss of the key, which is about to be deleted, be none."""
        self._unguard()

    def check_own(self, found: RangeResult) -> None:
        """Take note of the loss unless the first key *found* is the one that this contender created."""
        if not found or found[0].create_revision != self.revision:
            self._lose("its key was deleted")

    @contextmanager
    def being_kept(self) -> Iterator[None]:
        """Cancel the block when the lease or the key is lost, and raise the loss."""
        try:
            with guarding(self.loss):
                yield
                if self.lease.is_lost:  # the answer was read late, by a loop or a machine that stood still
                    self._lose("its lease's term has passed")
        except LeaseNotFound as error:  # the server knows sooner than this side
            self._lose_lease(error)
            assert self.loss.reason is not None, "it was just lost"
            raise self.loss.reason from error

    async def _take_lease(self) -> None:
        lease = self._lease = await self._stack.enter_async_context(self._client.lease(self._ttl, on_loss="signal"))
        self.key = self._prefix + f"{lease.id:x}".encode()
        lease.loss.tell(self._lose_lease)

    def _stand_on(self, key: bytes, revision: int) -> None:
        """Take a key that was put, at *revision*, for this one's."""
        self.key, self.revision = key, revision
        self._guard_key()

    def _guard_key(self) -> None:
        guard = self._client.background("etcd_async.contender", self._notice_deletion)
        self._unguard = guard.cancel
        self._stack.callback(guard.cancel)

    async def _notice_deletion(self) -> None:
        revision = self.revision
        try:
            while not self.loss.is_lost:
                try:
                    await until_event(self._client, self.key, revision, but="no_put")
                except Compacted:
                    revision = await self._still_there()
                else:
                    self._lose("its key was deleted")
        except EtcdError as error:  # whether the key stands can't be told any more
            self._lose(f"its key can't be watched: {error}", error)

    async def _still_there(self) -> int:
        own = await look(self._client, ops.Range(self.key, keys_only=True))
        self.check_own(own)
        return own.revision

    async def _comes_forward(self) -> bool:
        """Return True if it is this one's turn; otherwise wait until that may have changed."""
        if (predecessor := await self._predecessor()) is None:
            return True
        with suppress(Compacted):  # the queue is looked at again in any case
            await until_event(self._client, *predecessor, but="no_put")
        return False

    async def _predecessor(self) -> tuple[bytes, int] | None:
        up_to_own = ops.range(
            prefix=self._ahead,
            max_create_revision=self.revision,
            sort_by="create_revision",
            descending=True,
            limit=2,
            keys_only=True,
        )
        queue = await look(self._client, up_to_own)
        if self.key.startswith(self._ahead):
            self.check_own(queue)
            earlier = queue.kvs[1:]
        elif not (earlier := queue.kvs):
            await self._still_there()  # nobody gets ahead afterwards
        return (earlier[0].key, queue.revision) if earlier else None

    def _lose_lease(self, reason: EtcdError) -> None:
        self._lose(f"its lease was lost: {reason}", reason)

    def _lose(self, why: str, cause: BaseException | None = None) -> None:
        error = self._lost(why)
        error.__cause__ = cause
        self.loss.fire(error)


async def look(client: Services, op: ops.Range) -> RangeResult:
    """
    Read, for as long as it takes: how long a server may be away is for a lease's term, or the caller, to say.

    A range, not a read-only transaction: etcd before 3.5.5 panics when one of those is cancelled while it runs, and
    waiting for a lock is what people cancel (https://github.com/etcd-io/etcd/issues/14110).
    """
    return await patiently(lambda: client.do(op, timeout=None))


async def until_event(client: Services, key: bytes, revision: int, *, but: Filter) -> None:
    """
    Wait until *key*, as it was at *revision*, is written or deleted, *but* leaving out one of the two.

    Raises:
        Compacted: What has happened since can't be told: look again.
    """
    async with client.watch(key, start_revision=revision + 1, filters=(but,), timeout=None) as watch:
        await anext(aiter(watch))


async def until_gone(client: Services, prefix: bytes, keys: set[bytes], revision: int, *, leaving: int = 0) -> None:
    """
    Wait until all but *leaving* of *keys*, which were there as of *revision*, are gone; they go from the set, too.

    Raises:
        Compacted: What has happened can't be told: look again.
    """
    watching = client.watch(prefix=prefix, start_revision=revision + 1, filters=("no_put",), timeout=None)
    async with watching as watch:
        while len(keys) > leaving:
            keys.discard((await anext(aiter(watch))).kv.key)


def is_empty(first: bytes, end: bytes) -> ops.Compare:
    """Hold in a transaction if there is no key from *first* on and before *end*."""
    return ops.Compare(first, end, ops.CompareTarget.CREATE, ops.CompareResult.EQUAL, 0)
