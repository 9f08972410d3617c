"""One real etcd: starting, stopping, killing, pausing, and never leaving one behind."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError

import pytest

from etcd_async.testing import EtcdBinaryNotFound, EtcdServer, EtcdStartFailed, Ports, ports
from tests.unit.testing.support import ROOT, assert_ends, exists, get, put

pytestmark = pytest.mark.loops("asyncio", "uvloop")


@pytest.fixture(scope="module")
def shared() -> Iterator[EtcdServer]:
    with EtcdServer() as server:
        yield server


async def test_a_put_works_as_soon_as_start_returns_and_nothing_is_left_after() -> None:
    async with EtcdServer() as server:
        await put(server, "a", "1")
        assert await get(server, "a") == "1"
        pid, directory = server.pid, server._workspace
        assert exists(pid)
        assert directory.is_dir()
    assert not exists(pid)
    assert not directory.exists()
    assert not server.is_running


async def test_a_server_of_the_session_serves_any_loop(shared: EtcdServer) -> None:
    await put(shared, "session", "x")
    assert await get(shared, "session") == "x"
    assert shared.is_running


def test_endpoint_pid_and_version_describe_the_server(shared: EtcdServer) -> None:
    assert shared.endpoint == f"http://127.0.0.1:{shared.ports.client}"
    assert shared.endpoints == [shared.endpoint]
    assert shared.version.startswith("3.")
    assert repr(shared) == f"<EtcdServer 'default' {shared.endpoint} pid {shared.pid}>"


def test_the_pid_is_of_etcd_itself(shared: EtcdServer) -> None:
    assert Path(f"/proc/{shared.pid}/comm").read_text().strip() == "etcd"


async def test_data_and_ports_stay_over_restart() -> None:
    async with EtcdServer() as server:
        await put(server, "kept", "1")
        pid, endpoint = server.pid, server.endpoint
        await server.restart()
        assert server.endpoint == endpoint
        assert server.pid != pid
        assert await get(server, "kept") == "1"


async def test_acknowledged_writes_survive_a_kill() -> None:
    # The arguments keep etcd 3.5.1 from losing one all by itself, as it rarely does (see EtcdServer's docstring).
    async with EtcdServer(extra_args=["--backend-batch-interval=10m", "--backend-batch-limit=1000000"]) as server:
        for index in range(50):
            await put(server, f"kept{index}", "1")
        pid = server.pid
        await server.kill()
        assert not exists(pid)
        assert not server.is_running
        await server.start()
        assert [await get(server, f"kept{index}") for index in range(50)] == ["1"] * 50


async def test_a_paused_server_answers_once_it_is_resumed() -> None:
    async with EtcdServer() as server:
        await server.pause()
        assert server.is_running
        writing = asyncio.ensure_future(put(server, "paused", "1"))
        done, _ = await asyncio.wait([writing], timeout=0.2)
        assert not done
        await server.resume()
        await writing
        assert await get(server, "paused") == "1"


async def test_a_paused_server_can_be_stopped_and_killed() -> None:
    async with EtcdServer(stop_timeout=30) as server:
        await server.pause()
        async with asyncio.timeout(15):
            await server.stop()
        await server.start()
        await server.pause()
        await server.kill()
        assert not server.is_running


async def test_a_server_that_does_not_stop_in_time_is_killed() -> None:
    ends = set()
    async with EtcdServer(stop_timeout=0) as server:
        for _ in range(5):  # etcd may have stopped by itself before the second signal comes
            pid = server.pid
            await server.stop()
            assert not exists(pid)
            assert server._process is not None
            ends.add(server._process.returncode)
            await server.start()
    assert -signal.SIGKILL in ends


async def test_stop_and_kill_without_a_running_server_do_nothing_and_pause_says_so() -> None:
    server = EtcdServer()
    await server.stop()
    await server.kill()
    assert not server.is_running
    assert server.log == ""
    for act in (server.pause, server.resume):
        with pytest.raises(RuntimeError, match="'default' is not running"):
            await act()
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.pid


async def test_a_running_server_can_not_be_started_again(shared: EtcdServer) -> None:
    with pytest.raises(RuntimeError, match="running already"):
        await shared.start()


async def test_a_server_that_died_by_itself_can_be_started_again() -> None:
    async with EtcdServer() as server:
        pid = server.pid
        os.kill(pid, signal.SIGKILL)
        assert_ends(pid)
        assert not server.is_running
        await server.start()
        await put(server, "a", "1")


async def test_a_bad_flag_is_reported_with_etcds_own_words() -> None:
    server = EtcdServer(extra_args=["--nonsense=1"])
    with pytest.raises(EtcdStartFailed, match="flag provided but not defined: -nonsense") as caught:
        await server.start()
    assert str(caught.value).startswith("etcd exited with status 2; its log:\n")
    assert len(str(caught.value).splitlines()) <= 20
    assert not caught.value.port_in_use
    assert not server.is_running


async def test_a_server_that_is_not_healthy_in_time_is_killed() -> None:
    # A member of two that waits for the other one.
    mine, other = Ports.pick_many(2)
    cluster = f"a=http://127.0.0.1:{mine.peer},b=http://127.0.0.1:{other.peer}"
    server = EtcdServer(name="a", ports=mine, initial_cluster=cluster, start_timeout=0.5)
    with pytest.raises(EtcdStartFailed, match=r"not healthy after 0\.5 s"):
        await server.start()
    assert not server.is_running


async def test_a_cancelled_start_leaves_no_process() -> None:
    mine, other = Ports.pick_many(2)
    cluster = f"a=http://127.0.0.1:{mine.peer},b=http://127.0.0.1:{other.peer}"
    server = EtcdServer(name="a", ports=mine, initial_cluster=cluster)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await server.start()
    for number in (mine.client, mine.peer, mine.metrics):
        ports.listener(number).close()


async def test_a_port_that_somebody_takes_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    with ports.listener() as taken:
        free = Ports.pick()
        conflict = Ports(client=taken.getsockname()[1], peer=free.peer, metrics=free.metrics)
        choices = iter([conflict, free])
        monkeypatch.setattr(Ports, "pick", lambda: next(choices))
        async with EtcdServer() as server:
            assert server.ports == free
            await put(server, "a", "1")


async def test_a_port_given_by_the_user_is_not_replaced() -> None:
    with ports.listener() as taken:
        free = Ports.pick()
        server = EtcdServer(ports=Ports(client=taken.getsockname()[1], peer=free.peer, metrics=free.metrics))
        with pytest.raises(EtcdStartFailed, match="address already in use") as caught:
            await server.start()
        assert caught.value.port_in_use


async def test_a_data_directory_of_the_user_stays(tmp_path: Path) -> None:
    async with EtcdServer(data_dir=tmp_path / "data") as server:
        await put(server, "kept", "1")
    assert (tmp_path / "data" / "member").is_dir()
    async with EtcdServer(data_dir=tmp_path / "data", ports=server.ports, fsync=True) as again:
        assert await get(again, "kept") == "1"


async def test_variables_of_this_process_do_not_configure_etcd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETCD_MAX_TXN_OPS", "not a number")
    async with EtcdServer() as server:
        await put(server, "a", "1")
    with pytest.raises(EtcdStartFailed):
        await EtcdServer(env={"ETCD_MAX_TXN_OPS": "not a number"}).start()


async def test_a_missing_binary_is_reported_before_anything_is_made() -> None:
    server = EtcdServer(binary="/nowhere/etcd")
    with pytest.raises(EtcdBinaryNotFound, match="/nowhere/etcd"):
        await server.start()
    assert server._directory is None


async def fill(server: EtcdServer) -> None:
    for index in range(100):
        await put(server, f"big{index}", "x" * 65536)


async def test_a_server_without_space_starts_all_the_same() -> None:
    async with EtcdServer(extra_args=["--quota-backend-bytes=2097152"]) as server:
        with pytest.raises(HTTPError, match="429"):
            await fill(server)
        await server.restart()
        assert await get(server, "big0") == "x" * 65536


def test_python_leaves_no_etcd_behind_even_if_it_is_killed(tmp_path: Path) -> None:
    script = """
import os, signal
from etcd_async.testing import EtcdServer
with EtcdServer() as server:
    print(server.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    # Nobody is left to remove the directory of the server: it is one of the test's.
    env = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT, env=env) as python:
        assert python.stdout is not None
        pid = int(python.stdout.readline())
    assert_ends(pid)
