"""
One read that takes long, asked of several endpoints at once: the first answer counts.

Nothing is given up for it. So an endpoint that is only slow still answers, and costs no more than a second request; one
that hangs while another answers is found out, and set aside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from etcd_async._protocol.endpoints import Endpoint
from etcd_async._protocol.retry import Action, Decision, Outcome
from etcd_async._transport.attempts import Call, outcome_of
from etcd_async._transport.calls import Slow
from etcd_async._transport.channel import looks_within
from etcd_async._transport.failure import AttemptFailed
from etcd_async._transport.pursuit import Place, Pursuit
from etcd_async.errors import EtcdError

HANGS: Final = 4.0
"""How many times as long as the winner's an attempt must have taken for its endpoint to be set aside."""


@dataclass(slots=True)
class Delayed(Exception):
    """
    Raised by an attempt that is slow and goes on.

    Attributes:
        at: Where.
        started: When.
        slow: How to wait for it.
    """

    at: Place
    started: float
    slow: Slow


@dataclass(slots=True)
class _Runner:
    """An attempt under way."""

    at: Place
    started: float
    abandon: Callable[[], object] = lambda: None


_HEDGE: Final = Decision(Action.RETRY, has_cost=True)


class Race:
    """
    The attempts of one call that are under way.

    Args:
        pursuit: How to make another.
        call: What was tried before.
        attempt: Makes an attempt; raises `Delayed` if it is slow.
    """

    def __init__(self, pursuit: Pursuit, call: Call, attempt: Callable[[Place], Awaitable[bytes]]) -> None:
        self._pursuit = pursuit
        self._call = call
        self._attempt = attempt
        self._running: dict[asyncio.Future[bytes], _Runner] = {}
        self._next: tuple[float, Decision] | None = None  # when to start another, and what for

    async def run(self, first: Delayed) -> bytes:
        """Return the first answer; errors are those of `Caller.unary`."""
        try:
            self._go_on_with(first)
            while True:
                await self._wait()
                for future in [each for each in self._running if each.done()]:
                    answer = await self._take(future, self._running.pop(future))
                    if answer is not None:
                        return answer
                self._start_if_due()
        finally:
            await self._give_up()

    async def _wait(self) -> None:
        timeout = None if self._next is None else max(0.0, self._next[0] - self._pursuit.clock())
        await asyncio.wait(self._running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)

    async def _take(self, future: asyncio.Future[bytes], runner: _Runner) -> bytes | None:
        error = future.exception()
        if error is None:
            self._won(runner)
            return future.result()
        if isinstance(error, Delayed):
            self._go_on_with(error)
        elif isinstance(error, EtcdError | AttemptFailed):
            await self._lost(runner, error)
        else:
            raise error
        return None

    def _go_on_with(self, delayed: Delayed) -> None:
        """Wait for an attempt that takes long, and let another one start as soon as that can be afforded."""
        self._add(delayed.slow.answer, _Runner(delayed.at, delayed.started, delayed.slow.abandon))
        if self._has_untried:
            self._plan(_HEDGE)

    @property
    def _has_untried(self) -> bool:
        busy = self._busy() | self._call.tried
        return any(endpoint not in busy for endpoint in self._pursuit.roster.pool.endpoints)

    def _busy(self) -> set[Endpoint]:
        return {runner.at.endpoint for runner in self._running.values()}

    def _plan(self, decision: Decision) -> None:
        self._next = (self._pursuit.clock() + decision.delay, decision)

    def _start_if_due(self) -> None:
        if self._next is None or self._next[0] > self._pursuit.clock():
            return
        decision = self._next[1]
        if self._pursuit.pays(decision):
            self._start()
        else:
            self._next = (self._pursuit.clock() + self._pursuit.till_paid(), decision)

    def _start(self) -> None:
        self._next = None
        busy = self._busy()
        at = self._pursuit.place(self._call, busy | self._call.tried)
        if at.endpoint in busy:
            at = self._pursuit.place(self._call, busy)
        if at.endpoint in busy:
            return
        runner = _Runner(at, self._pursuit.clock())
        task = asyncio.ensure_future(self._try(runner))
        runner.abandon = task.cancel
        self._add(task, runner)

    async def _try(self, runner: _Runner) -> bytes:
        """Make an attempt; a login that must come first holds up none of the others."""
        await self._pursuit.ready(self._call)
        runner.at = self._pursuit.place_at(self._call, runner.at.endpoint)
        return await self._attempt(runner.at)

    def _add(self, answer: asyncio.Future[bytes], runner: _Runner) -> None:
        answer.add_done_callback(_look_at)
        self._running[answer] = runner

    def _won(self, winner: _Runner) -> None:
        now = self._pursuit.clock()
        for runner in self._running.values():
            taken = now - runner.started
            if taken > HANGS * (now - winner.started):
                reason = f"no answer for {taken:.1f} s, while {winner.at.endpoint.text} answered"
                self._pursuit.roster.failed(runner.at.endpoint, reason)
                self._pursuit.budget.refund()

    async def _lost(self, runner: _Runner, error: EtcdError | AttemptFailed) -> None:
        """Take the failure of one attempt: final if it is an answer, or if nobody else runs or may start."""
        pursuit = self._pursuit
        decision = pursuit.failed(self._call, runner.at, error)
        if not self._running and decision.action is not Action.GIVE_UP:
            await pursuit.prepare(self._call, decision, error)
            return self._start()
        remaining = self._call.remaining(pursuit.clock())
        is_over = remaining is not None and remaining <= 0
        if is_over or not self._running or outcome_of(error) in (Outcome.REFUSED, Outcome.FAILED):
            now = pursuit.clock()
            for other in self._running.values():
                self._call.add(other.at.endpoint, f"no answer for {now - other.started:.1f} s")
            raise self._call.final(error) from error.__cause__
        if decision.action is not Action.GIVE_UP:
            self._plan(decision)
        return None

    async def _give_up(self) -> None:
        """Abandon every attempt; one that says in this very turn that it is slow goes on otherwise."""
        for answer, runner in self._running.items():
            runner.abandon()
            if answer.done():
                _abandon(answer)
            else:
                answer.add_done_callback(_abandon)  # whoever cancels may do so again, and end the wait below
        if tasks := [each for each in self._running if isinstance(each, asyncio.Task) and not each.done()]:
            await asyncio.wait(tasks)


async def settle(
    pursuit: Pursuit,
    call: Call,
    payload: bytes,
    at: Place,
    *,
    started: float,
    failure: EtcdError | AttemptFailed | Slow,
) -> bytes:
    """
    Go on with a unary call whose first attempt, *at* a place, has failed or is slow.

    Returns:
        The answer; errors are those of `Caller.unary`.
    """

    async def attempt(at: Place) -> bytes:
        now = pursuit.clock()
        looks = looks_within(call.remaining(now)) if call.reads and not call.is_bound else 0
        try:
            answer = await at.channel.unary(
                call.method.path,
                payload,
                metadata=at.metadata,
                deadline=call.deadline if call.reads else call.until(now),
                patience=call.patience(now),
                looks=looks,
            )
        except Slow as slow:
            raise Delayed(at, now, slow) from None
        pursuit.answered(at.endpoint, now)
        return answer

    try:
        if isinstance(failure, Slow):
            raise Delayed(at, started, failure)
        await pursuit.recover(call, at, failure)
        return await pursuit.attempts(call, attempt)
    except Delayed as delayed:
        return await Race(pursuit, call, attempt).run(delayed)


def _look_at(answer: asyncio.Future[bytes]) -> None:
    """Look at the error of an attempt that nobody may wait for any more; asyncio would report it."""
    if not answer.cancelled():
        answer.exception()


def _abandon(answer: asyncio.Future[bytes]) -> None:
    """Abandon an attempt that has turned out slow when nobody waited for it any more."""
    error = None if answer.cancelled() else answer.exception()
    if isinstance(error, Delayed):
        error.slow.answer.add_done_callback(_look_at)
        error.slow.abandon()
