"""From TLS options to an SSL context, as HTTP/2 wants it (RFC 9113 §9.2)."""

from __future__ import annotations

import ssl
from pathlib import Path

from etcd_async.options import TLS

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20"


def ssl_context(tls: TLS) -> ssl.SSLContext:
    """
    Return a context for one connection, with the files of *tls* as they are now.

    Raises:
        OSError: A file cannot be read, or (`ssl.SSLError`) is not what it should be.
    """
    for path in (tls.ca, tls.cert, tls.key):
        if path is not None:
            Path(path).open("rb").close()  # OpenSSL's own error does not name the file.
    context = ssl.create_default_context(cafile=tls.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Python 3.13 began to refuse authorities that lack optional extensions; etcd and its own clients take them.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(["h2"])
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert is not None:
        context.load_cert_chain(tls.cert, tls.key, _pass_phrase)
    return context


def _pass_phrase() -> str:
    """Take the place of OpenSSL's own way to get one: it asks on the terminal, and the whole loop waits."""
    raise OSError("the private key is encrypted; store it without a pass phrase")
