"""Leader election: a queue of candidates, of whom the first leads."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Self

import anyio

from etcd_async import ops
from etcd_async._keys import check_patience, to_bytes, to_key
from etcd_async._loss import Guard, OnLoss, check_on_loss
from etcd_async.errors import ElectionTimeout, LeadershipLost
from etcd_async.lease import check_ttl
from etcd_async.recipes._contest import Contender
from etcd_async.recipes._follow import Follow
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
        ``is_lost`` and ``lost`` tell. Leaving the body resigns. *timeout* limits the wait, with a `ElectionTimeout`.
        """
        contender = Contender(self._client, self._prefix, self._ttl, LeadershipLost)
        return Leadership(self._client, contender, self.identity, timeout=timeout, on_loss=on_loss)

    async def leader(self) -> bytes | None:
        """Return what the leader has proclaimed, or None if there is no leader."""
        found = await self._client.range(prefix=self._prefix, sort_by="create_revision", limit=1)
        return found[0].value if found else None

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


class Leadership:
    """A candidacy, and on winning the leader's term; made by `Election.campaign`."""

    def __init__(
        self, client: Services, contender: Contender, value: bytes, *, timeout: float | None, on_loss: OnLoss
    ) -> None:
        check_on_loss(on_loss)
        check_patience(timeout)
        self._client = client
        self._contender = contender
        self._value = value
        self._timeout = timeout
        self._guard = Guard(contender.loss, on_loss)

    @property
    def key(self) -> bytes:
        """The key that stands for this candidate."""
        return self._contender.key

    @property
    def fencing_token(self) -> int:
        """A number that is higher for each leader after the one before."""
        return self._contender.revision

    @property
    def owned(self) -> ops.Compare:
        """Holds in a transaction only while this candidate's key stands: for ``client.txn(when=[...])``."""
        return self._contender.owned

    @property
    def is_lost(self) -> bool:
        """True once the leadership was lost, other than by leaving."""
        return self._contender.is_lost

    async def lost(self) -> LeadershipLost:
        """Wait until the leadership is lost and return why."""
        reason = await self._contender.loss.wait()
        assert isinstance(reason, LeadershipLost)
        return reason

    async def proclaim(self, value: str | bytes) -> None:
        """
        Say something new as the leader; observers see it.

        Raises:
            LeadershipLost: The term is over; nothing was said.
        """
        word = to_bytes(value)
        result = await self._client.txn([self.owned], [ops.put(self.key, word, lease=self._contender.lease)])
        if not result.succeeded:
            raise LeadershipLost("its key was deleted")
        self._value = word

    async def resign(self) -> None:
        """Let the next candidate lead before the body ends. Harmless if that happened already."""
        await self._contender.leave()

    async def __aenter__(self) -> Self:
        try:
            with anyio.move_on_after(self._timeout) as limit:
                await self._contender.join(self._value)
                await self._contender.wait_turn()
            if limit.cancelled_caught:
                raise ElectionTimeout(f"others stayed ahead for {self._timeout:g} s")
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
