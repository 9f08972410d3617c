"""The worked services under docs/examples, as their users run them: processes of their own, spoken to over HTTP."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from importlib import import_module
from pathlib import Path

import httpx
import pytest

from etcd_async import Client
from etcd_async.testing import EtcdServer
from tests.docs.test_examples import SERVICES
from tests.support.live import until, within

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "docs" / "examples"
ONCE = httpx.Limits(max_keepalive_connections=0)
"""Each connection is used once: the server closes one that was idle, perhaps just when it is used again."""

# Each starts processes, which takes time where many others do the same.
pytestmark = pytest.mark.timeout(240)


class Running:
    """A service in a process of its own, and its web servers."""

    def __init__(self, process: asyncio.subprocess.Process, web: list[httpx.AsyncClient]) -> None:
        self.process = process
        self.web = web

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def running(name: str, *arguments: str, endpoint: str = "", servers: int = 1) -> AsyncIterator[Running]:
    """Run an example until the body ends; *endpoint* is etcd's, or the example starts its own."""
    environment = {key: value for key, value in os.environ.items() if key != "ETCD_ENDPOINT"}
    environment |= {"PYTHONPATH": str(ROOT)} | ({"ETCD_ENDPOINT": endpoint} if endpoint else {})
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(EXAMPLES / f"{name}.py"), *arguments), stdout=asyncio.subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    try:
        async with AsyncExitStack() as stack:
            web = []
            for _ in range(servers):
                line = (await within(process.stdout.readline(), 60)).decode()
                assert line.startswith("listening on "), line
                client = httpx.AsyncClient(base_url=line.removeprefix("listening on ").strip(), timeout=60, limits=ONCE)
                web.append(await stack.enter_async_context(client))
            yield Running(process, web)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await within(process.communicate(), 30)


@pytest.fixture
async def client(etcd_server: EtcdServer) -> AsyncIterator[Client]:
    async with Client(etcd_server.endpoint) as client:
        await client.delete(prefix="")
        yield client


def test_every_service_has_its_test() -> None:
    tested = {name for name in SERVICES if any(name in key for key in globals() if key.startswith("test_"))}
    assert tested == SERVICES
    assert all((EXAMPLES / f"{name}.py").exists() for name in SERVICES)


async def test_config_service_answers_what_the_guide_prints() -> None:
    """With an etcd of its own: one command is all."""
    async with running("config_service", "0") as service:
        [web] = service.web
        answer = await web.get("/config")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.text == '{"app_name":"MyApp","port":8080,"timeout":30}'


async def test_config_service_shows_a_change_on_every_instance(client: Client, etcd_server: EtcdServer) -> None:
    async with (
        running("config_service", "0", endpoint=etcd_server.endpoint) as one,
        running("config_service", "0", endpoint=etcd_server.endpoint) as two,
    ):
        changed = await one.web[0].put("/config/timeout", content="60")
        assert changed.json() == {"app_name": "MyApp", "port": 8080, "timeout": 60}
        for service in (one, two):
            await until(lambda web=service.web[0]: _shows(web, timeout=60), 30)  # type: ignore[misc]
        await client.config_source("config-service").update({"app_name": "Other"})
        for service in (one, two):
            await until(lambda web=service.web[0]: _shows(web, app_name="Other"), 30)  # type: ignore[misc]


async def _shows(web: httpx.AsyncClient, **expected: object) -> bool:
    found = (await web.get("/config")).json()
    return bool(expected.items() <= found.items())


@pytest.mark.parametrize(
    ("key", "body"),
    [
        ("port", "many"),
        ("port", "0"),
        ("timeout", "-1"),
        ("app_name", '""'),
        ("nonsense", "1"),
        ("port", "[1]"),
        ("port", "true"),
    ],
)
async def test_config_service_refuses_bad_input(client: Client, etcd_server: EtcdServer, key: str, body: str) -> None:
    async with running("config_service", "0", endpoint=etcd_server.endpoint) as service:
        [web] = service.web
        answer = await web.put(f"/config/{key}", content=body)
        assert answer.status_code == 400
        assert (await web.get("/config")).text == '{"app_name":"MyApp","port":8080,"timeout":30}'


async def test_config_service_loses_no_change_of_many_at_once(client: Client, etcd_server: EtcdServer) -> None:
    async with running("config_service", "0", endpoint=etcd_server.endpoint) as service:
        [web] = service.web
        changes = {"app_name": "New", "port": "1", "timeout": "2"}
        answers = await asyncio.gather(*(web.put(f"/config/{key}", content=value) for key, value in changes.items()))
        assert {answer.status_code for answer in answers} == {200}
        await until(lambda: _shows(web, app_name="New", port=1, timeout=2), 30)


async def test_config_service_shows_nothing_that_may_be_old(
    etcd_server: EtcdServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    example = import_module("config_service")
    async with Client(etcd_server.endpoint) as own:
        service = example.ConfigService(own.config_source("config-service"))
        async with service.running(None):
            assert (await service.show(None)).status_code == 200
            await own.aclose()  # which ends the watch, as a permission taken away would
            await within(asyncio.wait([service.following]))
            assert (await service.show(None)).status_code == 503


async def test_service_discovery_answers_what_the_guide_prints() -> None:
    async with running("service_discovery", "0") as service:
        [web] = service.web
        registered = await web.post("/register/web/127.0.0.1/8080")
        assert (registered.status_code, registered.text) == (201, "Service web registered at 127.0.0.1:8080")
        found = await web.get("/discover/web")
        assert found.headers["content-type"] == "application/json"
        assert found.text == '[{"name":"web","address":"127.0.0.1","port":8080}]'
        assert (await web.get("/discover/other")).text == "[]"


@pytest.mark.parametrize(
    "path", ["/register/web/127.0.0.1/port", "/register/web/127.0.0.1/0", "/register/web/127.0.0.1/70000"]
)
async def test_service_discovery_refuses_a_bad_port(etcd_server: EtcdServer, path: str) -> None:
    async with running("service_discovery", "0", endpoint=etcd_server.endpoint) as service:
        answer = await service.web[0].post(path)
        assert (answer.status_code, answer.text.strip()) == (400, "Invalid port number")


@pytest.mark.parametrize("path", ["/register/", "/register/web", "/register/web//80", "/register/web/127.0.0.1/"])
async def test_service_discovery_refuses_missing_parts(etcd_server: EtcdServer, path: str) -> None:
    async with running("service_discovery", "0", endpoint=etcd_server.endpoint) as service:
        answer = await service.web[0].post(path)
        assert answer.status_code == 400
        assert answer.text.startswith("Missing required parameters")
        assert (await service.web[0].get("/discover/")).status_code == 400


async def test_service_discovery_forgets_whoever_stops_registering(client: Client, etcd_server: EtcdServer) -> None:
    async with (
        running("service_discovery", "0", "5", endpoint=etcd_server.endpoint) as one,
        running("service_discovery", "0", "5", endpoint=etcd_server.endpoint) as two,
    ):
        await one.web[0].post("/register/web/10.0.0.1/80")
        await one.web[0].post("/register/web/10.0.0.2/80")

        async def only_the_living() -> bool:
            assert (await two.web[0].post("/register/web/10.0.0.2/80")).status_code == 201
            found = (await two.web[0].get("/discover/web")).json()
            return bool(found == [{"name": "web", "address": "10.0.0.2", "port": 80}])

        await until(only_the_living, 30)


async def test_coordinated_updates_though_one_process_dies_with_the_lock() -> None:
    async with running("coordinated_updates", "0", servers=3) as service:
        posts = [web.post("/update") for web in service.web for _ in range(5)]
        counts = [answer.json()["count"] for answer in await asyncio.gather(*posts)]
        assert sorted(counts) == list(range(1, 16))
        with pytest.raises(httpx.TransportError):
            await service.web[0].post("/crash")
        later = [web.post("/update") for web in service.web[1:] for _ in range(2)]
        answers = await asyncio.gather(*later)
        assert sorted(answer.json()["count"] for answer in answers) == [16, 17, 18, 19]


async def test_leader_worker_does_each_job_once_though_the_leader_dies(client: Client, etcd_server: EtcdServer) -> None:
    async with AsyncExitStack() as stack:
        nodes = {
            name: await stack.enter_async_context(running("leader_worker", name, "0", endpoint=etcd_server.endpoint))
            for name in ("node-1", "node-2", "node-3")
        }

        async def leader() -> str | None:
            found: str | None = (await nodes["node-1"].web[0].get("/leader")).json()["leader"]
            return found

        async def jobs(number: int) -> bool:
            found = (await nodes[watcher].web[0].get("/jobs")).json()
            assert [job["job"] for job in found] == list(range(1, len(found) + 1))
            return len(found) >= number

        watcher = "node-1"
        await until(lambda: jobs(5), 30)
        while (killed := await leader()) is None:  # it may change at any time
            pass
        await nodes[killed].kill()
        watcher = next(name for name in nodes if name != killed)
        done = len((await nodes[watcher].web[0].get("/jobs")).json())
        await until(lambda: jobs(done + 5), 30)
        found = (await nodes[watcher].web[0].get("/jobs")).json()
        terms = [job["term"] for job in found]
        assert terms == sorted(terms)
        assert found[-1]["by"] != killed
        assert found[-1]["term"] > found[0]["term"]


async def test_secrets_service_rotates_under_load(client: Client, etcd_server: EtcdServer, tmp_path: Path) -> None:
    ring = tmp_path / "keyring.json"
    async with running("secrets_service", str(ring), "0", endpoint=etcd_server.endpoint) as service:
        [web] = service.web
        assert (await web.get("/secrets/none")).status_code == 404
        before = json.loads(ring.read_text())["primary"]
        working = True

        async def work(number: int) -> int:
            count = 0
            while working:
                count += 1
                value = f"{number} {count}"
                assert (await web.put(f"/secrets/{number}", content=value)).status_code == 204
                answer = await web.get(f"/secrets/{number}")
                assert (answer.status_code, answer.text) == (200, value)
            return count

        tasks = [asyncio.create_task(work(number)) for number in range(10)]
        try:
            rotations = [(await web.post("/rotate")).json() for _ in range(3)]
        finally:
            working = False
            counts = await asyncio.gather(*tasks)
        assert [rotation["unreadable"] for rotation in rotations] == [0, 0, 0]
        for number, count in enumerate(counts):
            assert (await web.get(f"/secrets/{number}")).text == f"{number} {count}"
            raw = await client.get(f"secrets/{number}")
            assert raw is not None
            assert raw.value.startswith(b"\xffEAE")
    after = json.loads(ring.read_text())
    assert after["primary"] != before
    assert len(after["keys"]) == 1
