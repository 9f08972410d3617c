"""Making connections: shared attempts, time limits, pacing, and reasons for people."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
from h2.settings import SettingCodes

from etcd_async._protocol.endpoints import parse
from etcd_async._transport import connector
from etcd_async._transport.channel import Channel
from etcd_async._transport.failure import CLOSED_EARLY, AttemptFailed
from etcd_async.errors import ClientClosed, DeadlineExceeded
from etcd_async.options import Backoff, TransportOptions
from tests.support.h2server import H2Server, Request
from tests.support.live import within
from tests.unit.transport.support import PATH, call, channel_to, options, warm

pytestmark = pytest.mark.loops("asyncio", "uvloop")


def pong(request: Request) -> None:
    request.answer(b"pong")


class Speaker(asyncio.Protocol):
    """Says one thing to whatever comes."""

    def __init__(self, says: bytes, closes: bool) -> None:
        self.says = says
        self.closes = closes
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.says:
            self.transport.write(self.says)
            self.says = b""
        if self.closes:
            self.transport.close()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost.set_result(None)


@asynccontextmanager
async def raw_server(says: bytes, *, closes: bool = False) -> AsyncIterator[str]:
    """A TCP server that says *says* to whatever comes."""
    made: list[Speaker] = []

    def speaker() -> Speaker:
        made.append(Speaker(says, closes))
        return made[-1]

    server = await asyncio.get_running_loop().create_server(speaker, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for one in made:
            one.transport.abort()
            await within(one.lost)


async def reason_for(endpoint: str, made: TransportOptions | None = None) -> str:
    async with channel_to(endpoint, made) as channel:
        with pytest.raises(AttemptFailed) as caught:
            await within(call(channel))
        assert not caught.value.sent
        assert caught.value.endpoint == endpoint
        return caught.value.reason


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def test_nobody_listening_is_a_refused_connection() -> None:
    assert await reason_for(f"http://127.0.0.1:{closed_port()}") == "connection refused"


async def test_a_name_that_does_not_resolve_is_told_as_such() -> None:
    assert "could not be resolved" in await reason_for("http://nowhere.invalid:2379")


async def test_a_missing_unix_socket_is_told_as_such(tmp_path: Path) -> None:
    assert (await reason_for(f"unix://{tmp_path}/none")).startswith("no such file or directory")


async def test_a_server_of_http_1_is_recognised() -> None:
    async with raw_server(b"HTTP/1.1 400 Bad Request\r\n\r\n") as endpoint:
        assert await reason_for(endpoint) == "the server speaks HTTP/1 here: HTTP/1.1 400 Bad Request"


async def test_a_server_of_tls_is_recognised() -> None:
    async with raw_server(b"\x15\x03\x01\0\2\2\x0a", closes=True) as endpoint:
        assert await reason_for(endpoint) == "the server expects TLS (use https://)"


async def test_a_server_that_closes_at_once_never_began_http_2() -> None:
    async with raw_server(b"", closes=True) as endpoint:
        assert await reason_for(endpoint) == f"{CLOSED_EARLY}; it may expect TLS: https://"


async def test_a_server_that_begins_with_something_else_broke_http_2() -> None:
    async with raw_server(b"\0\0\x08\6\0\0\0\0\0pingping") as endpoint:
        assert "did not begin with its settings" in await reason_for(endpoint)


async def test_a_server_that_only_accepts_is_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: dict[float | None, asyncio.Timeout] = {}
    plain = asyncio.timeout

    def timeout(delay: float | None) -> asyncio.Timeout:
        limits[delay] = plain(delay)
        return limits[delay]

    monkeypatch.setattr(asyncio, "timeout", timeout)
    async with H2Server(greets=False) as server:
        saying = asyncio.create_task(reason_for(server.endpoint, options(connect_timeout=77.0)))
        peer = await server.peer()
        await peer.until(lambda: bool(peer.reads))
        limits[77.0].reschedule(0)
        assert await saying == "connected, but the server did not speak HTTP/2 within 77 s"


async def test_a_server_that_says_goodbye_at_once_is_a_failed_attempt() -> None:
    hello_and_bye = b"\0\0\0\4\0\0\0\0\0" + b"\0\0\x0c\7\0\0\0\0\0" + bytes(8) + b"full"
    async with raw_server(hello_and_bye) as endpoint:
        assert await reason_for(endpoint) == "the server said goodbye: NO_ERROR: full"


async def test_unix_sockets_work(tmp_path: Path) -> None:
    path = str(tmp_path / "etcd.sock")
    async with H2Server(answers=pong, path=path) as server, channel_to(server) as channel:
        assert await within(call(channel)) == b"pong"
        assert (await server.request()).headers[":authority"] == "localhost"


async def test_ipv6_works() -> None:
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    port = listener.getsockname()[1]
    listener.close()
    assert await reason_for(f"http://[::1]:{port}") == "connection refused"


async def test_all_calls_share_one_attempt_and_one_connection() -> None:
    async with H2Server(answers=pong) as server, channel_to(server) as channel:
        assert await within(asyncio.gather(*[call(channel) for _ in range(100)])) == [b"pong"] * 100
        assert len(server.peers) == 1


async def test_a_deadline_while_connecting_leaves_the_attempt_to_the_others() -> None:
    async with H2Server(answers=pong, greets=False) as server, channel_to(server) as channel:
        patient = call(channel)
        with pytest.raises(DeadlineExceeded, match="while connecting") as caught:
            await channel.unary(PATH, b"", deadline=time.monotonic() + 0.02)
        assert not caught.value.maybe_applied
        impatient = call(channel)
        await asyncio.sleep(0)
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        server.greets = True
        peer = await server.peer()
        peer.h2.receive_data(b"".join(peer.reads))
        peer.flush()
        assert await within(patient) == b"pong"
        assert len(server.peers) == 1


async def test_closing_while_connecting_ends_the_waiting_calls() -> None:
    async with H2Server(greets=False) as server, channel_to(server) as channel:
        tasks = [call(channel) for _ in range(3)]
        await server.peer()
        await within(channel.aclose())
        for task in tasks:
            with pytest.raises(ClientClosed):
                await within(task)


async def test_the_attempt_is_a_task_with_a_name_that_ends_with_the_channel() -> None:
    async with H2Server(greets=False) as server, channel_to(server) as channel:
        task = call(channel)
        await server.peer()
        assert f"etcd_async.connect {server.endpoint}" in {one.get_name() for one in asyncio.all_tasks()}
        channel.abort()
        with pytest.raises(ClientClosed):
            await within(task)


SLOW = Backoff(initial=30, maximum=30, jitter=0)


async def lose(server: H2Server, channel: Channel) -> None:
    """Stop the server and wait until the channel knows."""
    connection = channel._connector.current
    assert connection is not None
    server.stop()
    await within(connection.closed)


async def test_after_a_failure_the_next_attempt_waits_unless_the_deadline_is_sooner() -> None:
    async with H2Server(answers=pong) as server, channel_to(server, backoff=SLOW) as channel:
        await within(call(channel))
        await lose(server, channel)
        with pytest.raises(AttemptFailed) as caught:
            await within(call(channel))
        assert not caught.value.is_down
        with pytest.raises(AttemptFailed, match="connection refused"):
            await within(channel.unary(PATH, b"", deadline=time.monotonic() + 5))
        waiting = call(channel)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_nobody_waits_for_an_endpoint_that_was_never_reached() -> None:
    async with channel_to(f"http://127.0.0.1:{closed_port()}", backoff=SLOW) as channel:
        for _ in range(2):
            with pytest.raises(AttemptFailed, match="connection refused") as caught:
                await within(call(channel))
            assert caught.value.is_down


async def test_nobody_waits_for_an_endpoint_that_is_down_for_longer_than_a_restart_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with H2Server(answers=pong) as server, channel_to(server, backoff=SLOW) as channel:
        await within(call(channel))
        await lose(server, channel)
        monkeypatch.setattr(connector, "RESTART_PATIENCE", 0.0)
        for _ in range(2):
            with pytest.raises(AttemptFailed, match="connection refused") as caught:
                await within(call(channel))
            assert caught.value.is_down


async def test_waits_grow_from_failure_to_failure_and_a_useful_connection_ends_them() -> None:
    async with H2Server(answers=pong) as server:
        endpoint = server.endpoint
        async with channel_to(endpoint, backoff=Backoff(initial=0.02, factor=2, maximum=0.05, jitter=0)) as channel:
            await within(call(channel))
            await lose(server, channel)
            started = time.monotonic()
            for _ in range(4):
                with pytest.raises(AttemptFailed):
                    await within(call(channel))
            assert time.monotonic() - started >= 0.02 + 0.04 + 0.05
            assert channel._connector._failures == 4


async def test_a_connection_lost_without_any_answer_counts_as_a_failure() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        for count in (1, 2):
            task = call(channel)
            (await server.request()).peer.cut()
            with pytest.raises(AttemptFailed):
                await within(task)
            assert channel._connector._failures == count
        await warm(server, channel)
        (await server.peer(2)).cut()
        await asyncio.gather(*[one.lost() for one in server.peers])


async def test_a_new_connection_is_made_after_a_loss() -> None:
    async with H2Server(answers=pong) as server, channel_to(server) as channel:
        for number in range(3):
            assert await within(call(channel)) == b"pong"
            peer = await server.peer(number)
            connection = channel._connector.current
            assert connection is not None
            peer.cut()
            await within(connection.closed)
        assert not channel.is_connected


async def test_stream_ids_that_run_out_are_a_new_connection() -> None:
    async with H2Server(answers=pong) as server, channel_to(server) as channel:
        await within(call(channel))
        connection = channel._connector.current
        assert connection is not None
        connection.outbox._next_id = 2**31 - 3
        await within(asyncio.gather(call(channel), call(channel)))
        assert await within(call(channel)) == b"pong"
        assert len(server.peers) == 2
        assert max((await server.peer()).requests) == 2**31 - 1


async def test_aclose_is_bounded_when_the_peer_takes_nothing() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    loop = asyncio.get_running_loop()
    port = listener.getsockname()[1]
    channel = Channel(parse(f"http://127.0.0.1:{port}"), tls=None, options=options(max_send_bytes=2**30))
    task = call(channel, bytes(200_000_000))
    accepted, _ = await within(loop.sock_accept(listener))
    settings = b"\0\0\6\4\0\0\0\0\0" + b"\0\4\x7f\xff\xff\xff"
    await loop.sock_sendall(accepted, settings + b"\0\0\4\x08\0\0\0\0\0\x7f\0\0\0")
    await within(loop.sock_recv(accepted, 1000))
    connection = await within(channel._connector.connected(None))
    while not connection._is_paused:  # noqa: ASYNC110 - the transport tells nobody else
        await asyncio.sleep(0)
    started = time.monotonic()
    await within(channel.aclose())
    assert time.monotonic() - started < 8
    with pytest.raises(ClientClosed) as caught:
        await within(task)
    assert not caught.value.maybe_applied
    accepted.close()
    listener.close()


async def test_closing_says_goodbye_and_leaves_no_transport() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        await warm(server, channel)
        connection = channel._connector.current
        assert connection is not None
        await within(channel.aclose())
        assert connection.closed.done()
        await (await server.peer()).lost()
        await within(channel.aclose())


async def test_push_is_switched_off_and_windows_are_as_configured() -> None:
    made = options(stream_window=100_000, connection_window=300_000)
    async with H2Server() as server, channel_to(server, made) as channel:
        await warm(server, channel)
        peer = await server.peer()
        await peer.until(lambda: peer.h2.remote_settings.enable_push == 0)
        assert peer.h2.remote_settings[SettingCodes.INITIAL_WINDOW_SIZE] == 100_000
        assert peer.h2.outbound_flow_control_window == 300_000 - len(b"\0\0\0\0\0")


def test_a_channel_is_built_inside_a_running_loop() -> None:
    build: Callable[[], Channel] = lambda: Channel(parse("http://h:1"), tls=None, options=TransportOptions())  # noqa: E731
    with pytest.raises(RuntimeError):
        build()
