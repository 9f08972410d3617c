"""Certificates for one test: an authority, and what it has signed."""

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = 86400.0


class Authority:
    """
    Signs certificates and keeps them, with their keys, as files in a directory.

    Attributes:
        path: The file of its own certificate.
    """

    def __init__(self, directory: Path, name: str) -> None:
        directory.mkdir(exist_ok=True)
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        builder = _builder(self._name, self._name, self._key).add_extension(constraints, critical=True)
        identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        certificate = builder.add_extension(identifier, critical=False).sign(self._key, hashes.SHA256())
        self.path = _write(directory / f"{name}.pem", certificate.public_bytes(serialization.Encoding.PEM))

    def sign(
        self,
        name: str,
        *,
        hosts: tuple[str, ...] = ("127.0.0.1",),
        begins: float = -3 * DAY,
        ends: float = DAY,
        secret: bytes | None = None,
    ) -> tuple[Path, Path]:
        """
        Make a certificate for a server on *hosts*, which will do for a client too; return its file and the key's.

        Files of the same name are replaced.

        Args:
            name: Of the subject, and of the files.
            hosts: What it is valid for.
            begins: When its validity begins, in seconds from now.
            ends: When it ends.
            secret: A pass phrase to encrypt the key with.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = _builder(subject, self._name, key, begins, ends).add_extension(usages, critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName([*map(_general_name, hosts)]), critical=False)
        certificate = builder.add_extension(issuer, critical=False).sign(self._key, hashes.SHA256())
        hidden = serialization.BestAvailableEncryption(secret) if secret else serialization.NoEncryption()
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden)
        return (
            _write(self._directory / f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM)),
            _write(self._directory / f"{name}.key", pem),
        )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, begins: float = -3 * DAY, ends: float = DAY
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now + datetime.timedelta(seconds=begins))
    return builder.not_valid_after(now + datetime.timedelta(seconds=ends))


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(path: Path, data: bytes) -> Path:
    """Write a file in one step, as who rotates certificates should."""
    part = path.with_suffix(".part")
    part.write_bytes(data)
    return part.replace(path)
