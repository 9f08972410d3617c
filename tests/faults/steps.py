"""Cancel a piece of work at the k-th place where it waits, for every k there is."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any, Final, Literal, TypeAlias, get_args

import anyio
import pytest

from etcd_async import Client
from etcd_async.testing import EtcdServer
from tests.faults.support import Baseline, start
from tests.support.live import watchers, within

Way: TypeAlias = Literal["waiting", "answered", "scope"]
"""
How it is cancelled: while it waits; in the very turn in which what it waits for has come; or by a cancel scope.
"""

in_every_way = pytest.mark.parametrize("way", get_args(Way))

MOST_STEPS: Final = 80


class Steps:
    """
    Awaits some work and calls *cancel* when it waits for the *at*-th time.

    Attributes:
        taken: How often the work has waited so far.
    """

    def __init__(self, work: Awaitable[object], at: int, cancel: Callable[[], object], *, answered: bool) -> None:
        self.taken = 0
        self._work = work.__await__()
        self._at = at
        self._cancel = cancel
        self._answered = answered

    def __await__(self) -> Generator[Any, Any, object]:
        return (yield from self._work if self._at == 0 else self._drive())

    def _drive(self) -> Generator[Any, Any, object]:
        error: BaseException | None = None
        while True:
            try:
                waits_for = next(self._work) if error is None else self._work.throw(error)
            except StopIteration as done:
                return done.value
            error = None
            self.taken += 1
            if self.taken == self._at:
                self._cancel_at(waits_for)
            try:
                yield waits_for
            except BaseException as thrown:
                error = thrown

    def _cancel_at(self, waits_for: Any) -> None:
        if self._answered and isinstance(waits_for, asyncio.Future):
            # Registered before the task's own callback: the answer is there, and the cancellation comes first.
            waits_for.add_done_callback(lambda _: self._cancel())
        else:
            self._cancel()


async def cancel_at(step: int, work: Callable[[], Awaitable[object]], way: Way) -> bool:
    """Do *work* in a task of its own, cancelled at its *step*-th wait; return False if it ended before that."""
    if way == "scope":
        return await _cancel_scope_at(step, work)

    async def run() -> int:
        task = asyncio.current_task()
        assert task is not None
        steps = Steps(work(), step, task.cancel, answered=way == "answered")
        await steps
        return steps.taken

    task = asyncio.create_task(run())
    await asyncio.wait([task])
    return task.cancelled() or task.result() >= step


async def _cancel_scope_at(step: int, work: Callable[[], Awaitable[object]]) -> bool:
    async def run() -> bool:
        with anyio.CancelScope() as scope:
            await Steps(work(), step, scope.cancel, answered=False)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        return scope.cancel_called

    return await asyncio.create_task(run())


async def each_cancellation(
    work: Callable[[], Awaitable[object]],
    way: Way,
    baseline: Baseline,
    *,
    scene: Callable[[], AbstractAsyncContextManager[object]] = nullcontext,
    more_than: int = 1,
) -> AsyncIterator[None]:
    """
    Do *work*, cancelled at its first wait, at its second and so on, until it comes to its end; yield after each.

    Each time it is done in a *scene* of its own. After that nothing of it may be left, as *baseline* tells. A work that
    does not wait *more_than* so many times was not what it was meant to be.
    """
    await baseline.take()
    for step in range(1, MOST_STEPS):
        async with scene():
            was_cancelled = await within(cancel_at(step, work, way))
        await baseline.check()
        if not was_cancelled:
            break
        yield
    else:
        pytest.fail(f"it waited more than {MOST_STEPS} times")
    assert step > more_than


Taker: TypeAlias = Callable[[Client], Awaitable[Callable[[], Awaitable[None]]]]
"""Takes what is ``held`` and returns how to release it."""


@asynccontextmanager
async def freed(server: EtcdServer, client: Client, taker: Taker) -> AsyncIterator[None]:
    """Have *taker* stand in the way until somebody waits for what is ``held``, or the body is over; then make way."""
    release = await taker(client)
    over = asyncio.Event()

    async def has_waiter() -> bool:
        if queue := await client.count(prefix="held/"):
            return queue == 2
        return await watchers(server) > 0  # of a barrier, which has no queue

    async def give_way() -> None:
        while not over.is_set() and not await has_waiter():
            pass
        await release()

    task = start(give_way())
    try:
        yield
    finally:
        over.set()
        await within(task)
