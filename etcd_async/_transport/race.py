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

from etcd_async._protocol.retry import Action, Outcome
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


@dataclass(frozen=True, slots=True)
class _Runner:
    """An attempt under way."""

    at: Place
    started: float
    abandon: Callable[[], object]


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
        self._tasks: list[asyncio.Task[bytes]] = []
        self._next: float | None = None  # when to start another

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
                if self._next is not None and self._next <= self._pursuit.clock():
                    await self._start()
        finally:
            await self._give_up()

    async def _wait(self) -> None:
        timeout = None if self._next is None else max(0.0, self._next - self._pursuit.clock())
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
        """Wait for an attempt that takes long, and let another one start if that can be afforded."""
        self._add(delayed.slow.answer, _Runner(delayed.at, delayed.started, delayed.slow.abandon))
        if self._has_untried and self._pursuit.budget.spend(self._pursuit.clock()):
            self._next = self._pursuit.clock()

    @property
    def _has_untried(self) -> bool:
        busy = {runner.at.endpoint for runner in self._running.values()} | self._call.tried
        return any(endpoint not in busy for endpoint in self._pursuit.roster.pool.endpoints)

    async def _start(self) -> None:
        self._next = None
        await self._pursuit.ready(self._call)
        busy = {runner.at.endpoint for runner in self._running.values()}
        at = self._pursuit.place(self._call, busy | self._call.tried)
        if at.endpoint in busy:
            at = self._pursuit.place(self._call, busy)
        if at.endpoint in busy:
            return
        task = asyncio.ensure_future(self._attempt(at))
        self._tasks.append(task)
        self._add(task, _Runner(at, self._pursuit.clock(), task.cancel))

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
            await pursuit.pause(self._call, decision.delay, error)
            self._next = pursuit.clock()
            return await self._start()
        remaining = self._call.remaining(pursuit.clock())
        is_over = remaining is not None and remaining <= 0
        if is_over or not self._running or outcome_of(error) in (Outcome.REFUSED, Outcome.FAILED):
            now = pursuit.clock()
            for other in self._running.values():
                self._call.add(other.at.endpoint, f"no answer for {now - other.started:.1f} s")
            raise self._call.final(error) from error.__cause__
        if decision.action is not Action.GIVE_UP and pursuit.pays(self._call, decision):
            self._next = pursuit.clock() + decision.delay
        return None

    async def _give_up(self) -> None:
        """Abandon every attempt; one that said in this very turn that it is slow goes on otherwise."""
        for runner in self._running.values():
            runner.abandon()
        if tasks := [task for task in self._tasks if not task.done()]:
            await asyncio.wait(tasks)
        for answer in self._running:
            error = None if answer.cancelled() or not answer.done() else answer.exception()
            if isinstance(error, Delayed):
                error.slow.answer.add_done_callback(_look_at)
                error.slow.abandon()


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
