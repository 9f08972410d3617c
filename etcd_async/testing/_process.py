"""
One child process, its log file and its watchdog.

The process runs in a session of its own, so that Ctrl-C in a terminal reaches the tests and not the servers they still
need while they clean up. It never outlives the tests: a normal end of Python kills it (`weakref.finalize`), and if
Python is killed its watchdog does: a shell that waits for the end of a pipe which only this process holds open. Linux's
``PR_SET_PDEATHSIG`` is no substitute: it fires when the *thread* that started the child ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

from etcd_async.testing._steps import POLL, Steps

_SEES_STOPS = hasattr(os, "waitid")  # macOS has it from Python 3.13 on
_WATCHDOG = 'read -r _ || kill -KILL "$1"'


class Process:
    """A child process that was started by the constructor; all its output is appended to *log*."""

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("ab") as output:
            self._log_start = output.tell()
            self._child = subprocess.Popen(
                command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        self._watchdog = _watch(self._child)
        self._kill = weakref.finalize(self, _kill, os.getpid(), self._child, self._watchdog)

    @property
    def pid(self) -> int:
        """The process id; another process may have it once this one has ended."""
        return self._child.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while the process runs."""
        return self._child.poll()

    @property
    def output(self) -> str:
        """What this process wrote to the log, unlike the runs before it."""
        return tail(self._log, since=self._log_start)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        self._child.send_signal(number)

    def paused(self) -> Steps[None]:
        """Stop the process in its tracks, and wait until it stands still: first one of its threads must get a CPU."""
        self._child.send_signal(signal.SIGSTOP)
        while self._child.poll() is None and _SEES_STOPS and not self._stands_still():
            yield POLL

    def _stands_still(self) -> bool:
        return os.waitid(os.P_PID, self._child.pid, os.WSTOPPED | os.WNOWAIT | os.WNOHANG) is not None

    def ended(self) -> Steps[None]:
        """Wait for the end of the process, then release what belongs to it."""
        while self._child.poll() is None:
            yield POLL
        self._kill()

    def kill(self) -> None:
        """Kill the process, paused or not, and wait until it is gone: milliseconds."""
        self._kill()


def tail(log: Path, *, since: int = 0, limit: int = 1 << 16) -> str:
    """The last *limit* bytes of *log* from byte *since* on; empty if there is no such file."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(since, size - limit))
            return file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def _watch(child: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
    command = ["/bin/sh", "-c", _WATCHDOG, "etcd-watchdog", str(child.pid)]
    null = subprocess.DEVNULL
    try:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=null, stderr=null, start_new_session=True)
    except BaseException:
        child.kill()
        child.wait()
        raise


def _kill(owner: int, child: subprocess.Popen[bytes], watchdog: subprocess.Popen[bytes]) -> None:
    if os.getpid() != owner:  # a fork of the tests, which ends before them
        return
    child.kill()
    child.wait()
    # Killed, not told to end: with the child's pid free for others it must not get to its own kill any more.
    watchdog.kill()
    watchdog.communicate()
