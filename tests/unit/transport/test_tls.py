"""TLS: who is trusted, what is told when it fails, and files read anew."""

import errno
import shutil
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from etcd_async._transport import connector
from etcd_async._transport.failure import AttemptFailed, connect_reason, lost_reason, tls_reason, with_hint
from etcd_async._transport.tls import ssl_context
from etcd_async.options import TLS, Backoff, InsecureTLSWarning
from tests.faults.certificates import DAY, Authority
from tests.support.h2server import H2Server, Request
from tests.support.live import within
from tests.unit.transport.support import call, channel_to, options

pytestmark = pytest.mark.loops("asyncio", "uvloop")


@dataclass
class Pki:
    """
    Who signs, and what was signed.

    Attributes:
        folder: Where files may be put.
        authority: Trusted by both sides.
        stranger: Trusted by nobody.
        server: The server's certificate and key.
        client: A client's.
    """

    folder: Path
    authority: Authority
    stranger: Authority
    server: tuple[Path, Path]
    client: tuple[Path, Path]

    def tls(self, *, server_name: str | None = None) -> TLS:
        """Return what makes a client welcome."""
        cert, key = self.client
        return TLS(ca=self.authority.path, cert=cert, key=key, server_name=server_name)

    def tls_with(self, client: tuple[Path, Path]) -> TLS:
        """Return the same with another certificate of the client."""
        cert, key = client
        return TLS(ca=self.authority.path, cert=cert, key=key)

    def file(self, name: str, text: str = "") -> Path:
        """Return a new file."""
        path = self.folder / name
        path.write_text(text)
        return path


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder = tmp_path_factory.mktemp("tls")
    authority, stranger = Authority(folder, "authority"), Authority(folder / "strange", "stranger")
    return Pki(folder, authority, stranger, authority.sign("server"), authority.sign("client"))


def server_context(
    pki: Pki,
    *,
    asks: bool = False,
    alpn: str = "h2",
    newest: bool = True,
    certificate: tuple[Path, Path] | None = None,
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*(certificate or pki.server))
    context.set_alpn_protocols([alpn])
    if not newest:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(pki.authority.path)
    return context


def pong(request: Request) -> None:
    request.answer(b"pong")


async def reason(server: H2Server | str, tls: TLS | None) -> str:
    async with channel_to(server, options(connect_timeout=3), tls=tls) as channel:
        with pytest.raises(AttemptFailed) as caught:
            await within(call(channel))
        assert not caught.value.sent
        return caught.value.reason


async def test_a_trusted_server_is_spoken_to_in_http_2(pki: Pki) -> None:
    async with (
        H2Server(answers=pong, tls=server_context(pki)) as server,
        channel_to(server, tls=TLS(ca=pki.authority.path)) as channel,
    ):
        assert await within(call(channel)) == b"pong"
        request = await server.request()
        assert request.headers[":scheme"] == "https"


async def test_tls_without_a_scheme_is_used_when_configured(pki: Pki) -> None:
    async with (
        H2Server(answers=pong, tls=server_context(pki)) as server,
        channel_to(f"127.0.0.1:{server.port}", tls=TLS(ca=pki.authority.path)) as channel,
    ):
        assert await within(call(channel)) == b"pong"


async def test_a_client_certificate_is_shown(pki: Pki) -> None:
    async with (
        H2Server(answers=pong, tls=server_context(pki, asks=True)) as server,
        channel_to(server, tls=pki.tls()) as channel,
    ):
        assert await within(call(channel)) == b"pong"


async def test_without_verification_anything_goes(pki: Pki) -> None:
    with pytest.warns(InsecureTLSWarning):
        tls = TLS(verify=False)
    async with (
        H2Server(answers=pong, tls=server_context(pki, certificate=pki.stranger.sign("s", ends=-DAY))) as server,
        channel_to(server, tls=tls) as channel,
    ):
        assert await within(call(channel)) == b"pong"


# What the client has wrong, and what is told: all of it, or its beginning and its end.
CLIENTS: dict[str, tuple[Callable[[Pki], TLS], list[str]]] = {
    "an unknown authority": (
        lambda pki: TLS(ca=pki.stranger.path),
        ["the server's certificate was not accepted: ", " (set ca in TLS to the file of the authority that signed it)"],
    ),
    "no authority": (
        lambda pki: TLS(),
        ["the server's certificate was not accepted: ", " (set ca in TLS to the file of the authority that signed it)"],
    ),
    "an authority of the same name": (
        lambda pki: TLS(ca=Authority(pki.folder / "twin", "authority").path),
        ["the server's certificate was not accepted: ", " (set ca in TLS to the file of the authority that signed it)"],
    ),
    "another name": (
        lambda pki: pki.tls(server_name="other.example"),
        [
            (
                "the server's certificate was not accepted: Hostname mismatch, certificate is not valid for "
                "'other.example'."
            ),
            " (set server_name in TLS to a name that is in it)",
        ],
    ),
    "another address": (
        lambda pki: pki.tls(server_name="127.0.0.2"),
        [
            "the server's certificate was not accepted: IP address mismatch, certificate is not valid for '127.0.0.2'.",
            " (set server_name in TLS to a name that is in it)",
        ],
    ),
    "a file that is not there": (
        lambda pki: TLS(ca=pki.folder / "gone.pem"),
        ["no such file or directory ", "gone.pem"],
    ),
    "a file that can't be read": (
        lambda pki: TLS(ca=pki.authority.path, cert=pki.folder, key=pki.client[1]),
        ["is a directory ", ""],
    ),
    "an authority that is none": (
        lambda pki: TLS(ca=pki.file("bad-ca.pem", "hello")),
        ["ca in TLS holds no certificate in PEM form: ", "bad-ca.pem"],
    ),
    "a certificate that is none": (
        lambda pki: TLS(ca=pki.authority.path, cert=pki.file("bad-cert.pem"), key=pki.client[1]),
        ["cert in TLS holds no certificate in PEM form: ", "bad-cert.pem"],
    ),
    "a key that is none": (
        lambda pki: TLS(ca=pki.authority.path, cert=pki.client[0], key=pki.client[0]),
        ["key in TLS holds no private key in PEM form: ", "client.crt"],
    ),
    "a key of another certificate": (
        lambda pki: TLS(ca=pki.authority.path, cert=pki.client[0], key=pki.server[1]),
        ["key in TLS does not belong to cert: ", "server.key and ", "client.crt"],
    ),
    "an encrypted key": (
        lambda pki: pki.tls_with(pki.authority.sign("hidden", secret=b"s3cret")),
        ["key in TLS is encrypted, store it without a pass phrase: ", "hidden.key"],
    ),
}


@pytest.mark.parametrize("what", CLIENTS)
async def test_what_a_client_has_wrong_is_told_and_what_to_do(pki: Pki, what: str) -> None:
    make, told = CLIENTS[what]
    async with H2Server(answers=pong, tls=server_context(pki)) as server:
        said = await reason(server, make(pki))
    assert said.startswith(told[0])
    assert said.endswith(told[-1])
    assert all(part in said for part in told)
    assert "s3cret" not in said


SERVERS: dict[str, tuple[Callable[[Pki], ssl.SSLContext | None], str]] = {
    "expired": (
        lambda pki: server_context(pki, certificate=pki.authority.sign("old", ends=-DAY)),
        (
            "the server's certificate was not accepted: certificate has expired "
            "(it (or its authority's) must be renewed, on the server)"
        ),
    ),
    "not yet valid": (
        lambda pki: server_context(pki, certificate=pki.authority.sign("young", begins=DAY / 2)),
        (
            "the server's certificate was not accepted: certificate is not yet valid "
            "(compare the clocks of this machine and the server's)"
        ),
    ),
    "without HTTP/2": (
        lambda pki: server_context(pki, alpn="http/1.1"),
        "the server did not agree to HTTP/2 (ALPN)",
    ),
    "plain": (lambda pki: None, "the server does not speak TLS here (use http://)"),
}


@pytest.mark.parametrize("what", SERVERS)
async def test_what_a_server_has_wrong_is_told(pki: Pki, what: str) -> None:
    make, told = SERVERS[what]
    async with H2Server(answers=pong, tls=make(pki)) as server:
        said = await reason(f"https://127.0.0.1:{server.port}", pki.tls())
    assert said == told


@pytest.mark.parametrize("newest", [True, False])
@pytest.mark.parametrize("has_cert", [True, False])
async def test_whatever_gets_lost_of_the_servers_refusal_certificates_are_named(
    pki: Pki, newest: bool, has_cert: bool
) -> None:
    cert, key = pki.stranger.sign("client") if has_cert else (None, None)
    async with H2Server(tls=server_context(pki, asks=True, newest=newest)) as server:
        said = await reason(server, TLS(ca=pki.authority.path, cert=cert, key=key))
    assert "client certificate" in said or "client's certificate" in said
    assert "cert and key in TLS" in said
    assert ("may not speak TLS" in said) is not newest  # 1.3 looks at certificates only after the handshake


ALERTS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the server asks for a client certificate: set cert and key in TLS",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the server refused the client's certificate, or asks for one: set cert and key",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the client's certificate has expired: renew the files of cert and key in TLS",
    "TLSV1_ALERT_UNKNOWN_CA": "the server does not know the authority that signed the client's certificate",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "the server refused the client's certificate, which must be issued for",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the server refused the TLS handshake; it may ask for a client certificate",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the server speaks no version of TLS that is safe: 1.2 or newer is needed",
    "TLSV1_ALERT_INTERNAL_ERROR": "the server failed in the TLS handshake; its log may say why",
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": "the server does not offer HTTP/2",
    "WRONG_VERSION_NUMBER": "the server does not speak TLS here (use http://)",
}


@pytest.mark.parametrize("alert", ALERTS)
def test_what_the_server_says_is_told_in_words_for_people(alert: str) -> None:
    for told in (tls_reason, connect_reason, lost_reason):
        assert told(ssl.SSLError(1, f"[SSL: {alert}] whatever (_ssl.c:1007)")).startswith(ALERTS[alert])


async def test_plaintext_to_a_tls_server_is_named(pki: Pki) -> None:
    async with H2Server(tls=server_context(pki)) as server:
        said = await reason(f"http://127.0.0.1:{server.port}", None)
    assert said == "the server closed the connection before HTTP/2 began; it may expect TLS: https://"


@pytest.mark.parametrize("has_cert", [True, False])
@pytest.mark.parametrize("error", [ConnectionAbortedError(), ConnectionResetError(errno.ECONNRESET, "reset")])
def test_a_server_that_hangs_up_in_the_handshake_may_have_wanted_one_of_two_things(
    error: OSError, has_cert: bool
) -> None:
    said = with_hint(connect_reason(error), is_secure=True, has_cert=has_cert)
    assert "it may not speak TLS (http://), or" in said
    assert "cert and key in TLS" in said


async def test_certificates_are_read_anew_for_each_connection(pki: Pki, tmp_path: Path) -> None:
    trusted = tmp_path / "ca.pem"
    shutil.copy(pki.stranger.path, trusted)
    async with (
        H2Server(answers=pong, tls=server_context(pki)) as server,
        channel_to(server, tls=TLS(ca=trusted), backoff=Backoff(initial=0, maximum=0)) as channel,
    ):
        with pytest.raises(AttemptFailed, match="not accepted"):
            await within(call(channel))
        shutil.copy(pki.authority.path, trusted)
        assert await within(call(channel)) == b"pong"


async def test_files_are_read_without_holding_up_the_loop(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    readers: list[threading.Thread] = []

    def read(tls: TLS) -> ssl.SSLContext:
        readers.append(threading.current_thread())
        return ssl_context(tls)

    monkeypatch.setattr(connector, "ssl_context", read)
    async with (
        H2Server(answers=pong, tls=server_context(pki)) as server,
        channel_to(server, tls=TLS(ca=pki.authority.path)) as channel,
    ):
        assert await within(call(channel)) == b"pong"
    assert readers
    assert threading.current_thread() not in readers


async def test_tls_over_a_unix_socket_works(pki: Pki, tmp_path: Path) -> None:
    path = str(tmp_path / "127.0.0.1")
    async with (
        H2Server(answers=pong, tls=server_context(pki), path=path) as server,
        channel_to(f"unixs://{path}", tls=TLS(ca=pki.authority.path)) as channel,
    ):
        assert await within(call(channel)) == b"pong"
        assert (await server.request()).headers[":scheme"] == "https"


async def test_closing_a_tls_connection_is_quick(pki: Pki) -> None:
    async with (
        H2Server(answers=pong, tls=server_context(pki)) as server,
        channel_to(server, tls=TLS(ca=pki.authority.path)) as channel,
    ):
        await within(call(channel))
        await within(channel.aclose())


def test_reasons_are_for_people() -> None:
    assert lost_reason(None) == "the server closed the connection"
    assert lost_reason(ConnectionResetError(104, "x")) == "the connection was lost: connection reset by peer"
    assert connect_reason(OSError("plain words")) == "plain words"
    assert connect_reason(ValueError("odd")) == "ValueError: odd"
    assert tls_reason(ssl.SSLError(1, "[SSL] something new")) == "TLS failed: [SSL] something new"
