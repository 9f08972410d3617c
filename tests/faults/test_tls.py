"""TLS to a real etcd that asks for certificates itself; what goes wrong is told clearly. And unix sockets."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import pytest

from etcd_async import TLS, AuthError, Client, DeadlineExceeded, InsecureTLSWarning, PermissionDenied, Unavailable
from etcd_async.testing import EtcdServer, FaultProxy
from tests.faults.auth import enable_auth
from tests.faults.certificates import DAY, Authority
from tests.faults.support import MIB, QUICK, UNFORGETFUL, outcome, start
from tests.support.live import running, take, until, within

pytestmark = pytest.mark.faults


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@asynccontextmanager
async def secure_server(
    authority: Authority, *, hosts: tuple[str, ...] = ("127.0.0.1",), ends: float = DAY, arguments: tuple[str, ...] = ()
) -> AsyncIterator[EtcdServer]:
    """An etcd that speaks TLS only, and only to clients with a certificate of the same authority."""
    certificate, key = authority.sign("server", hosts=hosts, ends=ends)
    files = [f"--cert-file={certificate}", f"--key-file={key}", f"--trusted-ca-file={authority.path}"]
    async with EtcdServer(extra_args=[*QUICK, *UNFORGETFUL, *files, "--client-cert-auth", *arguments]) as server:
        yield server


def of_client(authority: Authority, *, name: str = "client", server_name: str | None = None) -> TLS:
    certificate, key = authority.sign(name)
    return TLS(ca=authority.path, cert=certificate, key=key, server_name=server_name)


async def use(client: Client) -> None:
    """Put, get, watch, lease and lock, and a value of 1 MiB."""
    async with client.watch("/k") as watch, client.lock("job", ttl=30), client.lease(ttl=30) as lease:
        await client.put("/k", b"x" * MIB, lease=lease)
        assert (await take(watch, 1))[0].kv.value == b"x" * MIB
        kv = await client.get("/k")
        assert kv is not None
        assert kv.value == b"x" * MIB


async def failure(client: Client) -> str:
    """Return why *client* cannot reach its server."""
    async with client:
        error = await within(outcome(client.put("/k", "v", timeout=20)), 30)
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
        with pytest.warns(InsecureTLSWarning):
            unverified = replace(of_client(authority), ca=None, verify=False)
        async with Client(server.endpoint, tls=unverified) as client:
            await use(client)
        reason = await failure(Client(server.endpoint, tls=of_client(authority)))
        assert "not valid for '127.0.0.1'" in reason
        assert "set server_name in TLS" in reason


def certificate_of(stranger: Authority, authority: Authority, *, ends: float = DAY) -> TLS:
    cert, key = stranger.sign("stranger", ends=ends)
    return TLS(ca=authority.path, cert=cert, key=key)


# What the client has, and what its user is told. Alternatives are those of etcds old and new, and of an alert that got
# lost because the server hung up on bytes that it had not read.
WRONG: dict[str, tuple[Callable[[Authority, Authority], TLS | None], str]] = {
    "trust in another authority": (
        lambda own, other: replace(of_client(own), ca=other.path),
        r"certificate was not accepted: .* \(set ca in TLS to the file of the authority that signed it\)",
    ),
    "the system's authorities": (
        lambda own, other: replace(of_client(own), ca=None),
        r"certificate was not accepted: .* \(set ca in TLS to the file of the authority that signed it\)",
    ),
    "no TLS options": (
        lambda own, other: None,
        r"certificate was not accepted: .* \(set ca in TLS to the file of the authority that signed it\)",
    ),
    "another name to expect": (
        lambda own, other: of_client(own, server_name="other.example"),
        r"certificate is not valid for 'other\.example'.* \(set server_name in TLS to a name that is in it\)",
    ),
    "no certificate": (
        lambda own, other: TLS(ca=own.path),
        r"(asks for a client certificate|asks for one|may ask for a client certificate): set cert and key in TLS",
    ),
    "a certificate of another authority": (
        lambda own, other: certificate_of(other, own),
        (
            r"(does not know the authority that signed the client's certificate .*"
            r"|refused the client's certificate, or asks for one|may not trust the client's certificate)"
            r": set cert and key in TLS to one"
        ),
    ),
    "an expired certificate": (
        lambda own, other: certificate_of(own, own, ends=-DAY),
        (
            r"(client's certificate has expired: renew the files of cert and key in TLS"
            r"|(refused|may not trust) the client's certificate.*: set cert and key in TLS to one that has not expired)"
        ),
    ),
}


@pytest.mark.parametrize("what", WRONG)
async def test_a_client_with_the_wrong_things_is_told_what_to_do(
    authority: Authority, tmp_path: Path, what: str
) -> None:
    make, told = WRONG[what]
    async with secure_server(authority) as server:
        reason = await failure(Client(server.endpoint, tls=make(authority, Authority(tmp_path / "other", "other"))))
        assert re.search(told, reason), reason
        assert server.endpoint in reason


async def test_an_expired_certificate_of_the_server_is_not_trusted(authority: Authority) -> None:
    async with secure_server(authority, ends=-DAY) as server:
        reason = await failure(Client(server.endpoint, tls=of_client(authority)))
        assert "certificate has expired (it (or its authority's) must be renewed, on the server)" in reason, reason


async def test_a_plain_client_of_a_secure_server_and_the_reverse_are_told_so(
    authority: Authority, server: EtcdServer
) -> None:
    async with secure_server(authority) as secure:
        reason = await failure(Client(secure.endpoint.replace("https://", "http://")))
        assert "it may expect TLS: https://" in reason
    reason = await failure(Client(server.endpoint.replace("http://", "https://"), tls=of_client(authority)))
    assert "it may not speak TLS (http://)" in reason


async def test_a_file_that_can_not_be_used_is_named(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.sign("client")
    missing, bad = tmp_path / "missing.pem", tmp_path / "bad.pem"
    bad.write_text("no certificate")
    async with secure_server(authority) as server:
        for tls, told in (
            (TLS(ca=missing), f"no such file or directory {missing}"),
            (TLS(ca=bad), f"ca in TLS holds no certificate in PEM form: {bad}"),
            (TLS(ca=authority.path, cert=bad, key=key), f"cert in TLS holds no certificate in PEM form: {bad}"),
            (TLS(ca=authority.path, cert=certificate, key=bad), f"key in TLS holds no private key in PEM form: {bad}"),
        ):
            assert told in await failure(Client(server.endpoint, tls=tls))


async def test_rotated_certificates_need_no_restart(authority: Authority, tmp_path: Path) -> None:
    # The files are the same, what they hold changes: etcd, too, reads its certificate again for each connection.
    trusted = tmp_path / "trusted.pem"
    shutil.copy(authority.path, trusted)
    lifetime = 10.0  # enough to start a server and connect to it
    cert, key = authority.sign("client", ends=lifetime)
    tls = TLS(ca=trusted, cert=cert, key=key)
    async with (
        secure_server(authority, ends=lifetime) as server,
        FaultProxy(server.endpoint) as proxy,
        Client(proxy.endpoint, tls=tls, timeout=15) as client,
        client.watch(prefix="/k/") as watch,
        client.lease(ttl=60) as lease,
    ):
        await client.put("/k/1", "v", lease=lease)

        async def have_expired() -> bool:
            async with Client(server.endpoint, tls=tls) as other:
                return "expired" in str(await outcome(other.put("/clock", "", timeout=2)))

        await until(have_expired, 30)
        await client.put("/k/2", "v", lease=lease)  # a connection outlives the certificates that it was made with
        proxy.cut()
        async with running(client.get("/k/1")) as waiting:
            successor = Authority(tmp_path / "new", "successor")
            for path, new in zip(cert_and_key(tmp_path), successor.sign("server"), strict=True):
                shutil.move(new, path)
            authority.sign("client")
            shutil.copy(successor.path, trusted)
            assert await within(waiting, 15) is not None
        await client.put("/k/3", "v", lease=lease)
        assert [each.kv.key for each in await take(watch, 3)] == [b"/k/1", b"/k/2", b"/k/3"]
        assert not lease.is_lost


def cert_and_key(directory: Path) -> tuple[Path, Path]:
    return directory / "server.crt", directory / "server.key"


async def test_a_user_may_be_known_by_its_certificate_alone(authority: Authority) -> None:
    async with (
        secure_server(authority) as server,
        Client(server.endpoint, tls=of_client(authority, name="root")) as admin,
        Client(server.endpoint, tls=of_client(authority, name="ann")) as ann,
        Client(server.endpoint, tls=of_client(authority, name="nobody")) as nobody,
    ):
        await enable_auth(admin, with_passwords=False)
        async with ann.watch(prefix="/ann/") as watch, ann.lease(ttl=30) as lease:
            await ann.put("/ann/k", "v", lease=lease)
            assert (await take(watch, 1))[0].kv.key == b"/ann/k"
            with pytest.raises(PermissionDenied):
                await ann.put("/bob/k", "v")
            with pytest.raises(PermissionDenied):
                await within(ann.watch("/bob/k").__aenter__())
        with pytest.raises(AuthError):
            await nobody.get("/ann/k")


async def test_users_known_by_certificate_get_through_while_users_are_changed_all_the_time(
    authority: Authority,
) -> None:
    async with (
        secure_server(authority) as server,
        Client(server.endpoint, tls=of_client(authority, name="root")) as admin,
        Client(server.endpoint, tls=of_client(authority, name="ann")) as ann,
    ):
        await enable_auth(admin, with_passwords=False)
        has_put: asyncio.Queue[int] = asyncio.Queue()

        async def change() -> None:
            # Each change may refuse all that is on its way; so that no put can meet more of them than it has attempts,
            # they wait for puts to get through.
            for number in range(10**6):
                await admin.auth.add_role(f"r{number}")
                for _ in range(100):
                    await has_put.get()

        async def work(worker: int) -> None:
            for number in range(20):
                await ann.put(f"/ann/{worker}/{number}", "v")
                has_put.put_nowait(worker)
            async with ann.watch(prefix=f"/ann/{worker}/", start_revision=1) as watch:
                assert len(await take(watch, 20)) == 20

        async with running(change()):
            await within(asyncio.gather(*(work(worker) for worker in range(20))), 30)
        assert {kv.version for kv in await ann.range(prefix="/ann/")} == {1}


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


async def test_everything_works_over_tls_on_a_unix_socket(authority: Authority) -> None:
    # The name to expect is that of the socket's file, as for etcd's own client, unless another is given.
    async with secure_server(authority, hosts=("127.0.0.1", "etcd")) as server, unix_relay(server) as path:
        for tls in (of_client(authority), of_client(authority, server_name="127.0.0.1")):
            async with Client(f"unixs://{path}", tls=tls) as client:
                await use(client)
        reason = await failure(Client(f"unixs://{path}", tls=of_client(authority, server_name="other")))
        assert "set server_name in TLS" in reason
