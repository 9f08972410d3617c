"""A client from its construction to its end."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from etcd_async import (
    Client,
    ClientClosed,
    DeadlineExceeded,
    EtcdError,
    LeadershipLost,
    LeaseLost,
    LockLost,
    Service,
    Unavailable,
    put,
)
from etcd_async.testing import EtcdServer, FaultProxy
from tests.faults.support import UNFORGETFUL
from tests.integration.support import tasks, until_keys
from tests.support.live import forever, running, take, ticking, within

LOOPS = pytest.mark.loops("asyncio", "debug", "uvloop")
ROOT = str(Path(__file__).parent.parent.parent)

CALLS: dict[str, Callable[[Client], Any]] = {
    "put": lambda c: c.put("k", "v"),
    "get": lambda c: c.get("k"),
    "get without limit": lambda c: c.get("k", timeout=None),
    "txn": lambda c: c.txn(then=[put("k", "v")]),
    "scan": lambda c: anext(c.scan(prefix="")),
    "grant": lambda c: c.leases.grant(5),
    "keep_alive_once": lambda c: c.leases.keep_alive_once(5),
    "lease": lambda c: c.lease(5).__aenter__(),
    "watch": lambda c: c.watch("k").__aenter__(),
    "lock": lambda c: c.lock("x").__aenter__(),
    "try_acquire": lambda c: c.lock("x").try_acquire(),
    "campaign": lambda c: c.election("e").campaign().__aenter__(),
    "register": lambda c: c.register(Service("s", "1", "a:1")).__aenter__(),
    "discover": lambda c: c.discover("s"),
    "namespaced": lambda c: c.namespaced("a/").get("k"),
}


@asynccontextmanager
async def no_task_left() -> AsyncIterator[None]:
    before = tasks()
    yield
    assert tasks() <= before


def test_a_client_is_made_outside_a_loop(etcd_server: EtcdServer) -> None:
    async def use() -> bytes | None:
        async with client, client.watch("/made-outside") as watch, client.lease(5):
            await client.put("/made-outside", "v")
            (event,) = await take(watch, 1)
            return event.kv.value

    client = Client(etcd_server.endpoint)
    assert asyncio.run(use()) == b"v"


@LOOPS
async def test_a_client_is_opened_in_one_task_and_closed_in_another(etcd_server: EtcdServer) -> None:
    async def open_it() -> Client:
        client = await Client.connect(etcd_server.endpoint)
        await client.put("/k", "v")
        watch = client.watch("/k")
        await watch.__aenter__()
        return client

    async with no_task_left():
        client = await asyncio.create_task(open_it())
        assert await asyncio.create_task(client.exists("/k"))
        await asyncio.create_task(client.aclose())


@pytest.mark.timeout(240)  # a test run of its own
def test_a_client_lives_in_fixtures_of_anyios_plugin_and_of_pytest_asyncio(
    pytester: pytest.Pytester, etcd_server: EtcdServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = f"""
        async with Client({etcd_server.endpoint!r}) as client, client.lease(10, on_loss="signal") as lease:
            await client.put("/fixture", "v", lease=lease)
            yield client
    """
    pytester.makepyfile(
        f"""
    import pytest
    import pytest_asyncio
    from etcd_async import Client

    @pytest.fixture
    def anyio_backend():
        return "asyncio"

    @pytest.fixture
    async def of_anyio(anyio_backend):{body}
    @pytest_asyncio.fixture
    async def of_asyncio():{body}
    @pytest.mark.anyio
    async def test_anyio(of_anyio):
        assert await of_anyio.exists("/fixture")

    @pytest.mark.asyncio
    async def test_asyncio(of_asyncio):
        assert await of_asyncio.exists("/fixture")
    """
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]))
    options = ("-W", "error", "-o", "asyncio_default_fixture_loop_scope=function", "-p", "no:cacheprovider")
    pytester.runpytest_subprocess(*options).assert_outcomes(passed=2)


@LOOPS
@pytest.mark.parametrize("is_first_closed_first", [True, False])
async def test_two_clients_close_in_any_order(etcd_server: EtcdServer, is_first_closed_first: bool) -> None:
    async with no_task_left():
        first, second = Client(etcd_server.endpoint), Client(etcd_server.endpoint)
        for client in (first, second):
            await client.put("/k", "v")
            await client.watch("/k").__aenter__()
        one, other = (first, second) if is_first_closed_first else (second, first)
        await one.aclose()
        assert await other.exists("/k")
        await other.aclose()


async def test_closing_twice_or_unused_is_harmless(etcd_server: EtcdServer) -> None:
    async with no_task_left():
        client = Client(etcd_server.endpoint)
        await client.aclose()
        await client.aclose()
        async with Client(etcd_server.endpoint) as other:
            await other.exists("/k")
            await asyncio.gather(other.aclose(), other.aclose())


@pytest.mark.parametrize("call", list(CALLS.values()), ids=list(CALLS))
@pytest.mark.parametrize("is_used", [True, False], ids=["used", "unused"])
async def test_a_call_after_closing_is_client_closed(
    etcd_server: EtcdServer, call: Callable[[Client], Any], is_used: bool
) -> None:
    async with no_task_left():
        client = Client(etcd_server.endpoint)
        if is_used:
            await client.exists("/k")
        await client.aclose()
        with pytest.raises(ClientClosed):
            await within(call(client), 2)


@LOOPS
@pytest.mark.usefixtures("client")  # no lock that an earlier run has left
async def test_closing_ends_all_that_is_under_way_within_two_seconds(etcd_server: EtcdServer) -> None:
    async def hold(scope: Any) -> None:
        async with scope:
            held.append(scope)
            await forever()

    async def watch() -> None:
        async with client.watch("/k") as watch:
            held.append(watch)
            await take(watch, 1, 60)

    held: list[Any] = []
    async with no_task_left(), FaultProxy(etcd_server.endpoint) as proxy:
        client = Client(proxy.endpoint, timeout=30)
        scopes = [
            client.lease(30),
            client.lock("closing/lock", ttl=30),
            client.election("closing/election", ttl=30).campaign(),
            client.register(Service("closing", "1", "a:1"), ttl=30),
        ]
        ends: list[asyncio.Task[Any]] = [asyncio.create_task(hold(scope)) for scope in scopes]
        ends.append(asyncio.create_task(watch()))
        while len(held) < 5:
            await client.exists("/k")  # a round trip for the others to get on
        proxy.blackhole()
        calls = [
            client.put("/k", bytes(10_000)),
            client.get("/k", timeout=None),
            client.watch("/k2").__aenter__(),
            client.leases.keep_alive_once(5),
            client.lease(5).__aenter__(),
        ]
        ends += map(asyncio.ensure_future, calls)
        await proxy.until(lambda proxy: proxy.swallowed("to_server") > 10_000)
        async with ticking() as ticker:
            await client.aclose()
        assert ticker.seconds < 2
        registered = ends.pop(3)  # a registration does not cancel its body
        ended = await within(asyncio.gather(*ends, return_exceptions=True))
        registered.cancel()
        await asyncio.wait([registered])
    expected = [LeaseLost, LockLost, LeadershipLost, *[ClientClosed] * 6]
    assert [type(error) for error in ended] == expected
    assert [isinstance(error, EtcdError) and error.maybe_applied for error in ended[4:6]] == [True, False]


async def test_leaving_a_scope_after_closing_is_quick_and_quiet(etcd_server: EtcdServer) -> None:
    async with no_task_left():
        client = Client(etcd_server.endpoint)
        async with client.lease(30, on_loss="signal") as lease, client.watch("/k"):
            await client.aclose()
            reason = await within(lease.lost(), 1)
            assert isinstance(reason.__cause__, ClientClosed)


async def test_connect_reaches_a_server_before_it_returns(etcd_server: EtcdServer) -> None:
    client = await Client.connect([etcd_server.endpoint], timeout=5)
    assert await client.get("/connected") is None
    await client.aclose()


async def test_connect_without_a_server_is_unavailable_and_names_each_endpoint(dead_endpoint: str) -> None:
    other = dead_endpoint.replace("127.0.0.1", "localhost")
    async with no_task_left():
        with pytest.raises(Unavailable) as caught:
            await Client.connect([dead_endpoint, other], timeout=10)
    assert {attempt.endpoint for attempt in caught.value.attempts} == {dead_endpoint, other}
    assert all("refused" in attempt.reason for attempt in caught.value.attempts)
    assert dead_endpoint in str(caught.value)
    assert not caught.value.maybe_applied


async def test_connect_to_what_is_not_etcd_is_an_error_at_once(etcd_server: EtcdServer) -> None:
    http_only = f"http://127.0.0.1:{etcd_server.ports.metrics}"
    async with no_task_left():
        with pytest.raises(EtcdError, match=http_only):
            await within(Client.connect(http_only, timeout=5), 7)


async def test_a_dead_endpoint_among_several_is_passed_over(dead_endpoint: str, etcd_server: EtcdServer) -> None:
    for _ in range(5):
        async with Client(f"{dead_endpoint},{etcd_server.endpoint}") as client:
            await within(client.put("/k", "v"))
            assert await client.exists("/k")


async def test_a_server_that_answers_nothing_costs_the_timeout_and_the_truth(etcd_server: EtcdServer) -> None:
    async with FaultProxy(etcd_server.endpoint) as proxy, Client(proxy.endpoint, timeout=0.3) as client:
        await client.put("/k", "v", timeout=20)
        proxy.blackhole("to_client")
        async with ticking() as ticker:
            with pytest.raises(DeadlineExceeded) as read:
                await within(client.get("/k"))
            with pytest.raises(DeadlineExceeded) as written:
                await within(client.put("/k", "w"))
            with pytest.raises(DeadlineExceeded):
                await within(client.watch("/k").__aenter__())
            with pytest.raises(DeadlineExceeded):
                await within(client.leases.keep_alive_once(5, timeout=0.1))
        assert ticker.seconds < 2
        assert isinstance(read.value, TimeoutError)
        assert (read.value.maybe_applied, written.value.maybe_applied) == (False, True)


async def test_a_timeout_that_has_passed_is_deadline_exceeded(client: Client) -> None:
    for timeout in (0, -1.5):
        with pytest.raises(DeadlineExceeded):
            await client.get("/k", timeout=timeout)
    assert await client.get("/k") is None


async def test_a_client_outlives_a_restart_of_its_server() -> None:
    async with (
        EtcdServer(extra_args=UNFORGETFUL) as server,
        Client(server.endpoint) as client,
        client.watch("/k") as watch,
    ):
        await client.put("/k", "1")
        await server.kill()
        with pytest.raises(Unavailable):
            await within(client.put("/k", "perhaps sent before the loss was noticed", timeout=30), 20)
        with pytest.raises((Unavailable, DeadlineExceeded), match="refused") as caught:
            await within(client.put("/k", "never sent", timeout=1))
        assert not caught.value.maybe_applied
        await server.start()
        await client.put("/k", "2", timeout=20)
        assert [event.kv.value for event in await take(watch, 2)] == [b"1", b"2"]


async def test_a_cancelled_call_leaves_an_enclosing_scope_as_it_was(client: Client) -> None:
    async def call() -> None:
        async with asyncio.timeout(0.001), asyncio.timeout(10):
            while True:
                await client.get("/k")

    for _ in range(20):
        with pytest.raises(TimeoutError):
            await call()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0


async def test_all_that_a_client_does_shares_one_connection(etcd_server: EtcdServer) -> None:
    async with (
        FaultProxy(etcd_server.endpoint) as proxy,
        Client(proxy.endpoint) as client,
        client.lock("one/lock", ttl=10),
        client.watch("/k") as watch,
        client.lease(10),
        client.register(Service("one", "1", "a:1")),
        running(client.lock("one/lock").acquire()),
    ):
        await until_keys(client, "one/lock/", 2)
        await asyncio.gather(*(client.put("/k", str(number)) for number in range(100)))
        await take(watch, 100)
        assert proxy.accepted == 1


def test_nothing_shows_the_password() -> None:
    client = Client("h:2379", user="root", password="hunter2")
    assert "hunter2" not in repr(client)
    assert "h:2379" in repr(client)
