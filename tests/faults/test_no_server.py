"""No server, a dead one among others, and networks that swallow everything."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TypeVar

import pytest

from etcd_async import Client, DeadlineExceeded, EtcdError, TransportOptions, Unavailable
from etcd_async.testing import EtcdServer, FaultProxy
from tests.faults.support import Stopwatch, outcome, start, tasks
from tests.faults.witness import FairStopwatch, Witness, witnessing
from tests.support.live import take, within

pytestmark = [pytest.mark.faults, pytest.mark.spared]

T = TypeVar("T")


@pytest.fixture
async def witness(server: EtcdServer) -> AsyncIterator[Witness]:
    async with witnessing([server.endpoint]) as witness:
        yield witness


@pytest.fixture
def dead() -> Iterator[list[str]]:
    """Two endpoints that refuse connections, and stay so: their ports are taken, but nobody listens."""
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        yield [f"http://127.0.0.1:{each.getsockname()[1]}" for each in (first, second)]


async def undisturbed(work: Callable[[], Awaitable[T]], witness: Witness, *, but_for: float) -> T:
    """Do *work* until nothing stood still meanwhile, *but for* so many seconds, and return its result."""
    while True:
        began = time.monotonic()
        result = await work()
        if witness.excuse(began, time.monotonic()) < but_for:
            return result


@pytest.mark.parametrize("timeout", [0.2, 1.0, 5.0, None])
async def test_refused_connections_are_an_error_in_time_that_names_each_endpoint(
    dead: list[str], timeout: float | None, witness: Witness
) -> None:
    before = tasks()
    async with Client(dead) as client:

        async def call() -> tuple[object, object]:
            watch = FairStopwatch(witness)
            reading, writing = client.get("/k", timeout=timeout), client.put("/k", "v", timeout=timeout)
            errors = await within(asyncio.gather(outcome(reading), outcome(writing)), 30)
            assert watch.seconds < (15 if timeout is None else timeout + 1)
            return errors

        for error in await undisturbed(call, witness, but_for=(timeout or 1) / 2):
            assert isinstance(error, Unavailable | DeadlineExceeded)
            assert not error.maybe_applied
            assert {attempt.endpoint for attempt in error.attempts} == set(dead)
            assert all("refused" in attempt.reason and attempt.endpoint in str(error) for attempt in error.attempts)
    assert tasks() <= before


@pytest.mark.parametrize("how", ["lease", "lock", "campaign", "watch", "scan", "connect"])
async def test_scopes_without_a_server_fail_in_time(dead: list[str], how: str) -> None:
    async def use(client: Client) -> None:
        match how:
            case "lease":
                await client.lease(timeout=1).__aenter__()
            case "lock":
                await client.lock("x", timeout=1).__aenter__()
            case "campaign":
                await client.election("x").campaign(timeout=1).__aenter__()
            case "watch":
                await client.watch("/k", timeout=1).__aenter__()
            case "scan":
                await anext(client.scan(prefix="/", timeout=1))
            case "connect":
                await Client.connect(dead, timeout=1)

    watch = Stopwatch()
    async with Client(dead) as client:
        error = await within(outcome(use(client)))
    assert watch.seconds < 5
    assert isinstance(error, EtcdError | TimeoutError)


async def test_a_network_that_swallows_everything_ends_calls_at_their_deadline(
    proxy: FaultProxy, witness: Witness
) -> None:
    proxy.blackhole()
    async with Client(proxy.endpoint, timeout=0.5) as client:
        watch = FairStopwatch(witness)
        read, write = await within(asyncio.gather(outcome(client.get("/k")), outcome(client.put("/k", "v"))))
        assert watch.seconds < 1.5
        assert isinstance(read, DeadlineExceeded)
        assert isinstance(write, DeadlineExceeded)
        # No connection was ever made, so nothing can have been sent.
        assert not write.maybe_applied
        assert proxy.endpoint in str(read)
        proxy.heal()
        assert (await client.put("/k", "v", timeout=10)).revision > 0


async def test_a_network_that_swallows_everything_is_noticed_while_connecting(proxy: FaultProxy) -> None:
    proxy.blackhole()
    async with Client(proxy.endpoint, transport=TransportOptions(connect_timeout=0.2), timeout=10) as client:
        error = await within(outcome(client.get("/k")), 20)
        assert isinstance(error, Unavailable | DeadlineExceeded)
        assert [attempt.endpoint for attempt in error.attempts] == [proxy.endpoint] * len(error.attempts)
        assert "0.2 s" in str(error)


async def test_a_dead_endpoint_among_others_hinders_no_call(
    server: EtcdServer, dead: list[str], witness: Witness
) -> None:
    for _ in range(20):  # whichever endpoint comes first
        async with Client([*dead, server.endpoint]) as client:
            watch = FairStopwatch(witness)
            await client.put("/k", "v")
            assert await client.exists("/k")
            async with client.watch("/k") as changes, client.lease(ttl=5) as lease:
                await client.put("/k", "w", lease=lease)
                assert [each.kv.value for each in await take(changes, 1)] == [b"w"]
            assert watch.seconds < 2


async def test_an_endpoint_that_swallows_everything_hinders_no_call_for_long(
    server: EtcdServer, proxy: FaultProxy, witness: Witness
) -> None:
    proxy.blackhole()
    options = TransportOptions(connect_timeout=1)
    clients = [Client([proxy.endpoint, server.endpoint], transport=options) for _ in range(10)]
    try:
        watch = FairStopwatch(witness)
        puts = [start(client.put(f"/k/{number}", "v")) for number, client in enumerate(clients)]
        await within(asyncio.gather(*puts), 20)
        assert watch.seconds < 2
        watch = FairStopwatch(witness)
        gets = [client.get(f"/k/{number}") for number, client in enumerate(clients)]
        assert all(await within(asyncio.gather(*gets), 20))
        assert watch.seconds < 2  # whoever met the good endpoint first now meets the bad one
    finally:
        await asyncio.gather(*(client.aclose() for client in clients))


async def test_a_connection_that_falls_silent_is_given_up_for_another(server: EtcdServer, proxy: FaultProxy) -> None:
    options = TransportOptions(ping_interval=5, ping_timeout=1)
    async with (
        Client(proxy.endpoint, transport=options) as client,
        Client(server.endpoint) as other,
        client.watch("/k") as watch,
    ):
        proxy.blackhole()
        await other.put("/k", "unheard")
        await within(proxy.until(lambda proxy: proxy.accepted > 1 or proxy.connections == 0), 30)
        proxy.heal()
        assert [each.kv.value for each in await take(watch, 1, 20)] == [b"unheard"]
