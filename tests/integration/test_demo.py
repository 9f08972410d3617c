"""The guided tour as users run it: a process of its own, watched from outside."""

import fcntl
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path

import anyio
import pytest

from etcd_async import Client
from etcd_async.__main__ import main
from etcd_async._demo import tour
from etcd_async._demo.stage import DemoFailed, Output, Tour, expect
from etcd_async.testing import EtcdServer, Ports

ROOT = Path(__file__).parent.parent.parent
PROC = Path("/proc")
TITLES = (
    "1. Put, get, overwrite",
    "2. Many keys",
    "3. Transactions",
    "4. Watch",
    "5. Leases",
    "6. Locks",
    "7. Elections",
    "8. Services",
    "9. Encryption",
)
# A tour takes ten seconds where nothing else goes on.
pytestmark = pytest.mark.timeout(240)
needs_proc = pytest.mark.skipif(not (PROC / "self" / "environ").exists(), reason="finds processes by Linux's /proc")


def narrow_pipe() -> tuple[int, int]:
    """
    Return a pipe that holds what was written last, and nothing else.

    Whoever writes waits for the reader, and so can't end while a moment is to be caught.
    """
    if sys.platform != "linux":
        return os.pipe()
    reading, writing = os.pipe2(os.O_DIRECT | os.O_CLOEXEC)  # each write has a page of its own
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 1)  # rounded up to one page
    return reading, writing


class Marked:
    """Processes that are recognised, with all their descendants, by a variable in their environment."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mark = f"MARK={uuid.uuid4()}"
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start the command line with *arguments*."""
        name, mark = self._mark.split("=")
        reading, writing = narrow_pipe()
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "etcd_async", *arguments],
            cwd=self._folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), name: mark, **variables},
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(writing)
        process.stdout = open(reading, encoding="utf-8")  # noqa: SIM115 - ends with the process
        self._started.append(process)
        return process

    def end(self) -> None:
        """End what a failed test has left running."""
        for process in self._started:
            with process:
                process.kill()

    def alive(self) -> list[int]:
        """The ids of those that run."""
        return [int(each.name) for each in PROC.iterdir() if each.name.isdigit() and self._is_marked(each)]

    def _is_marked(self, process: Path) -> bool:
        try:
            return self._mark.encode() in (process / "environ").read_bytes().split(b"\0")
        except OSError:  # it is gone, or another user's
            return False


@pytest.fixture
def marked(tmp_path: Path) -> Iterator[Marked]:
    # A shell makes what it runs in the background ignore Ctrl-C, and all children inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    marked = Marked(tmp_path)
    yield marked
    marked.end()
    signal.signal(signal.SIGINT, before)


async def leftovers(server: EtcdServer) -> tuple[list[bytes], list[int]]:
    """All keys and leases of *server*."""
    async with Client(server.endpoint) as client:
        return await client.keys(), await client.leases.list()


def keys_under(server: EtcdServer, prefix: str) -> list[bytes]:
    async def read() -> list[bytes]:
        async with Client(server.endpoint) as client:
            return await client.keys(prefix=prefix)

    return anyio.run(read)


def read_until(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    pytest.fail(f"the tour ended before it said {text!r}")


@needs_proc
def test_the_tour_shows_every_step_on_an_etcd_of_its_own_and_leaves_no_process(marked: Marked) -> None:
    process = marked.start("demo")
    output, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    assert [title for title in TITLES if f"\n{title}\n" not in output] == []
    assert "later the waiter enters" in output
    assert "\033[" not in output
    assert marked.alive() == []


async def test_on_the_users_etcd_it_leaves_no_key_and_no_lease_and_touches_nothing(marked: Marked) -> None:
    async with EtcdServer() as server, Client(server.endpoint) as client:
        await client.put("etcd_async-demo-", "the user's")
        process = marked.start("demo", "--endpoint", server.endpoint)
        output, errors = process.communicate()
        assert (process.returncode, errors) == (0, "")
        assert f"at {server.endpoint}, yours" in output
        assert await leftovers(server) == ([b"etcd_async-demo-"], [])


@needs_proc
@pytest.mark.parametrize("moment", ["1. Put", "6. Locks", "holds the lock", "node-1 stands"])
def test_ctrl_c_ends_the_tour_with_its_processes(marked: Marked, moment: str) -> None:
    process = marked.start("demo")
    read_until(process, moment)
    assert len(marked.alive()) > 1
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert (process.returncode, errors) == (130, "etcd_async: interrupted\n")
    assert marked.alive() == []


@pytest.mark.parametrize("moment", ["2. Many", "holds the lock", "waits in the queue", "added billing-1"])
async def test_ctrl_c_leaves_no_key_on_the_users_etcd(marked: Marked, moment: str) -> None:
    async with EtcdServer() as server:
        process = marked.start("demo", "--endpoint", server.endpoint)
        read_until(process, moment)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
        assert (process.returncode, errors) == (130, "etcd_async: interrupted\n")
        keys, _ = await leftovers(server)
        assert keys == []


async def test_the_tour_ends_when_nobody_reads_it(marked: Marked) -> None:
    async with EtcdServer() as server:
        process = marked.start("demo", "--endpoint", server.endpoint)
        read_until(process, "1. Put")
        assert process.stdout is not None
        process.stdout.close()
        process.wait()
        assert process.stderr is not None
        assert (process.returncode, process.stderr.read()) == (
            1,
            "etcd_async: ended early, as nobody reads the output\n",
        )
        keys, _ = await leftovers(server)
        assert keys == []


def test_an_endpoint_that_refuses_is_one_line_with_what_to_do(marked: Marked) -> None:
    endpoint = f"http://127.0.0.1:{Ports.pick().client}"
    process = marked.start("demo", "--endpoint", endpoint)
    output, errors = process.communicate()
    assert (process.returncode, output) == (1, "")
    assert errors.startswith(f"etcd_async: no etcd answers ({endpoint}: ")
    assert errors.endswith(": start it, or leave --endpoint out to use one of the tour's own\n")
    assert errors.count("\n") == 1


def test_a_missing_binary_is_one_line_with_what_to_do(marked: Marked) -> None:
    process = marked.start("demo", ETCD_BINARY="/no/such/etcd")
    output, errors = process.communicate()
    assert (process.returncode, output) == (1, "")
    assert errors.startswith("etcd_async: ETCD_BINARY is '/no/such/etcd'")
    assert "pip install" in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize("arguments", [["demo", "--endpoint", "ftp://host"], ["unknown"]])
def test_a_wrong_command_line_ends_with_status_2(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert arguments[-1] in capsys.readouterr().err


def test_without_a_command_it_prints_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "demo" in capsys.readouterr().out


def test_it_tells_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("etcd_async ")


def test_a_broken_promise_ends_the_tour_with_one_line_and_cleans_up(
    etcd_server: EtcdServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prefixes = []

    async def break_a_promise(tour: Tour) -> None:
        prefixes.append(tour.prefix)
        await tour.client.put("left/behind", "1")
        tour.out.show("the number of keys", await tour.client.count(prefix="left/"), expect=2)

    monkeypatch.setattr(tour, "STEPS", [break_a_promise])
    assert main(["demo", "--endpoint", etcd_server.endpoint]) == 1
    assert capsys.readouterr().err == "etcd_async: the number of keys should have given 2, not 1\n"
    assert [keys_under(etcd_server, prefix) for prefix in prefixes] == [[]]


def test_a_defect_of_the_tour_is_not_passed_over_in_silence(
    etcd_server: EtcdServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: Tour) -> None:
        raise LookupError("a defect")

    monkeypatch.setattr(tour, "STEPS", [fail])
    with pytest.raises(LookupError, match="a defect"):
        main(["demo", "--endpoint", etcd_server.endpoint])


def test_a_step_that_hangs_ends_the_tour(
    etcd_server: EtcdServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def hang(tour: Tour) -> None:
        async with tour.client.watch("never") as watch:
            await anext(watch)

    monkeypatch.setattr(tour, "STEPS", [hang])
    monkeypatch.setattr(tour, "_STEP_SECONDS", 0.2)
    assert main(["demo", "--endpoint", etcd_server.endpoint]) == 1
    assert capsys.readouterr().err == "etcd_async: the step hang was not done after 0.2 s\n"


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = Terminal()
    Output(coloured).show("a call", "a result")
    assert "\033[32ma result\033[0m" in coloured.getvalue()

    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    Output(plain).show("a call", "a result")
    assert "\033[" not in plain.getvalue()


def test_a_promise_that_is_not_kept_is_told() -> None:
    expect(True, "nothing is told")
    with pytest.raises(DemoFailed, match="expected that fencing tokens grow, but it is not so"):
        expect(False, "fencing tokens grow")
