"""
The background tasks of one client, in one place with one owner.

All of them run in a task group that lives wholly inside one task of its own. So they may be started from any task, and
the client may be opened in one task and closed in another; a task group entered in ``__aenter__`` allows neither.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from importlib import import_module
from typing import Any, Generic, TypeVar

import anyio

from etcd_async._transport.loops import check_loop
from etcd_async.errors import ClientClosed, EtcdError

T = TypeVar("T")

# anyio imports most of itself when it is first used: 30 ms without the loop amid a connection, if not done before.
with suppress(ImportError):
    import_module("anyio._backends._asyncio")


class Background(Generic[T]):
    """
    One background task.

    Attributes:
        name: For people who look at a list of tasks.
        future: What the work returns, or the error it ended with; cancelled by `cancel`, `ClientClosed` if the client
            was closed before it ended. Errors that nobody looks at are not reported.
    """

    def __init__(self, name: str, work: Callable[[], Awaitable[T]]) -> None:
        self.name = name
        self.future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._work = work
        self._scope = anyio.CancelScope()

    def cancel(self) -> None:
        """Cancel the work; harmless if it has ended."""
        self._scope.cancel()

    async def run(self) -> None:
        """Do the work and hand its end to `future`; an error that is not etcd's is raised, too."""
        try:
            with self._scope:
                result = await self._work()
                if not self.future.done():
                    self.future.set_result(result)
        except EtcdError as error:
            self.fail(error)
        except Exception as error:
            self.fail(error)
            raise
        except BaseException:
            self.fail(ClientClosed())
            raise
        if not self.future.done():
            self.future.cancel()

    def fail(self, error: Exception) -> None:
        """End `future` with *error*, unless it has ended."""
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # counts as looked at


class Tasks:
    """
    Starts background tasks and ends them all together; made without a running loop.

    Args:
        on_crash: Called once, with the error, if a task fails with anything but an `EtcdError`: a bug. All other tasks
            are cancelled then, and `aclose` raises the error.
    """

    def __init__(self, on_crash: Callable[[Exception], None]) -> None:
        self._on_crash = on_crash
        self._loop: asyncio.AbstractEventLoop | None = None
        self._owner: asyncio.Task[None] | None = None
        self._starting: deque[Background[Any]] = deque()
        self._news = asyncio.Event()
        self._is_closed = False
        self._is_reported = False

    def claim_loop(self) -> None:
        """
        Belong to the event loop that runs here, from the first time on, and with the tasks all that uses them.

        Raises:
            RuntimeError: They belong to another one.
        """
        self._loop = self._loop or asyncio.get_running_loop()
        check_loop(self._loop)

    def check_closer(self) -> None:
        """
        Raise unless `aclose` may be called here.

        Raises:
            RuntimeError: They belong to another event loop, and that is not closed.
        """
        if self._loop is not None and not self._loop.is_closed():
            check_loop(self._loop)

    def start(self, name: str, work: Callable[[], Awaitable[T]]) -> Background[T]:
        """
        Start *work* as a task of its own, soon.

        Raises:
            ClientClosed: `aclose` was called, or a task crashed.
            RuntimeError: They belong to another event loop.
        """
        if self._is_closed:
            raise ClientClosed
        self.claim_loop()
        background = Background(name, work)
        self._starting.append(background)
        self._news.set()
        if self._owner is None:
            # A context of its own: these tasks outlive the request, the trace, the test that happens to be the first.
            self._owner = asyncio.create_task(self._own(), name="etcd_async.tasks", context=Context())
        return background

    async def aclose(self) -> None:
        """
        Cancel every task and return when all are gone; from any task but these, any number of times.

        Raises:
            Exception: A task had crashed; once.
        """
        self._is_closed = True
        owner = self._owner
        if owner is None or owner.get_loop().is_closed():
            return
        self._news.set()
        if not owner.done():
            await asyncio.wait([owner])
        self._report(owner)

    async def _own(self) -> None:
        try:
            async with anyio.create_task_group() as group:
                while not self._is_closed:
                    while self._starting:
                        background = self._starting.popleft()
                        group.start_soon(self._run, background, name=background.name)
                    self._news.clear()
                    await self._news.wait()
                group.cancel_scope.cancel()
        finally:
            self._is_closed = True
            for background in self._starting:
                background.fail(ClientClosed())

    async def _run(self, background: Background[Any]) -> None:
        try:
            await background.run()
        except Exception as error:
            if not self._is_closed:
                self._is_closed = True
                self._on_crash(error)
            raise

    def _report(self, owner: asyncio.Task[None]) -> None:
        if owner.cancelled() or self._is_reported:
            return
        error = owner.exception()
        if error is not None:
            self._is_reported = True
            raise _only(error)


def _only(error: BaseException) -> BaseException:
    """Return the one error that a group holds, or the group."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
