"""Leader election: a queue of candidates, of whom the first leads."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import cached_property
from types import TracebackType
from typing import Self

import anyio

from etcd_async import ops
from etcd_async._keys import check_patience, to_bytes, to_key
from etcd_async._loss import Guard, OnLoss, check_on_loss, guarding
from etcd_async.errors import ElectionTimeout, LeadershipLost, LeaseNotFound
from etcd_async.lease import check_ttl
from etcd_async.options import CLIENT_DEFAULT, Timeout
from etcd_async.recipes._contest import Contender
from etcd_async.recipes._fence import Fence
from etcd_async.recipes._follow import Follow
from etcd_async.recipes._standing import Standing
from etcd_async.recipes.ticket import Ticket
from etcd_async.services import Services
from etcd_async.types import KeyValue

__all__ = ["Election", "Leadership"]


class Election:
    """
    One election: candidates campaign for it, anybody may observe it; made by ``client.election(name)``.

    Args:
        client: The client.
        name: The election's name: its candidates' keys are ``<name>/<lease id>``, as those of etcd's own ``Election``.
            All keys under ``<name>/`` are candidates: keep others, and elections named ``<name>/...``, out of there.
        identity: What this candidate proclaims on winning.
        ttl: Seconds after which the next one leads when the leader has died; etcd's minimum is about 2.
    """

    def __init__(self, client: Services, name: str | bytes, *, identity: str | bytes, ttl: float) -> None:
        self.name: bytes = to_key(name, "name")
        self.identity: bytes = to_bytes(identity, "identity")
        self._client = client
        self._ttl = check_ttl(ttl)

    def campaign(self, *, timeout: float | None = None, on_loss: OnLoss = "cancel") -> Leadership:
        """
        Stand for leader: ``async with election.campaign() as leadership`` enters on winning.

        When the leadership is lost the body is cancelled and `LeadershipLost` raised; with ``on_loss="signal"`` only
        ``is_lost`` and ``lost`` tell. Leaving the body resigns. *timeout* limits the wait, with an `ElectionTimeout`; 0
        stands only if there is no other candidate.
        """
        contender = Contender(self._client, self._prefix, self._ttl, LeadershipLost)
        return Leadership(self._client, contender, self.identity, timeout=timeout, on_loss=on_loss)

    def resume(self, ticket: Ticket, *, timeout: float | None = None, on_loss: OnLoss = "cancel") -> Leadership:
        """
        Go on as the candidate that *ticket* stands for: ``async with election.resume(ticket) as leadership``.

        A leader goes on leading, with the same fencing token and the word it proclaimed last; a candidate that waited
        goes on waiting in its place. The process that had the place must have ended, or suspended its leadership: two
        that resume the same ticket would both lead. *timeout* and *on_loss* are those of `campaign`.

        Entering raises `LeadershipLost` if the place is gone: the lease ran out meanwhile, or somebody deleted the key.

        Raises:
            ValueError: The ticket is of another election.
        """
        if ticket.key != self._prefix + f"{ticket.lease:x}".encode():
            raise ValueError(f"{ticket} is not of the election {self.name!r}")
        contender = _Returning(self._client, self._prefix, ticket)
        return Leadership(self._client, contender, b"", timeout=timeout, on_loss=on_loss)

    async def leader(self, *, timeout: Timeout = CLIENT_DEFAULT) -> bytes | None:
        """Return what the leader has proclaimed, or None if there is no leader; *timeout* as for a read."""
        leading = await self.leading(timeout=timeout)
        return leading.value if leading is not None else None

    async def leading(self, *, timeout: Timeout = CLIENT_DEFAULT) -> KeyValue | None:
        """
        Return the leader's key, or None if there is no leader.

        Its value is the word that `leader` returns, its ``create_revision`` the leader's fencing token, its
        ``mod_revision`` when it proclaimed that word, and its ``lease`` what it lives on. *timeout* is as for a read.
        """
        found = await self._client.range(prefix=self._prefix, sort_by="create_revision", limit=1, timeout=timeout)
        return found[0] if found else None

    async def observe(self) -> AsyncGenerator[bytes, None]:
        """
        Iterate over what leaders proclaim: first the present leader's word, then each change of leader or word.

        A time without a leader is not told (ask `leader`). Changes that etcd reports together may be told as one, but
        the last one always is.
        """
        seen: KeyValue | None = None
        async with Follow(self._client, self._prefix) as candidates:
            while True:
                await candidates.next()
                leader = min(candidates.state.values(), key=lambda kv: kv.create_revision, default=None)
                if leader is not None and leader != seen:
                    seen = leader
                    yield leader.value

    @property
    def _prefix(self) -> bytes:
        return self.name + b"/"


class Leadership(Standing[LeadershipLost]):
    """A candidacy, and on winning the leader's term; made by `Election.campaign`."""

    _contender: Contender[LeadershipLost]

    def __init__(
        self,
        client: Services,
        contender: Contender[LeadershipLost],
        value: bytes,
        *,
        timeout: float | None,
        on_loss: OnLoss,
    ) -> None:
        check_on_loss(on_loss)
        check_patience(timeout)
        self._client = client
        self._contender = contender
        self._value = value
        self._timeout = timeout
        self._guard = Guard(contender.loss, on_loss)
        self._is_entered = self._is_over = False

    @property
    def ticket(self) -> Ticket:
        """
        What to store to go on after a restart: see `Election.resume`. It is the same for the whole term.

        It must be stored when the process may be killed; one that ends in an orderly way can `suspend`.
        """
        return Ticket(self.key, self._present.lease.id, self._present.revision)

    async def suspend(self) -> Ticket:
        """
        Stop keeping the place, without giving it up, and return the ticket with which another process resumes it.

        Nobody else leads until the lease has run out, and nobody acts as the leader until then: not this body either,
        which should end. A leadership that was resigned or lost can't be suspended.

        Raises:
            LeadershipLost: It is lost.
            RuntimeError: It was resigned, or suspended.
        """
        if self._is_over:
            raise RuntimeError("the term is over")
        if self.is_lost:
            raise self._contender.loss.reason or LeadershipLost("its lease's term has passed")
        ticket = self.ticket
        self._contender.lease.leave_standing()
        await self.resign()
        return ticket

    async def proclaim(self, value: str | bytes, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """
        Say something new as the leader; observers see it.

        What seemed not to be said (`Unavailable`, `DeadlineExceeded`) may still be, but not after what was said later.

        Args:
            value: What to say.
            timeout: Seconds; None for no limit.

        Raises:
            LeadershipLost: The term is over; nothing was said.
        """
        word = to_bytes(value)
        if self._is_over:  # the key may stand all the same: suspended, it is for another process to speak
            raise LeadershipLost("the term is over")
        said = ops.put(self.key, word, lease=self._present.lease)
        if not await self._fence.write([said], timeout=timeout):
            raise LeadershipLost("its key was deleted")
        self._value = word

    async def resign(self) -> None:
        """Let the next candidate lead before the body ends. Harmless if that happened already."""
        self._is_over = True
        await self._contender.leave()

    async def __aenter__(self) -> Self:
        if self._is_entered:
            raise RuntimeError("a candidacy can be entered once: make another with election.campaign()")
        self._is_entered = True
        try:
            await self._win()
        except BaseException:
            await self.resign()
            raise
        self._guard.open()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            swallowed = self._guard.close(exc_type, exc, traceback)
        finally:
            await self.resign()
        self._guard.raise_loss(exc, swallowed)

    @property
    def _present(self) -> Contender[LeadershipLost]:
        if not self._contender.key:
            raise RuntimeError("enter the candidacy first: async with election.campaign() as leadership")
        return self._contender

    @cached_property
    def _fence(self) -> Fence:
        token = self.fencing_token
        return Fence(self._client, self.key, lambda kv: kv is not None and kv.create_revision == token, seen=token)

    async def _win(self) -> None:
        if self._timeout == 0:
            if not await self._contender.try_join(self._value):
                raise ElectionTimeout("others are ahead")
            return
        with anyio.move_on_after(self._timeout) as limit:
            await self._contender.join(self._value)
            await self._contender.wait_turn()
        if limit.cancelled_caught:
            raise ElectionTimeout(f"not elected within {self._timeout:g} s: {self._contender.hindrance}")


class _Returning(Contender[LeadershipLost]):
    """A candidate whose place in the queue is there already, left by another process."""

    def __init__(self, client: Services, prefix: bytes, ticket: Ticket) -> None:
        super().__init__(client, prefix, 1, LeadershipLost)
        self._ticket = ticket

    async def join(self, value: bytes = b"") -> None:
        """Take the place over as it is; raises `LeadershipLost` if it is gone."""
        await self._take_over()
        self._guard_key()

    async def try_join(self, value: bytes = b"") -> bool:
        """Take the place over as it is, and return whether nobody is ahead."""
        await self.join()
        with self.being_kept():
            return await self._predecessor() is None

    async def _take_over(self) -> None:
        ticket = self._ticket
        lease = self._client.keep_lease(ticket.lease, on_loss="signal")
        try:
            self._lease = await self._stack.enter_async_context(lease)
        except LeaseNotFound as error:
            raise LeadershipLost("its lease has ended") from error
        self.key, self.revision = ticket.key, ticket.revision
        lease.loss.tell(self._lose_lease)
        with guarding(self.loss):
            await self._still_there()
