"""A child process: its log, its end, and that it never outlives its parent. The children are shells, not etcd."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from etcd_async.testing._process import Process, tail
from etcd_async.testing._steps import run_sync
from tests.unit.testing.support import ROOT, assert_ends, exists


def shell(script: str, log: Path) -> Process:
    return Process(["/bin/sh", "-c", script], env=dict(os.environ), log=log)


def test_output_of_one_run_is_told_from_the_runs_before(tmp_path: Path) -> None:
    first = shell("echo first", tmp_path / "log")
    run_sync(first.ended())
    second = shell("echo second; echo error >&2", tmp_path / "log")
    run_sync(second.ended())
    assert second.output == "second\nerror\n"
    assert tail(tmp_path / "log") == "first\nsecond\nerror\n"


def test_a_tail_is_bounded_and_a_missing_log_is_empty(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("0123456789")
    assert tail(tmp_path / "log", limit=3) == "789"
    assert tail(tmp_path / "none") == ""


def test_the_status_of_a_killed_process_names_the_signal(tmp_path: Path) -> None:
    process = shell("exec tail -f /dev/null", tmp_path / "log")
    assert exists(process.pid)
    process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not exists(process.pid)


def test_a_paused_process_stands_still_and_can_be_killed(tmp_path: Path) -> None:
    process = shell("while :; do :; done", tmp_path / "log")
    for _ in range(100):
        run_sync(process.paused())
        assert process._stands_still()
        process.signal(signal.SIGCONT)
    run_sync(process.paused())
    process.kill()
    assert not exists(process.pid)


def test_a_process_that_has_ended_is_not_waited_for_to_pause(tmp_path: Path) -> None:
    process = shell("exit 3", tmp_path / "log")
    run_sync(process.ended())
    run_sync(process.paused())
    assert process.returncode == 3


def test_the_watchdog_goes_with_the_process(tmp_path: Path) -> None:
    process = shell("exit 3", tmp_path / "log")
    run_sync(process.ended())
    assert process.returncode == 3
    assert process._watchdog.returncode == -signal.SIGKILL


def test_a_process_nobody_holds_any_more_is_killed(tmp_path: Path) -> None:
    process = shell("exec tail -f /dev/null", tmp_path / "log")
    pid = process.pid
    del process
    assert not exists(pid)


@pytest.mark.parametrize("end", ["sys.exit()", "os.kill(os.getpid(), signal.SIGKILL)", "os._exit(0)"])
def test_the_process_ends_with_python_however_that_ends(tmp_path: Path, end: str) -> None:
    script = f"""
import os, signal, sys
from pathlib import Path
from etcd_async.testing._process import Process
process = Process(["/usr/bin/env", "tail", "-f", "/dev/null"], env=os.environ, log=Path({str(tmp_path / "log")!r}))
print(process.pid, flush=True)
{end}
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT) as python:
        assert python.stdout is not None
        pid = int(python.stdout.readline())
    assert_ends(pid)
