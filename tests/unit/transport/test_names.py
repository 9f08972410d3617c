"""Names: each endpoint's own in certificates and requests, and asked for anew with each connection."""

import asyncio
import socket
import ssl
from pathlib import Path
from random import Random
from typing import Any

import pytest

from etcd_async._protocol.endpoints import Endpoint, parse
from etcd_async._transport.caller import Caller
from etcd_async._transport.methods import RANGE
from etcd_async.errors import Unavailable
from etcd_async.options import TLS
from tests.faults.certificates import Authority
from tests.support.h2server import H2Server, Request
from tests.support.live import within
from tests.unit.transport.support import QUICK, call, channel_to


def pong(request: Request) -> None:
    request.answer(b"pong")


class Named:
    """The TLS of a server with a certificate for one name; it notes which name clients ask for."""

    def __init__(self, authority: Authority, name: str) -> None:
        self.asked: list[str | None] = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*authority.sign(name, hosts=(name,)))
        self.context.set_alpn_protocols(["h2"])
        self.context.sni_callback = lambda connection, asked, context: self.asked.append(asked)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


def endpoint_of(server: H2Server, name: str) -> Endpoint:
    return parse(f"https://{name}:{server.port}")


@pytest.mark.loops("asyncio", "uvloop")
async def test_each_endpoint_is_asked_for_by_its_own_name_and_checked_against_it(authority: Authority) -> None:
    first, second = Named(authority, "localhost"), Named(authority, "127.0.0.1")
    async with H2Server(answers=pong, tls=first.context) as one, H2Server(answers=pong, tls=second.context) as other:
        endpoints = [endpoint_of(one, "localhost"), endpoint_of(other, "127.0.0.1")]
        caller = Caller(endpoints, tls=TLS(ca=authority.path), backoff=QUICK, random=Random(0))
        for _ in range(4):
            assert await within(caller.unary(RANGE, b"", timeout=5.0)) == b"pong"
        requests = [await one.request(), await other.request()]
        assert [request.headers[":authority"] for request in requests] == [
            f"localhost:{one.port}",
            f"127.0.0.1:{other.port}",
        ]
        assert first.asked == ["localhost"]
        assert set(second.asked) <= {None}  # an address is no name to ask for (RFC 6066 §3), but it is checked
        await caller.aclose()


@pytest.mark.loops("asyncio", "uvloop")
async def test_a_certificate_for_another_endpoints_name_is_refused(authority: Authority) -> None:
    first, second = Named(authority, "localhost"), Named(authority, "127.0.0.1")
    async with H2Server(answers=pong, tls=first.context) as one, H2Server(answers=pong, tls=second.context) as other:
        swapped = [endpoint_of(one, "127.0.0.1"), endpoint_of(other, "localhost")]
        caller = Caller(swapped, tls=TLS(ca=authority.path), backoff=QUICK, random=Random(0))
        with pytest.raises(Unavailable) as caught:
            await within(caller.unary(RANGE, b"", timeout=5.0))
        reasons = {attempt.endpoint: attempt.reason for attempt in caught.value.attempts}
        assert reasons.keys() == {endpoint.text for endpoint in swapped}
        assert all("certificate was not accepted" in reason and "mismatch" in reason for reason in reasons.values())
        await caller.aclose()


@pytest.mark.loops("asyncio", "uvloop")
async def test_one_name_for_all_endpoints_may_be_given(authority: Authority) -> None:
    first, second = Named(authority, "etcd.example"), Named(authority, "etcd.example")
    async with H2Server(answers=pong, tls=first.context) as one, H2Server(answers=pong, tls=second.context) as other:
        endpoints = [endpoint_of(one, "localhost"), endpoint_of(other, "127.0.0.1")]
        tls = TLS(ca=authority.path, server_name="etcd.example")
        caller = Caller(endpoints, tls=tls, backoff=QUICK, random=Random(0))
        for _ in range(4):
            assert await within(caller.unary(RANGE, b"", timeout=5.0)) == b"pong"
        assert first.asked == second.asked == ["etcd.example"]
        assert (await one.request()).headers[":authority"] == f"localhost:{one.port}"
        await caller.aclose()


async def test_a_name_is_resolved_anew_for_each_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    addresses = ["127.0.0.1", "127.0.0.2"]
    servers = [H2Server(answers=pong), H2Server(answers=pong)]
    loop = asyncio.get_running_loop()
    port = 0

    async def getaddrinfo(host: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (addresses[0], port))]

    async with servers[0] as old:
        port = old.port
        listener = await loop.create_server(asyncio.Protocol, addresses[1], port)
        monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
        async with channel_to(f"http://etcd.example:{port}") as channel:
            assert await within(call(channel)) == b"pong"
            connection = channel._connector.current
            assert connection is not None
            addresses.reverse()  # the name moves on while the connection lives
            (await old.peer()).cut()
            await within(connection.closed)
            late = call(channel)
            async with asyncio.timeout(10):
                while len(asked) < 2:  # noqa: ASYNC110 - the resolver tells nobody
                    await asyncio.sleep(0)
            late.cancel()
            assert asked == ["etcd.example", "etcd.example"]
            assert len(old.peers) == 1
        listener.close()
