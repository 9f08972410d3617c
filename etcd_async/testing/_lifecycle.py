"""Starting and stopping, blocking or not: what a server and a cluster have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from etcd_async.testing._steps import Steps, run, run_sync


class Lifecycle(ABC):
    """
    Something that is started and stopped, explicitly or by ``async with``; by plain ``with``, blocking, for fixtures.

    Leaving a ``with`` block also removes the temporary directories, which `stop` keeps for another `start`.
    """

    async def start(self) -> None:
        """
        Start, and wait until it is healthy: a put works at once.

        After `stop` or `kill` it starts with the same data and ports.

        Raises:
            RuntimeError: It is running.
            EtcdBinaryNotFound: There is no etcd to run.
            EtcdStartFailed: An etcd ended or was not healthy in time; nothing is left running.
        """
        await run(self._start())

    async def stop(self) -> None:
        """End by SIGTERM, or after *stop_timeout* seconds by SIGKILL. Without effect on what does not run."""
        await run(self._stop())

    async def restart(self) -> None:
        """Stop and start again, with the same data and ports. Raises as `start`."""
        await self.stop()
        await self.start()

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop, and remove temporary directories."""
        try:
            await run(self._end())
        finally:
            self._clean_up()

    def __enter__(self) -> Self:
        """Start, blocking this thread."""
        run_sync(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop, and remove temporary directories, blocking this thread."""
        try:
            run_sync(self._end())
        finally:
            self._clean_up()

    @abstractmethod
    def _start(self) -> Steps[None]: ...

    @abstractmethod
    def _stop(self) -> Steps[None]: ...

    @abstractmethod
    def _end(self) -> Steps[None]:
        """Stop at the end of a ``with`` block."""

    @abstractmethod
    def _clean_up(self) -> None:
        """Kill what `_end` could not wait for, and remove temporary directories."""
