"""TLS: who is trusted, what is told when it fails, and files read anew."""

import datetime
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from etcd_async._transport.failure import AttemptFailed, connect_reason, lost_reason, tls_reason
from etcd_async.options import TLS, Backoff
from tests.support.h2server import H2Server, Request, within
from tests.unit.transport.support import call, channel_to, options

pytestmark = pytest.mark.loops("asyncio", "uvloop")


@dataclass
class Pair:
    """A certificate and its key, as files and as objects."""

    cert: Path
    key: Path
    certificate: x509.Certificate
    private: ec.EllipticCurvePrivateKey


def issue(folder: Path, name: str, signer: Pair | None = None) -> Pair:
    """Issue a certificate for 127.0.0.1, signed by *signer* or, as an authority, by itself."""
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer.certificate.subject if signer else subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
    )
    certificate = builder.sign(signer.private if signer else private, hashes.SHA256())
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key.write_bytes(private.private_bytes(*form))
    return Pair(cert, key, certificate, private)


@dataclass
class Authority:
    """A test's own authority, and the certificates it has issued."""

    ca: Pair
    server: Pair
    client: Pair


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder = tmp_path_factory.mktemp("tls")
    ca = issue(folder, "ca")
    return Authority(ca, issue(folder, "server", ca), issue(folder, "client", ca))


def server_context(
    authority: Authority, *, asks: bool = False, alpn: str = "h2", newest: bool = True
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.server.cert, authority.server.key)
    context.set_alpn_protocols([alpn])
    if not newest:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(authority.ca.cert)
    return context


def pong(request: Request) -> None:
    request.answer(b"pong")


async def reason(server: H2Server | str, tls: TLS | None) -> str:
    async with channel_to(server, options(connect_timeout=3), tls=tls) as channel:
        with pytest.raises(AttemptFailed) as caught:
            await within(call(channel))
        assert not caught.value.sent
        return caught.value.reason


async def test_a_trusted_server_is_spoken_to_in_http_2(authority: Authority) -> None:
    context = server_context(authority)
    async with (
        H2Server(answers=pong, tls=context) as server,
        channel_to(server, tls=TLS(ca=authority.ca.cert)) as channel,
    ):
        assert await within(call(channel)) == b"pong"
        request = await server.request()
        assert request.headers[":scheme"] == "https"


async def test_tls_without_a_scheme_is_used_when_configured(authority: Authority) -> None:
    async with (
        H2Server(answers=pong, tls=server_context(authority)) as server,
        channel_to(f"127.0.0.1:{server.port}", tls=TLS(ca=authority.ca.cert)) as channel,
    ):
        assert await within(call(channel)) == b"pong"


async def test_a_client_certificate_is_shown(authority: Authority) -> None:
    tls = TLS(ca=authority.ca.cert, cert=authority.client.cert, key=authority.client.key)
    async with (
        H2Server(answers=pong, tls=server_context(authority, asks=True)) as server,
        channel_to(server, tls=tls) as channel,
    ):
        assert await within(call(channel)) == b"pong"


@pytest.mark.parametrize("newest", [True, False])
async def test_a_missing_client_certificate_is_named(authority: Authority, newest: bool) -> None:
    async with H2Server(tls=server_context(authority, asks=True, newest=newest)) as server:
        assert "client certificate" in await reason(server, TLS(ca=authority.ca.cert))


async def test_an_unknown_authority_is_named(authority: Authority) -> None:
    async with H2Server(tls=server_context(authority)) as server:
        assert "certificate was not accepted" in await reason(server, None)


async def test_a_wrong_name_is_named(authority: Authority) -> None:
    async with H2Server(tls=server_context(authority)) as server:
        said = await reason(server, TLS(ca=authority.ca.cert, server_name="other.example"))
        assert "certificate was not accepted" in said
        assert "other.example" in said


async def test_without_verification_anything_goes(authority: Authority) -> None:
    async with (
        H2Server(answers=pong, tls=server_context(authority)) as server,
        channel_to(server, tls=TLS(verify=False)) as channel,
    ):
        assert await within(call(channel)) == b"pong"


async def test_a_server_without_http_2_is_named(authority: Authority) -> None:
    async with H2Server(tls=server_context(authority, alpn="http/1.1")) as server:
        assert "HTTP/2" in await reason(server, TLS(ca=authority.ca.cert))


async def test_tls_to_a_plaintext_server_is_named() -> None:
    async with H2Server() as server:
        said = await reason(f"https://127.0.0.1:{server.port}", TLS())
        assert said == "the server does not speak TLS here (use http://)"


async def test_plaintext_to_a_tls_server_is_named(authority: Authority) -> None:
    async with H2Server(tls=server_context(authority)) as server:
        said = await reason(f"http://127.0.0.1:{server.port}", None)
        assert "TLS" in said or "before HTTP/2 began" in said


async def test_certificates_are_read_anew_for_each_connection(authority: Authority, tmp_path: Path) -> None:
    trusted = tmp_path / "ca.pem"
    trusted.write_bytes(issue(tmp_path, "stranger").cert.read_bytes())
    async with (
        H2Server(answers=pong, tls=server_context(authority)) as server,
        channel_to(server, tls=TLS(ca=trusted), backoff=Backoff(initial=0, maximum=0)) as channel,
    ):
        with pytest.raises(AttemptFailed, match="not accepted"):
            await within(call(channel))
        trusted.write_bytes(authority.ca.cert.read_bytes())
        assert await within(call(channel)) == b"pong"


async def test_a_missing_file_is_named(tmp_path: Path) -> None:
    async with H2Server() as server:
        said = await reason(f"https://127.0.0.1:{server.port}", TLS(ca=tmp_path / "gone.pem"))
        assert said.startswith("no such file or directory")
        assert "gone.pem" in said


async def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_pass_phrase(tmp_path: Path) -> None:
    pair = issue(tmp_path, "client")
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    pair.key.write_bytes(pair.private.private_bytes(*form, serialization.BestAvailableEncryption(b"secret")))
    async with H2Server() as server:
        said = await reason(f"https://127.0.0.1:{server.port}", TLS(cert=pair.cert, key=pair.key))
    assert said == "the private key is encrypted; store it without a pass phrase"


async def test_tls_over_a_unix_socket_works(authority: Authority, tmp_path: Path) -> None:
    path = str(tmp_path / "127.0.0.1")
    async with (
        H2Server(answers=pong, tls=server_context(authority), path=path) as server,
        channel_to(f"unixs://{path}", tls=TLS(ca=authority.ca.cert)) as channel,
    ):
        assert await within(call(channel)) == b"pong"
        assert (await server.request()).headers[":scheme"] == "https"


async def test_closing_a_tls_connection_is_quick(authority: Authority) -> None:
    async with (
        H2Server(answers=pong, tls=server_context(authority)) as server,
        channel_to(server, tls=TLS(ca=authority.ca.cert)) as channel,
    ):
        await within(call(channel))
        await within(channel.aclose(), 2)


def test_reasons_are_for_people() -> None:
    assert lost_reason(None) == "the server closed the connection"
    assert lost_reason(ConnectionResetError(104, "x")) == "the connection was lost: connection reset by peer"
    assert connect_reason(OSError("plain words")) == "plain words"
    assert connect_reason(ValueError("odd")) == "ValueError: odd"
    assert tls_reason(ssl.SSLError(1, "[SSL] something new")) == "TLS failed: [SSL] something new"
