"""What a task keeps up to date while a body runs: the common life of caches, mirrors and resolvers."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import AsyncExitStack
from types import TracebackType
from typing import ClassVar, Self

from etcd_async.recipes._news import News
from etcd_async.services import Services

__all__ = ["Kept"]


class Kept(ABC):
    """
    Entered once, it works until it is left or its task ends by an error.

    Whoever waits for `_news` is woken by each of these, and has to `_check`.
    """

    _kind: ClassVar[str]
    """What it is called; its client's method has the same name."""

    _after: ClassVar[str]
    """What is wrong with it once it was left."""

    def __init__(self, client: Services) -> None:
        self._client = client
        self._news = News()
        self._error: BaseException | None = None
        self._error_from: TracebackType | None = None
        self._is_entered = self._is_kept = self._is_left = False

    @abstractmethod
    async def _begin(self, stack: AsyncExitStack) -> None:
        """Get what there is at first, and leave on *stack* what is to be closed at the end."""

    @abstractmethod
    async def _follow_on(self) -> None:
        """Keep it up to date; an error ends it for good."""

    async def __aenter__(self) -> Self:
        if self._is_entered:
            raise RuntimeError(f"a {self._kind} can be entered once: make another with client.{self._kind}(...)")
        self._is_entered = True
        async with AsyncExitStack() as stack:
            await self._begin(stack)
            self._task = self._client.background(f"etcd_async.{self._kind}", self._follow_on)
            self._task.future.add_done_callback(self._ended)
            self._stack = stack.pop_all()
            self._is_kept = True
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_left = True
        self._task.cancel()
        try:
            await asyncio.wait([self._task.future])
        finally:
            self._news.tell()
            await self._stack.aclose()

    def _ended(self, future: asyncio.Future[None]) -> None:
        """Take note of why the task has ended: by an error, or with the client."""
        if not future.cancelled() and (error := future.exception()) is not None:
            self._error, self._error_from = error, error.__traceback__
        self._news.tell()

    def _check(self) -> None:
        """Raise if it is not kept up to date."""
        if not self._is_kept:
            raise RuntimeError(f"enter the {self._kind} first: async with client.{self._kind}(...) as {self._kind}")
        if self._is_left:
            raise RuntimeError(f"the {self._kind} was left: {self._after}")
        self._check_error()

    def _check_error(self) -> None:
        """Raise the error that its task has ended by; a traceback that grew with each raise would hold all frames."""
        if self._error is not None:
            raise self._error.with_traceback(self._error_from)
