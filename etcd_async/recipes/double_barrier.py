"""A barrier that lets so many in together, and out together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import anyio

from etcd_async import ops
from etcd_async._finish import finish
from etcd_async._keys import check_patience, prefix_end, to_key
from etcd_async._loss import Guard, OnLoss, check_on_loss
from etcd_async.errors import (
    BarrierFull,
    BarrierLost,
    BarrierTimeout,
    ClientClosed,
    Compacted,
    EtcdError,
    LimitMismatch,
    Unavailable,
)
from etcd_async.lease import check_ttl
from etcd_async.recipes._contest import SILENCE, Contender, is_empty, look, until_event, until_gone
from etcd_async.recipes._standing import Losable
from etcd_async.services import Services
from etcd_async.types import KeyValue, RangeResult

__all__ = ["DoubleBarrier"]


class DoubleBarrier(Losable[BarrierLost]):
    """
    Lets *count* members in when all have come, and out when all are done; made by ``client.double_barrier(name, 3)``.

    ``async with`` waits on entering until *count* members are there, and on leaving until all have left or died. A body
    that ends in an exception leaves without waiting. When all have left, the barrier serves again.

    A member that dies while it waits to enter makes room for another; one that dies inside counts as having left. A
    member whose own lease is lost is told as a lock's holder is (see `Holding`), with `BarrierLost`.

    Args:
        client: The client.
        name: The barrier's name: its keys are ``<name>/waiters/<lease id>`` and ``<name>/ready``, laid out as those of
            etcd's own ``DoubleBarrier``. Keep others out of ``<name>/``.
        count: How many members; all must give the same.
        ttl: Seconds after which a member that has died no longer counts; etcd's minimum is about 2.
        timeout: Seconds to wait at most, on entering and again on leaving; None for no limit.
        on_loss: ``"cancel"`` or ``"signal"``.
    """

    def __init__(
        self,
        client: Services,
        name: str | bytes,
        count: int,
        *,
        ttl: float,
        timeout: float | None = None,
        on_loss: OnLoss = "cancel",
    ) -> None:
        check_on_loss(on_loss)
        check_patience(timeout)
        if timeout == 0:
            raise ValueError("timeout must be positive, or None for no limit: nobody enters without waiting for others")
        self.name: bytes = to_key(name, "name")
        self.count: int = ops.at_least(count, "count", 1)
        self._client = client
        self._ttl = check_ttl(ttl)
        self._timeout = timeout
        self._on_loss = on_loss
        self._waiters = self.name + b"/waiters/"
        self._ready = self.name + b"/ready"
        self._contender: Contender[BarrierLost] | None = None
        self._mark: KeyValue | None = None  # the key that says that the round is complete
        self._guard: Guard | None = None

    @property
    def key(self) -> bytes:
        """The key that stands for this member."""
        return self._present.key

    async def enter(self) -> None:
        """
        Wait until *count* members are there; `leave` afterwards. A loss is only signalled.

        Raises:
            BarrierFull: All members are there without this one, or the last ones have not left yet.
            BarrierTimeout: Not enough came in time; nothing of the attempt stays behind.
            BarrierLost: The lease was lost while waiting.
            LimitMismatch: Another member, who came before, gave another *count*.
        """
        if self._contender is not None or self._guard is not None:
            raise RuntimeError(f"this object for barrier {self.name!r} is in use: make another")
        member = self._contender = Contender(self._client, self._waiters, self._ttl, BarrierLost)
        try:
            with anyio.move_on_after(self._timeout) as limit:
                await self._join(member)
                self._mark = await self._opened_for(member)
            if limit.cancelled_caught:
                why = f"fewer than {self.count} came" if member.revision else SILENCE
                raise BarrierTimeout(f"barrier {self.name!r} was not entered within {self._timeout:g} s: {why}")
        except BaseException:
            await self._go()
            raise

    async def leave(self) -> None:
        """
        Leave, and wait until all others have left or died. Harmless if not inside.

        Raises:
            BarrierTimeout: Others stayed inside; this member has left.
        """
        if self._contender is None:
            return
        await self._go()
        with anyio.move_on_after(self._timeout) as limit:
            await self._all_gone()
        if limit.cancelled_caught:
            raise BarrierTimeout(f"others stayed in barrier {self.name!r} for {self._timeout:g} s")

    async def __aenter__(self) -> Self:
        await self.enter()
        self._guard = Guard(self._present.loss, self._on_loss)
        self._guard.open()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        guard, self._guard = self._guard, None
        assert guard is not None
        try:
            swallowed = guard.close(exc_type, exc, traceback)
        except BaseException:
            await self._go()
            raise
        if exc is None and not self.is_lost:
            await self.leave()
        else:
            await self._go()
        guard.raise_loss(exc, swallowed)

    @property
    def _present(self) -> Contender[BarrierLost]:
        if self._contender is None:
            raise RuntimeError(f"not inside of barrier {self.name!r}")
        return self._contender

    async def _join(self, member: Contender[BarrierLost]) -> None:
        """Join the round that gathers; none does from when one is complete until its last member has left."""
        while not await member.join_if([ops.create_revision(self._ready) == 0], b"%d" % self.count):
            # Members that died all could not take the mark with them.
            nobody = [ops.create_revision(prefix=self._waiters) == 0]
            found = await self._client.txn(nobody, [ops.delete(self._ready)], [ops.get(self._ready, keys_only=True)])
            if not found.succeeded and found.results[0] is not None:
                raise BarrierFull(f"barrier {self.name!r} is in use by {self.count} others")

    async def _opened_for(self, member: Contender[BarrierLost]) -> KeyValue:
        """
        Wait until the round is complete, and return the mark that says so.

        The one who finds itself the last makes the mark, with its own revision. As long as a member's key stands, the
        mark is not taken away (see `_go`), so each finds it, whatever was compacted.
        """
        with member.being_kept():
            while (mark := await self._mark_if_made(member)) is None:
                pass
        if member.revision > _last_in(mark):  # joined before the mark was made, but after those it counts
            raise self._full()
        return mark

    async def _mark_if_made(self, member: Contender[BarrierLost]) -> KeyValue | None:
        """Return the mark, or None after making it or waiting until it may have been made."""
        mark, members, revision = await self._look(member)
        if mark is not None:
            return mark
        if members > self.count:
            raise self._full()
        if members == self.count:
            await self._open(member)
        else:
            with suppress(Compacted):  # looked at again
                await until_event(self._client, self._ready, revision, but="no_delete")
        return None

    async def _look(self, member: Contender[BarrierLost]) -> tuple[KeyValue | None, int, int]:
        """Return the mark, how many members there are up to *member*, and as of which revision."""
        found = await look(self._client, ops.range(prefix=self.name + b"/"))
        present = {kv.key: kv for kv in found}
        member.check_own(RangeResult([kv for kv in found if kv.key == member.key]))
        waiters = [kv for kv in found if kv.key.startswith(self._waiters)]
        self._check_count(waiters)
        return present.get(self._ready), sum(kv.create_revision <= member.revision for kv in waiters), found.revision

    def _check_count(self, waiters: Sequence[KeyValue]) -> None:
        """Raise if the first of the round waits for another number; members by etcd's own recipe don't tell theirs."""
        theirs = min(waiters, key=lambda kv: kv.create_revision).value if waiters else b""
        if theirs.isdigit() and int(theirs) != self.count:
            raise LimitMismatch(f"barrier {self.name!r} is in use with the count {int(theirs)}, not {self.count}")

    async def _open(self, member: Contender[BarrierLost]) -> None:
        when = [member.owned, ops.create_revision(self._ready) == 0]
        try:
            await self._client.txn(when, [ops.put(self._ready, str(member.revision))])
        except EtcdError as error:  # whether that was done, the next look tells
            if not (error.maybe_applied or isinstance(error, Unavailable)):
                raise

    async def _go(self) -> None:
        """Take this member's key away, and as the last one the mark with it; carried out also if that is cancelled."""
        member, self._contender = self._contender, None
        if member is None:
            return
        member.retire()
        try:
            if member.key:
                await finish(self._client.background("etcd_async.barrier", lambda: self._take_away(member)))
        except ClientClosed:
            return
        finally:
            await member.leave()

    async def _take_away(self, member: Contender[BarrierLost]) -> None:
        key = member.key
        end = prefix_end(self._waiters)
        alone = [is_empty(self._waiters, key), is_empty(key + b"\x00", end)]
        with suppress(EtcdError):  # the lease takes the key in any case; and the next to come the mark, see _join
            await self._client.txn(alone, [ops.delete(key), ops.delete(self._ready)], [ops.delete(key)])

    async def _all_gone(self) -> None:
        """Wait until no member of the round is left, and take the mark away if the last of them died."""
        assert self._mark is not None, "enter first"
        while True:
            found = await look(self._client, ops.range(prefix=self.name + b"/", keys_only=True))
            waiters = [kv for kv in found if kv.key.startswith(self._waiters)]
            inside = {kv.key for kv in waiters if kv.create_revision <= _last_in(self._mark)}
            if not inside:
                break
            with suppress(Compacted):  # looked at again
                await until_gone(self._client, self._waiters, inside, found.revision)
        if any(kv.create_revision == self._mark.create_revision for kv in found):
            is_ours = ops.create_revision(self._ready) == self._mark.create_revision
            with suppress(EtcdError):  # then the next to come takes it away, see _join
                await self._client.txn([is_ours], [ops.delete(self._ready)])

    def _full(self) -> BarrierFull:
        return BarrierFull(f"barrier {self.name!r} has its {self.count} members")


def _last_in(mark: KeyValue) -> int:
    """Return which member was the last, as the mark says; etcd's own recipe leaves it empty."""
    return int(mark.value) if mark.value.isdigit() else mark.create_revision
