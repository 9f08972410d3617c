"""
What happens when something held (a lease, a lock, leadership) is lost.

`Loss` is the signal: it fires once, with the reason. `Guard` ties it to the body of an ``async with``: the body is
cancelled, and the reason is raised in its place when the body has unwound.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Literal, TypeAlias, get_args

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from etcd_async.errors import LeaseLost

__all__ = ["Guard", "Loss", "OnLoss", "check_on_loss", "guarding", "stop_if_lost"]

OnLoss: TypeAlias = Literal["cancel", "signal"]


def check_on_loss(on_loss: str) -> None:
    """Refuse what is not one of the two ways to hear of a loss."""
    if on_loss not in get_args(OnLoss):
        raise ValueError(f"on_loss must be 'cancel' or 'signal', not {on_loss!r}")


class Loss:
    """Whether something held was lost, why, and who is to be told."""

    __slots__ = ("_callbacks", "_event", "reason")

    def __init__(self) -> None:
        self.reason: LeaseLost | None = None
        self._event = asyncio.Event()
        self._callbacks: list[Callable[[LeaseLost], None]] = []

    @property
    def is_lost(self) -> bool:
        """True once it was lost; it never comes back."""
        return self.reason is not None

    def fire(self, reason: LeaseLost) -> None:
        """Tell everybody; only the first reason counts."""
        if self.reason is not None:
            return
        self.reason = reason
        self._event.set()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(reason)

    def tell(self, callback: Callable[[LeaseLost], None]) -> None:
        """Call *callback* once with the reason: when it fires, or at once if it has."""
        if self.reason is not None:
            callback(self.reason)
        else:
            self._callbacks.append(callback)

    def forget(self, callback: Callable[[LeaseLost], None]) -> None:
        """Do not call *callback* any more."""
        if callback in self._callbacks:
            self._callbacks.remove(callback)

    async def wait(self) -> LeaseLost:
        """Wait until it fires and return the reason."""
        await self._event.wait()
        assert self.reason is not None
        return self.reason


_lost_bodies: set[Guard] = set()  # those that were cancelled, and have not unwound yet


async def stop_if_lost() -> None:
    """End a call that comes from a lost body: anyio cancels at the next await only, when its request may have left."""
    if _lost_bodies:
        await checkpoint_if_cancelled()


class Guard:
    """
    The body of one ``async with``, cancelled when what it relies on is lost.

    ``open`` and ``close`` must run in the task of the body, as anyio demands of its cancel scopes.
    """

    __slots__ = ("_cancels", "_loss", "_scope", "_task")

    def __init__(self, loss: Loss, on_loss: OnLoss) -> None:
        self._loss = loss
        self._cancels = on_loss == "cancel"
        self._scope: anyio.CancelScope | None = None
        self._task: asyncio.Task[object] | None = None

    def open(self) -> None:
        """Begin the body."""
        if self._cancels:
            self._scope = anyio.CancelScope()
            self._scope.__enter__()
            self._task = asyncio.current_task()
            self._loss.tell(self._cancel)

    def close(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """End the body; return True if its exception was the cancellation that the loss caused, and nothing else."""
        if self._scope is None:
            return False
        self._loss.forget(self._cancel)
        _lost_bodies.discard(self)
        if asyncio.current_task() is not self._task:
            raise RuntimeError("left in another task than it was entered in: that takes on_loss='signal'")
        return bool(self._scope.__exit__(exc_type, exc, traceback))

    def raise_loss(self, exc: BaseException | None, swallowed: bool) -> None:
        """Raise the loss, unless the body ended in an error of its own; call it last."""
        if self._cancels and self._loss.reason is not None and (exc is None or swallowed):
            raise self._loss.reason

    def _cancel(self, reason: LeaseLost) -> None:
        assert self._scope is not None
        _lost_bodies.add(self)
        self._scope.cancel(f"{type(reason).__name__}: {reason}")


@contextmanager
def guarding(loss: Loss) -> Iterator[None]:
    """Cancel the block when *loss* fires, and raise the reason."""
    guard = Guard(loss, "cancel")
    guard.open()
    swallowed = False
    try:
        yield
    except BaseException as exc:
        swallowed = guard.close(type(exc), exc, exc.__traceback__)
        if not swallowed:
            raise
    else:
        guard.close(None, None, None)
    guard.raise_loss(None, swallowed)
