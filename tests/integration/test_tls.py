"""Connections over TLS, against an etcd with certificates made here."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from etcd_async import TLS, Client, EtcdError, Unavailable
from etcd_async.testing import EtcdServer
from tests.support.live import take, within


class Authority:
    """Signs certificates and writes them, with their keys, as PEM files into *directory*."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = directory / f"{name}.pem"
        self.file.write_bytes(_pem(self._sign(self._name, self._key, is_ca=True)))

    def issue(self, name: str) -> tuple[Path, Path]:
        """Return the files of a new certificate for 127.0.0.1 and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        cert_file, key_file = self._directory / f"{name}.pem", self._directory / f"{name}.key"
        cert_file.write_bytes(_pem(self._sign(subject, key, is_ca=False)))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return cert_file, key_file

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, is_ca: bool) -> x509.Certificate:
        now = datetime.now(UTC)
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("etcd.test")])
        builder = x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        return builder.add_extension(names, critical=False).sign(self._key, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
async def secure(authority: Authority) -> AsyncIterator[EtcdServer]:
    """A server over TLS that asks for a client's certificate."""
    cert, key = authority.issue("server")
    flags = [f"--cert-file={cert}", f"--key-file={key}", f"--trusted-ca-file={authority.file}", "--client-cert-auth"]
    async with EtcdServer(extra_args=flags) as server:
        yield server


async def test_a_client_with_certificates_works(secure: EtcdServer, authority: Authority) -> None:
    cert, key = authority.issue("client")
    async with Client(secure.endpoint, tls=TLS(ca=authority.file, cert=cert, key=key)) as client:
        async with client.watch("/k") as watch, client.lease(5) as lease:
            await client.put("/k", b"v" * 1_000_000, lease=lease)
            (event,) = await take(watch, 1)
        assert len(event.kv.value) == 1_000_000


async def test_a_bare_host_is_reached_over_tls_where_tls_is_given(secure: EtcdServer, authority: Authority) -> None:
    cert, key = authority.issue("client")
    bare = secure.endpoint.removeprefix("https://")
    async with Client(bare, tls=TLS(ca=authority.file, cert=cert, key=key, server_name="etcd.test")) as client:
        assert await client.get("/k") is None


async def test_an_unknown_authority_is_refused_by_name_unless_told_not_to_look(
    secure: EtcdServer, authority: Authority, tmp_path: Path
) -> None:
    cert, key = authority.issue("client")
    stranger = Authority(tmp_path, "stranger")
    with pytest.raises(Unavailable, match=r"(?i)certificate") as caught:
        await within(Client.connect(secure.endpoint, tls=TLS(ca=stranger.file, cert=cert, key=key)))
    assert caught.value.attempts[0].endpoint == secure.endpoint
    async with Client(secure.endpoint, tls=TLS(cert=cert, key=key, verify=False)) as client:
        assert await client.get("/k") is None


async def test_another_name_in_the_certificate_is_refused(secure: EtcdServer, authority: Authority) -> None:
    cert, key = authority.issue("client")
    tls = TLS(ca=authority.file, cert=cert, key=key, server_name="somebody.else")
    with pytest.raises(Unavailable, match=r"(?i)somebody\.else|hostname"):
        await within(Client.connect(secure.endpoint, tls=tls))


async def test_a_client_without_certificate_is_an_error_at_once(secure: EtcdServer, authority: Authority) -> None:
    with pytest.raises(EtcdError):
        await within(Client.connect(secure.endpoint, tls=TLS(ca=authority.file)))


async def test_plain_text_to_a_secure_server_is_an_error_at_once(secure: EtcdServer) -> None:
    plain = secure.endpoint.replace("https://", "http://")
    with pytest.raises(EtcdError, match=plain):
        await within(Client.connect(plain))
