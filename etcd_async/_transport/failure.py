"""Why one try on one endpoint came to nothing, in words for people."""

from __future__ import annotations

import errno
import os
import socket
import ssl


class AttemptFailed(Exception):
    """
    One attempt on one endpoint did not get an answer; internal, it never reaches users.

    Attributes:
        endpoint: As shown to users.
        reason: As shown to users.
        sent: False if the server has certainly not acted on it: the connection failed, the bytes never left, or
            the server said so (REFUSED_STREAM, a stream above GOAWAY's last one).
        is_down: True if the endpoint was out of reach for longer than a restart takes, or always.
    """

    def __init__(self, endpoint: str, reason: str, *, sent: bool, is_down: bool = False) -> None:
        self.endpoint = endpoint
        self.reason = reason
        self.sent = sent
        self.is_down = is_down
        super().__init__(endpoint, reason, sent)


CLOSED_EARLY = "the server closed the connection before HTTP/2 began"


def with_hint(reason: str, *, is_secure: bool, has_cert: bool) -> str:
    """Return *reason* and, if the server just hung up, what it may have wanted."""
    if reason != CLOSED_EARLY:
        return reason
    if not is_secure:
        wanted = "it may expect TLS: https://"
    elif has_cert:
        wanted = "it may not speak TLS: http://"
    else:
        wanted = "it may ask for a client certificate (set cert and key in TLS), or not speak TLS: http://"
    return f"{reason}; {wanted}"


# Fragments of OpenSSL's reasons (ssl.SSLError.reason) that need translation to be of any help.
_TLS_REASONS = {
    "CERTIFICATE_REQUIRED": "the server asks for a client certificate: set cert and key in TLS",
    "BAD_CERTIFICATE": "the server refused the client's certificate, or asks for one: set cert and key in TLS",
    "UNKNOWN_CA": "the server does not know the authority that signed the client's certificate",
    "HANDSHAKE_FAILURE": "the server refused the TLS handshake; it may ask for a client certificate",
    "WRONG_VERSION_NUMBER": "the server does not speak TLS here (use http://)",
    "RECORD_LAYER_FAILURE": "the server does not speak TLS here (use http://)",
    "HTTP_REQUEST": "the server does not speak TLS here (use http://)",
    "NO_APPLICATION_PROTOCOL": "the server does not offer HTTP/2",
}


def connect_reason(error: BaseException) -> str:
    """Return why a connection could not be made."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate was not accepted: {error.verify_message or error.reason}"
    if isinstance(error, ssl.SSLError):
        return tls_reason(error)
    if isinstance(error, socket.gaierror):
        return f"the host name could not be resolved: {error.strerror}"
    if isinstance(error, OSError):
        return _os_reason(error)
    return f"{type(error).__name__}: {error}"


def lost_reason(error: BaseException | None) -> str:
    """Return why an established connection was lost; None for the server having closed it."""
    if error is None:
        return "the server closed the connection"
    if isinstance(error, ssl.SSLError):
        return tls_reason(error)
    return f"the connection was lost: {connect_reason(error)}"


def tls_reason(error: ssl.SSLError) -> str:
    """Return what a TLS failure means."""
    text = getattr(error, "reason", None) or str(error)
    return next((meaning for part, meaning in _TLS_REASONS.items() if part in text), f"TLS failed: {text}")


def _os_reason(error: OSError) -> str:
    if error.errno is None and isinstance(error, ConnectionError):
        return CLOSED_EARLY
    if error.errno is None:
        return str(error) or type(error).__name__
    name = f" {error.filename}" if error.filename is not None else ""
    text = "connection refused" if error.errno == errno.ECONNREFUSED else os.strerror(error.errno).lower()
    return f"{text}{name}"
