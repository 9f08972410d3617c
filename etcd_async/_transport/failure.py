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
        has_left: True if it was sent, and the server said that it has not looked at it.
    """

    def __init__(
        self, endpoint: str, reason: str, *, sent: bool, is_down: bool = False, has_left: bool = False
    ) -> None:
        self.endpoint = endpoint
        self.reason = reason
        self.sent = sent
        self.is_down = is_down
        self.has_left = has_left
        super().__init__(endpoint, reason, sent)


CLOSED_EARLY = "the server closed the connection before HTTP/2 began"
CLOSED_IN_HANDSHAKE = "the server closed the connection in the TLS handshake"
RESET = os.strerror(errno.ECONNRESET).lower()

_NO_TLS = "it may not speak TLS (http://), or ask for a client certificate: set cert and key in TLS"
_NO_TLS_OR_TRUST = "it may not speak TLS (http://), or not trust the client's certificate: cert and key in TLS"
_HINTS = {
    # (reason, is_secure, has_cert). Once the handshake is over it does speak TLS: in TLS 1.3 it looks at the client's
    # certificate only then, and the alert that says what is wrong gets lost if it hangs up on unread bytes.
    (CLOSED_EARLY, False, False): "it may expect TLS: https://",
    (CLOSED_EARLY, False, True): "it may expect TLS: https://",
    (CLOSED_EARLY, True, False): "it may ask for a client certificate: set cert and key in TLS",
    (CLOSED_EARLY, True, True): "it may not trust the client's certificate: set cert and key in TLS to one that has "
    "not expired, of an authority that the server knows",
    (CLOSED_IN_HANDSHAKE, True, False): _NO_TLS,
    (CLOSED_IN_HANDSHAKE, True, True): _NO_TLS_OR_TRUST,
    (RESET, True, False): _NO_TLS,  # it hung up on bytes that it had not read
    (RESET, True, True): _NO_TLS_OR_TRUST,
}


def with_hint(reason: str, *, is_secure: bool, has_cert: bool) -> str:
    """Return *reason* and, if the server just hung up, what it may have wanted."""
    hint = _HINTS.get((reason, is_secure, has_cert))
    return f"{reason}; {hint}" if hint else reason


# Fragments of OpenSSL's reasons (ssl.SSLError.reason) that need translation to be of any help; the first that fits.
# "ALERT" ones are the server's words: Go's say less than they could of old, BAD_CERTIFICATE for everything.
_TLS_REASONS = {
    "CERTIFICATE_REQUIRED": "the server asks for a client certificate: set cert and key in TLS",
    "BAD_CERTIFICATE": "the server refused the client's certificate, or asks for one: set cert and key in TLS to one "
    "that has not expired, of an authority that the server trusts (its --trusted-ca-file)",
    "CERTIFICATE_EXPIRED": "the client's certificate has expired: renew the files of cert and key in TLS",
    "UNKNOWN_CA": "the server does not know the authority that signed the client's certificate (its --trusted-ca-file "
    "does): set cert and key in TLS to one of its own",
    "UNSUPPORTED_CERTIFICATE": "the server refused the client's certificate, which must be issued for client use",
    "HANDSHAKE_FAILURE": "the server refused the TLS handshake; it may ask for a client certificate",
    "PROTOCOL_VERSION": "the server speaks no version of TLS that is safe: 1.2 or newer is needed",
    "INTERNAL_ERROR": "the server failed in the TLS handshake; its log may say why (its own certificate files?)",
    "WRONG_VERSION_NUMBER": "the server does not speak TLS here (use http://)",
    "RECORD_LAYER_FAILURE": "the server does not speak TLS here (use http://)",
    "HTTP_REQUEST": "the server does not speak TLS here (use http://)",
    "NO_APPLICATION_PROTOCOL": "the server does not offer HTTP/2",
}

_SET_CA = "set ca in TLS to the file of the authority that signed it"
_SET_SERVER_NAME = "set server_name in TLS to a name that is in it"
# What to do about a server's certificate, by OpenSSL's verify_code (x509_vfy.h, X509_V_ERR_*).
_ADVICE = {
    2: _SET_CA,  # unable to get issuer certificate
    7: _SET_CA,  # certificate signature failure: another authority of the same name
    9: "compare the clocks of this machine and the server's",  # not yet valid
    10: "it (or its authority's) must be renewed, on the server",  # has expired
    18: _SET_CA,  # self-signed certificate
    19: _SET_CA,  # self-signed certificate in certificate chain
    20: _SET_CA,  # unable to get local issuer certificate
    21: _SET_CA,  # unable to verify the first certificate
    26: "it must be issued for server authentication",  # unsuitable purpose
    62: _SET_SERVER_NAME,  # host name mismatch
    64: _SET_SERVER_NAME,  # IP address mismatch
}


def connect_reason(error: BaseException) -> str:
    """Return why a connection could not be made."""
    if isinstance(error, ssl.SSLCertVerificationError):
        advice = _ADVICE.get(error.verify_code)
        said = error.verify_message or error.reason
        return f"the server's certificate was not accepted: {said}{f' ({advice})' if advice else ''}"
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
        return CLOSED_IN_HANDSHAKE  # asyncio makes these up; without TLS there is no handshake to end
    if error.errno is None:
        return str(error) or type(error).__name__
    name = f" {error.filename}" if error.filename is not None else ""
    text = "connection refused" if error.errno == errno.ECONNREFUSED else os.strerror(error.errno).lower()
    return f"{text}{name}"
