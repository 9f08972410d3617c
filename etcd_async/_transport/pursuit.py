"""What follows the first attempt of a call: where the next one goes, when, and what is learned from the last."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from random import Random
from typing import TypeVar

import anyio

from etcd_async._loss import stop_if_lost
from etcd_async._protocol.endpoints import Endpoint
from etcd_async._protocol.headers import Metadata
from etcd_async._protocol.retry import Action, Budget, Decision, Outcome
from etcd_async._transport.attempts import Call, outcome_of, reason_of
from etcd_async._transport.channel import Channel
from etcd_async._transport.failure import AttemptFailed
from etcd_async._transport.metadata import COMMON_METADATA, HAS_LEADER
from etcd_async._transport.methods import Kind
from etcd_async._transport.roster import Roster
from etcd_async._transport.stream import Stream
from etcd_async._transport.token import Token
from etcd_async.errors import ClientClosed, DeadlineExceeded, EtcdError, RpcError, StatusCode

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """Where an attempt goes, and as whom."""

    endpoint: Endpoint
    channel: Channel
    metadata: Metadata

    async def open(self, call: Call, limit: int | None, now: float) -> Stream:
        """Open the stream of *call*, for messages of at most *limit* bytes if there is one."""
        metadata = self.metadata + HAS_LEADER if call.method.kind is Kind.DUPLEX else self.metadata
        with anyio.move_on_after(call.remaining(now)):
            return await self.channel.open(
                call.method.path, metadata=metadata, patience=call.patience(now), limit=limit
            )
        raise DeadlineExceeded("the deadline passed while connecting")

    async def ask(self, call: Call, payload: bytes, now: float) -> bytes:
        """Open a duplex stream for one request, and return its first answer."""
        path, until, patience = call.method.path, call.until(now), call.patience(now)
        stream = await self.channel.open(path, metadata=self.metadata, deadline=until, patience=patience)
        try:
            stream.send(payload)  # not its end: etcd's proxy would take that for a farewell
            answer = await stream.receive()
        finally:
            stream.cancel()
        if answer is None:
            raise AttemptFailed(self.endpoint.text, "the server ended the stream without an answer", sent=True)
        return answer


class Pursuit:
    """
    The means of all calls of one client to go on after a failure.

    Args:
        roster: Where attempts may go.
        token: What they carry.
        budget: What they may cost.
        clock: Monotonic seconds.
        random: For jitter.
    """

    def __init__(
        self, roster: Roster, token: Token, *, budget: Budget, clock: Callable[[], float], random: Random
    ) -> None:
        self.roster = roster
        self.budget = budget
        self.clock = clock
        self._token = token
        self._random = random
        self._closed = asyncio.Event()

    async def attempts(self, call: Call, attempt: Callable[[Place], Awaitable[T]]) -> T:
        """Make attempts, one after the other, until one succeeds or no other may be made."""
        await stop_if_lost()
        while True:
            try:
                await self.ready(call)
                at = self.place(call, call.tried)
            except EtcdError as error:  # earlier attempts may have been carried out all the same
                raise call.final(error) from error.__cause__
            try:
                result = await attempt(at)
            except (EtcdError, AttemptFailed) as error:
                failure = error
            else:
                return result
            await self.recover(call, at, failure)

    async def ready(self, call: Call) -> None:
        """Wait for a token, if *call* needs one."""
        if call.method.needs_token and not self._token.is_current:
            await self._token.ready(call.remaining(self.clock()))

    def place(self, call: Call, excluding: Collection[Endpoint]) -> Place:
        """Return where the next attempt of *call* goes."""
        return self.place_at(call, call.only or self.roster.pool.choose(excluding))

    def place_at(self, call: Call, endpoint: Endpoint) -> Place:
        """Return *endpoint* as a place for an attempt of *call*, with the present token."""
        metadata = self._token.metadata if call.method.needs_token else COMMON_METADATA
        return Place(endpoint, self.roster.channel(endpoint), metadata)

    async def recover(self, call: Call, at: Place, error: EtcdError | AttemptFailed) -> None:
        """Wait until the next attempt is due; raise if there is none."""
        decision = self.failed(call, at, error)
        if decision.action is Action.GIVE_UP:
            raise call.final(error) from error.__cause__
        await self.prepare(call, decision, error)

    async def prepare(self, call: Call, decision: Decision, error: EtcdError | AttemptFailed) -> None:
        """Wait until the attempt that *decision* is for is due, and paid for."""
        await self._pause(call, decision.delay, error)
        while not self.pays(decision):
            await self._pause(call, self.till_paid(), error)

    def pays(self, decision: Decision) -> bool:
        """Pay for another attempt, if it costs anything; False if nothing is left."""
        return not decision.has_cost or self.budget.spend(self.clock())

    def till_paid(self) -> float:
        """Return after how many seconds to try to pay again."""
        return self.budget.pause(self._random)

    async def _pause(self, call: Call, delay: float, error: EtcdError | AttemptFailed) -> None:
        """Wait, but neither past the end of the client, nor for a time at which the call has to be over."""
        remaining = call.remaining(self.clock())
        if remaining is not None and remaining <= delay:
            raise call.final(error) from error.__cause__
        if delay:
            with anyio.move_on_after(delay):
                await self._closed.wait()
        if self._closed.is_set():
            raise call.final(ClientClosed())

    def failed(self, call: Call, at: Place, error: EtcdError | AttemptFailed) -> Decision:
        """Take note of a failed attempt, and return what to do next."""
        self.note(at, error)
        return call.failed(at.endpoint, error)

    @property
    def has_losses(self) -> bool:
        """Whether an answer is worth noting."""
        return self.budget.is_short or self.roster.pool.has_aside

    def answered(self, endpoint: Endpoint, started: float) -> None:
        """Take note of an attempt that went well."""
        self.budget.earn()
        if self.roster.pool.has_aside:
            self.roster.succeeded(endpoint, started)

    def note(self, at: Place, error: EtcdError | AttemptFailed) -> None:
        """Draw the conclusions of a failure for calls to come."""
        outcome = outcome_of(error)
        if outcome is Outcome.STALE_TOKEN:
            self._token.drop(at.metadata)
        elif isinstance(error, DeadlineExceeded):
            self.roster.suspect(at.endpoint)  # perhaps there was little time
        elif isinstance(error, AttemptFailed) or outcome is Outcome.WRONG_MEMBER or _is_unavailable(error):
            self.roster.failed(at.endpoint, reason_of(error))

    def close(self) -> None:
        """End the pauses between attempts."""
        self._closed.set()


def _is_unavailable(error: EtcdError) -> bool:
    return isinstance(error, RpcError) and error.code is StatusCode.UNAVAILABLE
