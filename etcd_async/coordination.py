"""What several processes do together, by name: each method makes what a module of `etcd_async.recipes` holds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from etcd_async._loss import OnLoss
from etcd_async.options import CLIENT_DEFAULT, DEFAULT_LEASE_TTL, Timeout
from etcd_async.recipes.barrier import Barrier
from etcd_async.recipes.double_barrier import DoubleBarrier
from etcd_async.recipes.election import Election
from etcd_async.recipes.lock import Lock
from etcd_async.recipes.queue import PriorityQueue, Queue
from etcd_async.recipes.rwlock import RWLock
from etcd_async.recipes.semaphore import Semaphore
from etcd_async.recipes.stm import Isolation, StmResult, Transaction, run
from etcd_async.services import Services

__all__ = ["Coordination"]

_T = TypeVar("_T")


class Coordination(Services):
    """Transactions of functions, locks, elections and the like, under one namespace; a part of `Namespace`."""

    async def stm(
        self,
        function: Callable[[Transaction], Awaitable[_T]],
        *,
        isolation: Isolation = "serializable_snapshot",
        prefetch: Iterable[str | bytes] = (),
        max_attempts: int | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> StmResult[_T]:
        """
        Run an async function of a `Transaction` and write what it wrote at once, if nobody changed what it relies on.

        If somebody did, it runs again, on what is there then, until it gets through. So it should do nothing but read,
        write and compute: whatever else it does is done each time. An error that it raises ends the transaction, which
        has then changed nothing.

        Args:
            function: ``async def move(t): t.put("b", (await t.get("a")).value); t.delete("a")``
            isolation: What must be unchanged at the commit. ``"serializable_snapshot"``: all that was read or written
                (but what is only written may have been deleted meanwhile).
                ``"serializable"``: all that was read; it is of one revision. ``"repeatable_reads"``: the same, but an
                attempt may see keys of different revisions before it fails. ``"read_committed"``: nothing, so changes
                by others may be overwritten.
            prefetch: Keys to read together beforehand, as the function is going to read them anyway.
            max_attempts: How often the function may run; None for no limit.
            timeout: Seconds for each read and for the commit; None for no limit.

        Returns:
            What the function returned, and the revision of the commit.

        Raises:
            TooManyConflicts: *max_attempts* was not enough; nothing was changed.
            TooManyOps: More keys were read, or written, than a transaction may name (128 unless configured); nothing
                was changed.
            EtcdError: The commit failed. With ``maybe_applied`` its outcome is unknown, and so it is not repeated: the
                function should read what tells whether it was carried out before it is run again.
        """
        return await run(
            self, function, isolation=isolation, prefetch=prefetch, max_attempts=max_attempts, timeout=timeout
        )

    def lock(
        self,
        name: str | bytes,
        *,
        ttl: float = DEFAULT_LEASE_TTL,
        timeout: float | None = None,
        on_loss: OnLoss = "cancel",
    ) -> Lock:
        """
        Make a `Lock`: ``async with client.lock("jobs/cleanup", ttl=10) as lock`` enters holding it.

        Args:
            name: Of the lock, the same for all who want it; its keys are ``<name>/...`` under the namespace.
            ttl: Seconds after which others may enter when the holder has died; etcd's minimum is about 2.
            timeout: Seconds to wait at most, with a `LockTimeout`; None for no limit, 0 for not at all. Taking the
                attempt back comes on top: up to 2 s if no server answers.
            on_loss: If the lock is lost, ``"cancel"`` the body and raise `LockLost`, or only ``"signal"`` it.
        """
        return Lock(self, name, ttl=ttl, timeout=timeout, on_loss=on_loss)

    def election(self, name: str | bytes, *, identity: str | bytes = b"", ttl: float = DEFAULT_LEASE_TTL) -> Election:
        """
        Make an `Election`: ``async with client.election("leader", identity="n1").campaign()`` enters as leader.

        *identity* is what the candidate says on winning; when the leader has died, the next leads after *ttl* seconds.
        """
        return Election(self, name, identity=identity, ttl=ttl)

    def rwlock(
        self,
        name: str | bytes,
        *,
        ttl: float = DEFAULT_LEASE_TTL,
        timeout: float | None = None,
        on_loss: OnLoss = "cancel",
    ) -> RWLock:
        """
        Make an `RWLock`: ``async with client.rwlock("table").read()``, or ``.write()``, enters holding it.

        *ttl*, *timeout* and *on_loss* are those of `lock`.
        """
        return RWLock(self, name, ttl=ttl, timeout=timeout, on_loss=on_loss)

    def semaphore(
        self,
        name: str | bytes,
        *,
        limit: int,
        ttl: float = DEFAULT_LEASE_TTL,
        timeout: float | None = None,
        on_loss: OnLoss = "cancel",
    ) -> Semaphore:
        """
        Make a `Semaphore`: ``async with client.semaphore("workers", limit=3)`` enters as one of three at most.

        All who use it must give the same *limit*. *ttl*, *timeout* and *on_loss* are those of `lock`.
        """
        return Semaphore(self, name, limit=limit, ttl=ttl, timeout=timeout, on_loss=on_loss)

    def barrier(self, name: str | bytes) -> Barrier:
        """Make a `Barrier`: ``await client.barrier("migrated").wait()`` waits for as long as somebody holds it."""
        return Barrier(self, name)

    def double_barrier(
        self,
        name: str | bytes,
        count: int,
        *,
        ttl: float = DEFAULT_LEASE_TTL,
        timeout: float | None = None,
        on_loss: OnLoss = "cancel",
    ) -> DoubleBarrier:
        """
        Make a `DoubleBarrier`: ``async with client.double_barrier("step", 3)`` enters and leaves with two others.

        *count* is how many enter together. A member that has died counts as having left after *ttl* seconds. *timeout*
        is for entering and again for leaving, with a `BarrierTimeout`; *on_loss* is that of `lock`, with `BarrierLost`.
        """
        return DoubleBarrier(self, name, count, ttl=ttl, timeout=timeout, on_loss=on_loss)

    def queue(self, name: str | bytes, *, ttl: float = DEFAULT_LEASE_TTL) -> Queue:
        """
        Make a `Queue`: ``await client.queue("jobs").put("1")``, and ``async with client.queue("jobs").claim()``.

        An item whose consumer has died comes back after *ttl* seconds.
        """
        return Queue(self, name, ttl=ttl)

    def priority_queue(self, name: str | bytes, *, ttl: float = DEFAULT_LEASE_TTL) -> PriorityQueue:
        """Make a `PriorityQueue`: a `queue` whose ``put`` takes a *priority*, the lowest of which comes first."""
        return PriorityQueue(self, name, ttl=ttl)
