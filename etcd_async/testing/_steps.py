"""
Work that has to wait now and then, written once for blocking and for asynchronous callers.

A step generator does its work and yields the seconds it wants to wait; whoever drives it does the waiting. No event
loop is involved, so a server can be started in one loop and stopped in another, or without any.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import ExitStack, closing
from typing import TypeAlias, TypeVar

import anyio

T = TypeVar("T")

Steps: TypeAlias = Generator[float, None, T]

#: Seconds between two looks at a process: far below the 50 ms in which etcd starts, far above the cost of a look.
POLL = 0.01


def run_sync(steps: Steps[T]) -> T:
    """Drive *steps* to their result, blocking this thread."""
    with closing(steps):
        while True:
            try:
                pause = next(steps)
            except StopIteration as end:
                result: T = end.value
                return result
            time.sleep(pause)


async def run(steps: Steps[T]) -> T:
    """Drive *steps* to their result; cancelling closes them, so that they clean up."""
    with closing(steps):
        while True:
            try:
                pause = next(steps)
            except StopIteration as end:
                result: T = end.value
                return result
            await anyio.sleep(pause)


def together(*all_steps: Steps[None]) -> Steps[None]:
    """Advance all by turns until all are done; the first error ends the others."""
    with ExitStack() as stack:
        pending = [stack.enter_context(closing(steps)) for steps in all_steps]
        while pending := [steps for steps in pending if next(steps, None) is not None]:
            yield POLL


def until(deadline: float, steps: Steps[T]) -> Steps[T]:
    """
    Pass *steps* on until *deadline* (of `time.monotonic`).

    Raises:
        TimeoutError: They were not done by then.
    """
    with closing(steps):
        while True:
            try:
                pause = next(steps)
            except StopIteration as end:
                result: T = end.value
                return result
            if time.monotonic() >= deadline:
                raise TimeoutError
            yield pause
