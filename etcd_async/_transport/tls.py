"""From TLS options to an SSL context, as HTTP/2 wants it (RFC 9113 §9.2)."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import TypeAlias

from etcd_async.options import TLS

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20"

_Path: TypeAlias = str | os.PathLike[str]


def ssl_context(tls: TLS) -> ssl.SSLContext:
    """
    Return a context for one connection, with the files of *tls* as they are now.

    Raises:
        OSError: A file cannot be read, or is not what it should be; the error names it.
    """
    for path in (tls.ca, tls.cert, tls.key):
        if path is not None:
            Path(path).open("rb").close()  # OpenSSL's own error does not name the file.
    context = _with_authorities(tls.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Python 3.13 began to refuse authorities that lack optional extensions; etcd and its own clients take them.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(["h2"])
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert is not None and tls.key is not None:
        _load_certificate(context, tls.cert, tls.key)
    return context


def _with_authorities(ca: _Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except ssl.SSLError as error:
        raise OSError(f"ca in TLS holds no certificate in PEM form: {ca}") from error


def _load_certificate(context: ssl.SSLContext, cert: _Path, key: _Path) -> None:
    def pass_phrase() -> str:
        """Take the place of OpenSSL's own way to get one: it asks on the terminal, and the whole loop waits."""
        raise OSError(f"key in TLS is encrypted, store it without a pass phrase: {key}")

    try:
        context.load_cert_chain(cert, key, pass_phrase)
    except ssl.SSLError as error:
        raise OSError(_what_is_wrong(error, cert, key)) from error


def _what_is_wrong(error: ssl.SSLError, cert: _Path, key: _Path) -> str:
    reason = getattr(error, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        return f"key in TLS does not belong to cert: {key} and {cert}"
    if not _holds_certificate(cert):
        return f"cert in TLS holds no certificate in PEM form: {cert}"
    if reason is None:
        return f"key in TLS holds no private key in PEM form: {key}"
    return f"cert and key in TLS can't be used, {reason}: {cert} and {key}"


def _holds_certificate(path: _Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        return False
    return True
