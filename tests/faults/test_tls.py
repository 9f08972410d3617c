"""TLS to a real etcd that asks for certificates itself; what goes wrong is told clearly. And unix sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import pytest

from etcd_async import TLS, Client, DeadlineExceeded, Unavailable
from etcd_async.testing import EtcdServer, FaultProxy
from tests.faults.certificates import DAY, Authority
from tests.faults.support import MIB, QUICK, outcome, start
from tests.support.live import take, within

pytestmark = pytest.mark.faults


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@asynccontextmanager
async def secure_server(
    authority: Authority, *, hosts: tuple[str, ...] = ("127.0.0.1",), expired: bool = False
) -> AsyncIterator[EtcdServer]:
    """An etcd that speaks TLS only, and only to clients with a certificate of the same authority."""
    certificate, key = authority.sign("server", hosts=hosts, ends=-DAY if expired else DAY)
    arguments = [f"--cert-file={certificate}", f"--key-file={key}"]
    arguments += ["--client-cert-auth", f"--trusted-ca-file={authority.path}"]
    async with EtcdServer(extra_args=[*QUICK, *arguments]) as server:
        yield server


def of_client(authority: Authority, *, server_name: str | None = None, verify: bool = True) -> TLS:
    certificate, key = authority.sign("client")
    return TLS(ca=authority.path if verify else None, cert=certificate, key=key, server_name=server_name, verify=verify)


async def use(client: Client) -> None:
    """Put, get, watch, lease and lock, and a value of 1 MiB."""
    async with client.watch("/k") as watch, client.lock("job", ttl=5), client.lease(ttl=5) as lease:
        await client.put("/k", b"x" * MIB, lease=lease)
        assert (await take(watch, 1))[0].kv.value == b"x" * MIB
        kv = await client.get("/k")
        assert kv is not None
        assert kv.value == b"x" * MIB


async def failure(client: Client) -> str:
    """Return why *client* cannot reach its server."""
    async with client:
        error = await within(outcome(client.put("/k", "v", timeout=2)))
        assert isinstance(error, Unavailable | DeadlineExceeded)
        assert not error.maybe_applied
        return str(error)


async def test_everything_works_over_tls_with_certificates_on_both_sides(authority: Authority) -> None:
    async with secure_server(authority) as server:
        assert server.endpoint.startswith("https://")
        async with Client(server.endpoint, tls=of_client(authority)) as client:
            await use(client)
        bare = urlsplit(server.endpoint).netloc
        async with Client(bare, tls=of_client(authority)) as client:  # no scheme: TLS because it is configured
            await use(client)


async def test_a_connection_over_tls_is_made_again_after_a_cut_and_a_restart(authority: Authority) -> None:
    async with (
        secure_server(authority) as server,
        FaultProxy(server.endpoint) as proxy,
        Client(proxy.endpoint, tls=of_client(authority), timeout=15) as client,
        client.watch(prefix="/k") as watch,
    ):
        for number in range(5):
            proxy.cut()
            await client.get("/k")
            await client.put(f"/k/{number}", "v")
        await server.kill()
        await server.start()
        await client.get("/k")
        await client.put("/k/last", "v")
        assert [each.kv.key for each in await take(watch, 6)][-1] == b"/k/last"


async def test_the_name_in_the_certificate_can_be_given(authority: Authority) -> None:
    async with secure_server(authority, hosts=("etcd.example",)) as server:
        async with Client(server.endpoint, tls=of_client(authority, server_name="etcd.example")) as client:
            await use(client)
        async with Client(server.endpoint, tls=of_client(authority, verify=False)) as client:
            await use(client)
        reason = await failure(Client(server.endpoint, tls=of_client(authority)))
        assert "certificate" in reason
        assert "127.0.0.1" in reason


async def test_a_server_of_another_authority_is_not_trusted(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")
    certificate, key = authority.sign("client")
    async with secure_server(authority) as server:
        for tls in (TLS(ca=other.path, cert=certificate, key=key), TLS(cert=certificate, key=key), None):
            reason = await failure(Client(server.endpoint, tls=tls))
            assert "certificate was not accepted" in reason


async def test_an_expired_certificate_is_not_trusted(authority: Authority) -> None:
    async with secure_server(authority, expired=True) as server:
        reason = await failure(Client(server.endpoint, tls=of_client(authority)))
        assert "expired" in reason


async def test_a_client_without_a_certificate_is_told_so(authority: Authority) -> None:
    async with secure_server(authority) as server:
        reason = await failure(Client(server.endpoint, tls=TLS(ca=authority.path)))
        assert "certificate" in reason


async def test_a_plain_client_of_a_secure_server_and_the_reverse_are_told_so(
    authority: Authority, server: EtcdServer
) -> None:
    async with secure_server(authority) as secure:
        reason = await failure(Client(secure.endpoint.replace("https://", "http://")))
        assert "TLS" in reason
    reason = await failure(Client(server.endpoint.replace("http://", "https://"), tls=of_client(authority)))
    assert "TLS" in reason


async def test_a_missing_certificate_file_is_named(authority: Authority, server: EtcdServer, tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    endpoint = server.endpoint.replace("http://", "https://")
    async with Client(endpoint, tls=TLS(ca=missing)) as client:
        with pytest.raises((Unavailable, OSError)) as caught:
            await within(client.get("/k"))
    assert str(missing) in str(caught.value) or missing.name in str(caught.value)


@asynccontextmanager
async def unix_relay(server: EtcdServer) -> AsyncIterator[Path]:
    """A unix socket that leads to *server*, which cannot listen on one with a path of our choice itself."""
    port = server.ports.client

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            return
        finally:
            sink.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up, down = await asyncio.open_connection("127.0.0.1", port)
        pumps = [start(pump(reader, down)), start(pump(up, writer))]
        await asyncio.wait(pumps)

    with TemporaryDirectory() as directory:  # of a short name: the path of a socket may have 100 characters
        path = Path(directory) / "etcd"
        async with await asyncio.start_unix_server(relay, path):
            yield path


async def test_everything_works_over_a_unix_socket(server: EtcdServer) -> None:
    async with AsyncExitStack() as stack:
        path = await stack.enter_async_context(unix_relay(server))
        async with Client(f"unix://{path}") as client:
            await use(client)
            assert str(path) in repr(client)
    missing = await failure(Client(f"unix://{path}"))
    assert str(path) in missing
