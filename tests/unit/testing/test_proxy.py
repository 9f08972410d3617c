"""Every fault of the proxy, between a client and a server that are both plain sockets of this test."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest

from etcd_async.testing import Direction, FaultProxy
from etcd_async.testing.ports import free_port

pytestmark = pytest.mark.loops("asyncio", "debug", "uvloop")

MEGABYTE = 1 << 20
WAIT = 20.0


class Peer:
    """One end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def receive(self, size: int) -> bytes:
        async with asyncio.timeout(WAIT):
            return await self.reader.readexactly(size)

    async def receive_all(self) -> bytes:
        async with asyncio.timeout(WAIT):
            return await self.reader.read()

    async def assert_reset(self) -> None:
        async with asyncio.timeout(WAIT):
            with pytest.raises(ConnectionResetError):
                await self.reader.read()

    async def aclose(self) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


class Net:
    """A server, a proxy in front of it, and the connections made."""

    def __init__(self, proxy: FaultProxy, arrivals: asyncio.Queue[Peer], stack: AsyncExitStack) -> None:
        self.proxy = proxy
        self.arrivals = arrivals
        self._stack = stack

    async def dial(self) -> Peer:
        """A client's end of a new connection."""
        host, _, port = self.proxy.endpoint.removeprefix("http://").partition(":")
        client = Peer(*await asyncio.open_connection(host, int(port), limit=4 * MEGABYTE))
        self._stack.push_async_callback(client.aclose)
        return client

    async def arrival(self) -> Peer:
        """The server's end of the next connection that reaches it."""
        async with asyncio.timeout(WAIT):
            return await self.arrivals.get()

    async def connect(self) -> tuple[Peer, Peer]:
        return await self.dial(), await self.arrival()

    async def until(self, condition: Callable[[FaultProxy], bool]) -> None:
        async with asyncio.timeout(WAIT):
            await self.proxy.until(condition)


@asynccontextmanager
async def network() -> AsyncIterator[Net]:
    arrivals: asyncio.Queue[Peer] = asyncio.Queue()

    async def arrived(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = Peer(reader, writer)
        stack.push_async_callback(server.aclose)
        arrivals.put_nowait(server)

    port = free_port()
    async with AsyncExitStack() as stack:
        server = await asyncio.start_server(arrived, "127.0.0.1", port, limit=4 * MEGABYTE)
        stack.callback(server.close)
        proxy = await stack.enter_async_context(FaultProxy(f"127.0.0.1:{port}"))
        yield Net(proxy, arrivals, stack)


@pytest.fixture
async def net() -> AsyncIterator[Net]:
    async with network() as net:
        yield net


async def test_bytes_pass_both_ways_unchanged(net: Net) -> None:
    client, server = await net.connect()
    data = bytes(range(256)) * 12_000
    sending = asyncio.ensure_future(client.send(data))
    assert await server.receive(len(data)) == data
    await sending
    await server.send(b"answer")
    assert await client.receive(6) == b"answer"
    assert (net.proxy.passed("to_server"), net.proxy.passed("to_client")) == (len(data), 6)


async def test_the_end_of_a_stream_passes_and_leaves_the_other_direction_open(net: Net) -> None:
    client, server = await net.connect()
    client.writer.write_eof()
    assert await server.receive_all() == b""
    await server.send(b"late answer")
    server.writer.write_eof()
    assert await client.receive_all() == b"late answer"
    await net.until(lambda proxy: proxy.connections == 0)


async def test_a_reset_passes(net: Net) -> None:
    client, server = await net.connect()
    server.writer.transport.abort()
    await server.writer.wait_closed()
    async with asyncio.timeout(WAIT):
        assert await client.reader.read() == b""


async def test_connections_are_counted(net: Net) -> None:
    assert (net.proxy.connections, net.proxy.accepted) == (0, 0)
    client, server = await net.connect()
    await net.connect()
    assert (net.proxy.connections, net.proxy.accepted) == (2, 2)
    client.writer.close()
    server.writer.close()
    await net.until(lambda proxy: proxy.connections == 1)
    await net.connect()
    assert (net.proxy.connections, net.proxy.accepted) == (2, 3)


async def test_cut_resets_both_sides_and_lets_new_connections_in(net: Net) -> None:
    client, server = await net.connect()
    net.proxy.cut()
    await client.assert_reset()
    await server.assert_reset()
    assert net.proxy.connections == 0
    client, server = await net.connect()
    await client.send(b"again")
    assert await server.receive(5) == b"again"


async def test_what_a_cut_finds_on_its_way_never_arrives(net: Net) -> None:
    client, server = await net.connect()
    net.proxy.hold("to_client")
    await server.send(b"held")
    await (await net.dial()).send(b"x")  # a later connection is through, so the proxy has read what it holds
    assert await (await net.arrival()).receive(1) == b"x"
    net.proxy.cut()
    net.proxy.heal()
    await client.assert_reset()
    assert net.proxy.passed("to_client") == 0


async def test_a_blackhole_swallows_both_directions_until_heal_resets(net: Net) -> None:
    client, server = await net.connect()
    net.proxy.blackhole()
    await client.send(b"lost")
    await server.send(b"gone!")
    await net.until(lambda proxy: (proxy.swallowed("to_server"), proxy.swallowed("to_client")) == (4, 5))
    assert net.proxy.passed() == 0
    net.proxy.heal()
    await client.assert_reset()
    await server.assert_reset()


async def test_a_blackhole_takes_new_connections_and_never_blocks_the_sender(net: Net) -> None:
    net.proxy.blackhole()
    client, _ = await net.connect()
    async with asyncio.timeout(WAIT):
        await client.send(bytes(20 * MEGABYTE))
    await net.until(lambda proxy: proxy.swallowed() == 20 * MEGABYTE)


async def test_a_connection_that_lost_nothing_survives_a_blackhole(net: Net) -> None:
    client, server = await net.connect()
    net.proxy.blackhole()
    net.proxy.heal()
    await client.send(b"fine")
    assert await server.receive(4) == b"fine"


async def test_a_blackhole_hides_that_the_server_closed(net: Net) -> None:
    client, server = await net.connect()
    net.proxy.blackhole("to_client")
    server.writer.transport.abort()
    await server.writer.wait_closed()
    reading = asyncio.ensure_future(client.reader.read(1))
    await (await net.dial()).send(b"x")  # a later connection is through, so the news had its chance
    other = await net.arrival()
    assert await other.receive(1) == b"x"
    assert not reading.done()
    net.proxy.heal()
    with pytest.raises(ConnectionResetError):
        await reading


async def test_dropped_replies_let_requests_through(net: Net) -> None:
    client, server = await net.connect()
    net.proxy.blackhole("to_client")
    await client.send(b"request")
    assert await server.receive(7) == b"request"
    await server.send(b"reply")
    await net.until(lambda proxy: proxy.swallowed("to_client") == 5)
    assert net.proxy.passed("to_client") == 0


async def test_held_bytes_pass_after_heal_in_order(net: Net) -> None:
    client, server = await net.connect()
    net.proxy.hold()
    await client.send(b"one")
    await client.send(b"two")
    net.proxy.heal()
    assert await server.receive(6) == b"onetwo"


@pytest.mark.parametrize("side", ["to_server", "to_client"])
async def test_a_held_direction_fills_until_its_sender_can_send_no_more(net: Net, side: Direction) -> None:
    client, server = await net.connect()
    sender, receiver = (client, server) if side == "to_server" else (server, client)
    net.proxy.hold(side)
    sending = asyncio.ensure_future(sender.send(bytes(64 * MEGABYTE)))
    await receiver.send(b"the other way is open")
    assert await sender.receive(21) == b"the other way is open"
    assert not sending.done()
    assert net.proxy.passed(side) == 0
    net.proxy.heal()
    while net.proxy.passed(side) < 64 * MEGABYTE:
        await receiver.reader.read(MEGABYTE)
    await sending


async def test_a_receiver_that_does_not_read_stops_the_sender(net: Net) -> None:
    client, server = await net.connect()
    server.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport is a whole one
    sending = asyncio.ensure_future(client.send(bytes(64 * MEGABYTE)))
    await server.send(b"x")
    assert await client.receive(1) == b"x"
    assert not sending.done()
    assert net.proxy.passed("to_server") < 32 * MEGABYTE
    sending.cancel()


async def test_a_delay_is_latency_and_keeps_order(net: Net) -> None:
    client, server = await net.connect()
    net.proxy.delay(0.5, jitter=0.1)
    loop = asyncio.get_running_loop()
    started = loop.time()
    data = bytes(range(256)) * 3000
    sending = asyncio.ensure_future(client.send(data))
    assert await server.receive(len(data)) == data
    took = loop.time() - started
    await sending
    assert took >= 0.5 - 0.002  # the granularity of the loop's clock
    assert took < 0.5 * 12  # were it added to each of the twelve pieces or more


async def test_heal_lets_delayed_bytes_pass_at_once(net: Net) -> None:
    client, server = await net.connect()
    net.proxy.delay(3600)
    await client.send(b"soon")
    net.proxy.heal()
    assert await server.receive(4) == b"soon"


async def test_a_throttled_connection_takes_its_time(net: Net) -> None:
    client, server = await net.connect()
    net.proxy.throttle(10_000, "to_server")
    loop = asyncio.get_running_loop()
    started = loop.time()
    await client.send(bytes(1500))
    await server.receive(1500)
    assert loop.time() - started >= 0.1 - 0.002  # three pieces of 500 bytes, two pauses of 50 ms


async def test_refused_connections_fail_at_once_while_open_ones_go_on(net: Net) -> None:
    client, server = await net.connect()
    endpoint = net.proxy.endpoint
    net.proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await net.dial()
    await client.send(b"still here")
    assert await server.receive(10) == b"still here"
    net.proxy.accept()
    assert net.proxy.endpoint == endpoint
    await net.connect()


async def test_heal_listens_again(net: Net) -> None:
    net.proxy.refuse()
    net.proxy.heal()
    await net.connect()


@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_cut_after_passes_exactly_so_many_bytes_to_the_server(net: Net, size: int) -> None:
    client, server = await net.connect()
    net.proxy.cut_after(size, "to_server")
    data = bytes(range(256)) * 1000
    client.writer.write(data)
    assert await server.receive_all() == data[:size]
    await client.assert_reset()
    assert net.proxy.passed("to_server") == size


async def test_cut_after_passes_exactly_so_many_bytes_to_the_client(net: Net) -> None:
    client, server = await net.connect()
    await client.send(b"unread by the proxy's side of the cut" * 1000)
    net.proxy.cut_after(MEGABYTE + 1, "to_client")
    server.writer.write(b"x" * (2 * MEGABYTE))
    assert await client.receive_all() == b"x" * (MEGABYTE + 1)
    assert net.proxy.connections == 0


async def test_cut_after_cuts_one_connection_once(net: Net) -> None:
    first, first_server = await net.connect()
    second, second_server = await net.connect()
    net.proxy.cut_after(4, "to_server")
    await first.send(b"abc")
    assert await first_server.receive(3) == b"abc"
    await second.send(b"defg")
    assert await second_server.receive_all() == b"d"
    await first.send(b"hij")
    assert await first_server.receive(3) == b"hij"


async def test_a_server_that_is_down_resets_the_client() -> None:
    async with network() as net, FaultProxy(f"127.0.0.1:{free_port()}") as proxy:
        net.proxy = proxy
        await (await net.dial()).assert_reset()


async def test_a_blackhole_hides_that_the_server_is_down() -> None:
    async with network() as net, FaultProxy(f"127.0.0.1:{free_port()}") as proxy:
        net.proxy = proxy
        proxy.blackhole()
        client = await net.dial()
        reading = asyncio.ensure_future(client.reader.read(1))
        await net.until(lambda proxy: proxy.accepted == 1)
        assert proxy.connections == 1
        assert not reading.done()
        proxy.heal()
        with pytest.raises(ConnectionResetError):
            await reading


async def test_stop_cuts_everything_leaves_no_task_and_can_start_again() -> None:
    async with network() as net:
        before = asyncio.all_tasks()
        client, _ = await net.connect()
        net.proxy.delay(3600)
        await client.send(b"on its way")
        await net.connect()
        endpoint = net.proxy.endpoint
        await net.proxy.stop()
        assert not {task for task in asyncio.all_tasks() - before if "proxy" in task.get_name()}
        assert net.proxy.connections == 0
        await client.assert_reset()
        await net.proxy.stop()
        await net.proxy.start()
        assert net.proxy.endpoint == endpoint


@pytest.mark.parametrize(
    ("target", "endpoint"), [("127.0.0.1:1", "http://127.0.0.1:"), ("https://localhost:1", "https://127.0.0.1:")]
)
async def test_the_endpoint_keeps_the_scheme_of_the_target(target: str, endpoint: str) -> None:
    async with FaultProxy(target) as proxy:
        assert proxy.endpoint.startswith(endpoint)


def test_an_endpoint_needs_a_start() -> None:
    with pytest.raises(RuntimeError, match="not started"):
        _ = FaultProxy("127.0.0.1:1").endpoint


@pytest.mark.parametrize("target", ["localhost", "http://:2379", ""])
def test_a_target_without_host_or_port_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match="target"):
        FaultProxy(target)


@pytest.mark.parametrize(
    "fault",
    [
        lambda proxy: proxy.delay(-1),
        lambda proxy: proxy.delay(1, jitter=-1),
        lambda proxy: proxy.throttle(0),
        lambda proxy: proxy.throttle(-math.inf),
        lambda proxy: proxy.cut_after(0),
        lambda proxy: proxy.blackhole("up"),
        lambda proxy: proxy.passed("up"),
    ],
)
def test_impossible_faults_are_refused(fault: Callable[[FaultProxy], object]) -> None:
    with pytest.raises(ValueError, match="must"):
        fault(FaultProxy("127.0.0.1:1"))
