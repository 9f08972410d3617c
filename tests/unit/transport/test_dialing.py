"""Hosts of several addresses, of which some refuse and some swallow everything."""

import asyncio
import contextlib
import errno
import itertools
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, cast

import pytest

from etcd_async._protocol.endpoints import parse
from etcd_async._transport.caller import Caller
from etcd_async._transport.dialing import STAGGER, Address, Dialer, in_turn
from etcd_async._transport.failure import AttemptFailed
from etcd_async._transport.methods import RANGE
from tests.support.h2server import H2Server, Request
from tests.support.live import within
from tests.unit.transport.support import QUICK, call, channel_to, options

pytestmark = pytest.mark.loops("asyncio", "uvloop")

LIVE, DEAD, OTHER_DEAD, REFUSING = "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"
NAME = "etcd.example"


def pong(request: Request) -> None:
    request.answer(b"pong")


@contextlib.contextmanager
def blackhole(host: str, port: int) -> Iterator[None]:
    """An address at which connections are neither made nor refused: the queue of a listener that accepts nothing."""
    with contextlib.ExitStack() as held:
        listener = held.enter_context(socket.create_server((host, port), backlog=0))
        for _ in range(10):
            visitor = held.enter_context(socket.socket())
            visitor.settimeout(0.2)
            try:
                visitor.connect(listener.getsockname())
            except TimeoutError:
                yield
                return
        pytest.skip("the queue of a listener has no end on this machine")


def resolve(monkeypatch: pytest.MonkeyPatch, port: int, *hosts: str) -> None:
    """Let every name have the addresses *hosts*."""

    async def getaddrinfo(host: str, asked: int, *_: Any, **__: Any) -> list[Any]:
        found = [(each, port) for each in hosts] if host == NAME else [(host, asked)]  # uvloop asks for addresses, too
        return [(socket.AF_INET6 if ":" in where[0] else socket.AF_INET, 1, 6, "", where) for where in found]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


async def test_an_address_that_swallows_everything_costs_a_fraction_of_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    async with H2Server(answers=pong) as server:
        with blackhole(DEAD, server.port):
            resolve(monkeypatch, server.port, DEAD, LIVE)
            caller = Caller([parse(f"http://{NAME}:{server.port}")], backoff=QUICK)
            started = time.monotonic()
            assert await within(caller.unary(RANGE, b"", timeout=5.0)) == b"pong"
            assert time.monotonic() - started >= STAGGER
            await caller.aclose()


async def test_several_dead_addresses_are_passed_over_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async with H2Server(answers=pong) as server:
        with blackhole(DEAD, server.port), blackhole(OTHER_DEAD, server.port):
            resolve(monkeypatch, server.port, DEAD, OTHER_DEAD, REFUSING, LIVE)
            async with channel_to(f"http://{NAME}:{server.port}", options(connect_timeout=4.0)) as channel:
                assert await within(call(channel)) == b"pong"
        assert len(server.peers) == 1


async def test_an_address_that_refuses_costs_no_time_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etcd_async._transport.dialing.STAGGER", 60.0)
    async with H2Server(answers=pong) as server:
        resolve(monkeypatch, server.port, REFUSING, LIVE)
        async with channel_to(f"http://{NAME}:{server.port}") as channel:
            assert await within(call(channel)) == b"pong"


async def test_addresses_of_both_families_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    async with H2Server(answers=pong) as server:
        resolve(monkeypatch, server.port, "::1", LIVE)
        async with channel_to(f"http://{NAME}:{server.port}") as channel:
            assert await within(call(channel)) == b"pong"


async def test_an_address_waits_for_no_thread_of_a_resolver() -> None:
    over = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        asyncio.get_running_loop().set_default_executor(threads)
        threads.submit(over.wait)
        try:
            async with H2Server(answers=pong) as server, channel_to(server) as channel:
                assert await within(call(channel)) == b"pong"
        finally:
            over.set()


def link_local() -> str | None:
    """Return an address of this machine that is nothing without its zone, if there is one."""
    table = Path("/proc/net/if_inet6")
    lines = [line.split() for line in table.read_text().splitlines()] if table.exists() else []
    found = [f"{IPv6Address(bytes.fromhex(line[0]))}%{line[-1]}" for line in lines if line[0].startswith("fe80")]
    return found[0] if found else None


@pytest.mark.skipif(link_local() is None, reason="this machine has no link-local IPv6 address")
async def test_an_address_with_a_zone_is_connected_to_in_its_zone() -> None:
    host = link_local()
    assert host is not None
    loop = asyncio.get_running_loop()
    accepted: asyncio.Future[asyncio.Transport] = loop.create_future()

    class Listening(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted.set_result(cast(asyncio.Transport, transport))

    with socket.socket(socket.AF_INET6) as listening:
        listening.bind(socket.getaddrinfo(host, 0)[0][4])
        server = await loop.create_server(Listening, sock=listening)
        try:
            async with channel_to(f"http://[{host}]:{listening.getsockname()[1]}") as channel:
                waiting = call(channel)
                ends: list[asyncio.Future[Any]] = [waiting, accepted]
                await within(asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED))
                assert not waiting.done()
                waiting.cancel()
            accepted.result().abort()
        finally:
            server.close()


async def reason_for(endpoint: str, **changes: Any) -> str:
    async with channel_to(endpoint, options(**changes)) as channel:
        with pytest.raises(AttemptFailed) as caught:
            await within(call(channel))
        return caught.value.reason


async def test_a_reason_that_all_addresses_share_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with H2Server() as server:
        resolve(monkeypatch, server.port, DEAD, REFUSING)
        assert await reason_for(f"http://{NAME}:1") == "connection refused"


async def test_reasons_that_differ_are_told_by_address(monkeypatch: pytest.MonkeyPatch) -> None:
    async def sock_connect(connecting: socket.socket, address: tuple[str, int]) -> None:
        number = errno.ECONNREFUSED if address[0] == LIVE else errno.EHOSTUNREACH
        raise OSError(number, "whatever the system says")

    resolve(monkeypatch, 1, LIVE, DEAD)
    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", sock_connect)
    said = await reason_for(f"http://{NAME}:1")
    assert said == "127.0.0.1: connection refused; 127.0.0.2: no route to host"


async def test_the_time_to_connect_is_for_all_addresses_together(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as reserved:
        reserved.bind((LIVE, 0))
        port = reserved.getsockname()[1]
        with blackhole(DEAD, port), blackhole(OTHER_DEAD, port):
            resolve(monkeypatch, port, DEAD, OTHER_DEAD)
            assert await reason_for(f"http://{NAME}:1", connect_timeout=0.4) == "no connection within 0.4 s"


async def test_an_address_behind_which_nobody_speaks_comes_last_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async with H2Server(answers=pong) as server, H2Server(greets=False) as frozen:
        resolve(monkeypatch, 1, DEAD, LIVE)
        ports = {DEAD: frozen.port, LIVE: server.port}
        loop = asyncio.get_running_loop()
        connect = loop.sock_connect

        async def sock_connect(connecting: socket.socket, address: Any) -> None:
            await connect(connecting, (LIVE, ports[address[0]]))

        monkeypatch.setattr(loop, "sock_connect", sock_connect)
        caller = Caller([parse(f"http://{NAME}:1")], options=options(connect_timeout=1.0), backoff=QUICK)
        assert await within(caller.unary(RANGE, b"", timeout=8.0)) == b"pong"
        assert len(frozen.peers) == 1
        await caller.aclose()


async def test_addresses_that_a_name_has_no_more_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    async with H2Server() as server:
        dialer = Dialer()
        for host in (LIVE, "127.0.0.5", LIVE):
            resolve(monkeypatch, server.port, host)
            with contextlib.suppress(ConnectionRefusedError):
                (await within(dialer.dial(NAME, server.port))).close()
            dialer.disappointed()
        assert [where[0] for _, where in dialer._disappointments] == [LIVE]


async def test_after_the_loss_of_a_connection_another_address_is_tried_first(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    async with H2Server(answers=pong) as server:
        resolve(monkeypatch, 1, DEAD, LIVE, OTHER_DEAD)
        loop = asyncio.get_running_loop()
        connect = loop.sock_connect

        async def sock_connect(connecting: socket.socket, address: Any) -> None:
            tried.append(address[0])
            await connect(connecting, (LIVE, server.port))

        monkeypatch.setattr(loop, "sock_connect", sock_connect)
        async with channel_to(f"http://{NAME}:1") as channel:
            for number in range(4):
                assert await within(call(channel)) == b"pong"
                (await server.peer(number)).cut()
                connection = channel._connector.current
                assert connection is not None
                await within(connection.closed)
    assert tried == [DEAD, LIVE, OTHER_DEAD, DEAD]


async def test_every_socket_but_the_winners_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    made: list[socket.socket] = []
    connect = loop.sock_connect

    async def sock_connect(connecting: socket.socket, address: Any) -> None:
        made.append(connecting)
        await connect(connecting, address)

    async with H2Server() as server:
        with blackhole(DEAD, server.port):
            resolve(monkeypatch, server.port, DEAD, REFUSING, LIVE)
            monkeypatch.setattr(loop, "sock_connect", sock_connect)
            with await within(Dialer().dial(NAME, server.port)) as winner:
                assert [each for each in made if each.fileno() != -1] == [winner]
                assert winner.getpeername() == (LIVE, server.port)


async def test_cancelling_leaves_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """In each turn of the loop, the one in which an address is through among them."""
    loop = asyncio.get_running_loop()
    made: list[socket.socket] = []
    connect = loop.sock_connect

    async def sock_connect(connecting: socket.socket, address: Any) -> None:
        made.append(connecting)
        await connect(connecting, address)

    monkeypatch.setattr(loop, "sock_connect", sock_connect)
    async with H2Server() as server:
        for turns in itertools.count():
            task = asyncio.create_task(Dialer().dial(LIVE, server.port))
            for _ in range(turns):
                await asyncio.sleep(0)
            if not task.cancel():
                (await task).close()
                break
            with contextlib.suppress(asyncio.CancelledError):
                await within(task)
            assert all(each.fileno() == -1 for each in made)
        assert turns > 1


def address(host: str) -> Address:
    return (socket.AF_INET6 if ":" in host else socket.AF_INET), (host, 1)


def test_the_families_take_turns_and_the_resolvers_order_stays() -> None:
    given = [address(host) for host in ("::1", "::2", "::3", "1.1.1.1", "::1", "1.1.1.2")]
    assert [where[0] for _, where in in_turn(given)] == ["::1", "1.1.1.1", "::2", "1.1.1.2", "::3"]


async def test_no_request_waits_for_the_acknowledgement_of_the_one_before() -> None:
    async with H2Server(answers=pong) as server, channel_to(server) as channel:
        assert await within(call(channel)) == b"pong"
        connection = channel._connector.current
        assert connection is not None
        wire = connection._transport.get_extra_info("socket")
        assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
