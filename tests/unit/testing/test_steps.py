"""Step generators: one piece of work, driven with and without an event loop."""

import math

import anyio
import pytest

from etcd_async.testing._steps import Steps, run, run_sync, together, until


class Work:
    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.log: list[str] = []

    def do(self) -> Steps[str]:
        try:
            for step in range(self.steps):
                self.log.append(str(step))
                yield 0.0
        finally:
            self.log.append("closed")
        return "result"

    def fail(self) -> Steps[None]:
        yield from self.do()
        raise LookupError


def drop(steps: Steps[str]) -> Steps[None]:
    yield from steps


def test_a_thread_drives_steps_to_their_result() -> None:
    assert run_sync(Work(3).do()) == "result"


async def test_a_coroutine_drives_steps_to_their_result() -> None:
    assert await run(Work(3).do()) == "result"


async def test_cancelling_closes_the_steps() -> None:
    work = Work(10**9)
    with anyio.move_on_after(0.01) as scope:
        await run(work.do())
    assert scope.cancelled_caught
    assert work.log[-1] == "closed"


def test_steps_together_advance_by_turns() -> None:
    first, second = Work(1), Work(2)
    run_sync(together(drop(first.do()), drop(second.do())))
    assert (first.log, second.log) == (["0", "closed"], ["0", "1", "closed"])


def test_the_first_error_closes_the_other_steps() -> None:
    first, second = Work(1), Work(10**9)
    with pytest.raises(LookupError):
        run_sync(together(first.fail(), drop(second.do())))
    assert second.log[-1] == "closed"


def test_a_deadline_in_the_future_changes_nothing() -> None:
    assert run_sync(until(math.inf, Work(3).do())) == "result"


def test_a_deadline_that_passed_ends_the_steps() -> None:
    work = Work(10**9)
    with pytest.raises(TimeoutError):
        run_sync(until(-math.inf, work.do()))
    assert work.log[-1] == "closed"
