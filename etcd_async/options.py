"""Every option group and every default number of the package."""

from __future__ import annotations

import enum
import os
import warnings
from dataclasses import dataclass
from typing import Final, TypeAlias

__all__ = [
    "CLEANUP_TIMEOUT",
    "CLIENT_DEFAULT",
    "DEFAULT_DEFRAGMENT_TIMEOUT",
    "DEFAULT_LEASE_TTL",
    "DEFAULT_SERVICE_TTL",
    "DEFAULT_TIMEOUT",
    "FAREWELL_TIMEOUT",
    "TLS",
    "WATCH_BUFFER_BATCHES",
    "WATCH_BUFFER_BYTES",
    "Backoff",
    "Credentials",
    "InsecureTLSWarning",
    "Timeout",
    "TransportOptions",
]


class _ClientDefault(enum.Enum):
    """The type of `CLIENT_DEFAULT`, so that type checkers can tell it from None."""

    CLIENT_DEFAULT = "the client's timeout"

    def __repr__(self) -> str:
        return "CLIENT_DEFAULT"


CLIENT_DEFAULT: Final = _ClientDefault.CLIENT_DEFAULT
"""Stands for "as long as the client was told" where a call takes a timeout."""

Timeout: TypeAlias = float | _ClientDefault | None
"""Seconds, None for no limit, or `CLIENT_DEFAULT`."""

DEFAULT_TIMEOUT: Final = 5.0
DEFAULT_DEFRAGMENT_TIMEOUT: Final = 300.0
DEFAULT_LEASE_TTL: Final = 30.0
DEFAULT_SERVICE_TTL: Final = 15.0
CLEANUP_TIMEOUT: Final = 2.0
"""How long leaving a scope may take at most when the server does not answer, in seconds."""
FAREWELL_TIMEOUT: Final = 0.5
"""How much of that is left when the client is closed meanwhile."""

WATCH_BUFFER_BATCHES: Final = 1000
WATCH_BUFFER_BYTES: Final = 16 * 1024 * 1024
"""What one watch holds for a consumer that is behind; past either bound the watch is paused on the server."""

_MIB = 1024 * 1024
_PING_FLOOR = 5.0  # etcd closes connections that ping more often: server/embed/config.go DefaultGRPCKeepAliveMinTime


class InsecureTLSWarning(UserWarning):
    """Issued where ``TLS(verify=False)`` is made; `warnings.simplefilter` silences it for whoever means it."""


@dataclass(frozen=True, slots=True)
class TLS:
    """
    How to secure connections, and with whose certificates.

    The files are read again for each new connection, so rotated certificates need no restart; a file that can't be
    used is an error of the calls that need a connection, and named in it.

    Args:
        ca: PEM file of the authorities that may sign the server's certificate; None for the system's own.
        cert: PEM file of the client's certificate (with its chain), if the server asks for one.
        key: PEM file of the certificate's private key, which must not be encrypted.
        server_name: Name to expect in the server's certificate instead of the endpoint's host.
        verify: False accepts any certificate: it protects from nobody who can reach the network. It issues an
            `InsecureTLSWarning`, once for each place in the program (unless Python's warning filters say otherwise).

    Raises:
        ValueError: *cert* without *key*, or the reverse; an empty text, a zero byte in one, a name that can't be one.
        TypeError: A path that is no path, a *verify* that is no bool.
    """

    ca: str | os.PathLike[str] | None = None
    cert: str | os.PathLike[str] | None = None
    key: str | os.PathLike[str] | None = None
    server_name: str | None = None
    verify: bool = True

    def __post_init__(self) -> None:
        for name in ("ca", "cert", "key"):
            _check_path(name, getattr(self, name))
        if (self.cert is None) is not (self.key is None):
            raise ValueError("cert and key must be given together")
        _check_server_name(self.server_name)
        if not isinstance(self.verify, bool):
            raise TypeError(f"verify must be True or False, not {type(self.verify).__name__}; authorities go into ca")
        if not self.verify:
            # Past this method and the one that dataclass writes: to the line that says TLS(verify=False).
            warnings.warn("TLS(verify=False) trusts whoever answers", InsecureTLSWarning, stacklevel=3)


def _check_path(name: str, path: object) -> None:
    if path is None:
        return
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{name} must be the path of a file, not {type(path).__name__}")
    text = os.fspath(path)
    if not text or "\0" in os.fsdecode(text):
        raise ValueError(f"{name} must be the path of a file, not {text!r}")


def _check_server_name(name: object) -> None:
    if name is None:
        return
    if not isinstance(name, str):
        raise TypeError(f"server_name must be str, not {type(name).__name__}")
    try:
        is_name = "\0" not in name and bool(name.encode("idna")) and not name.startswith(".")
    except UnicodeError:  # an empty label, or one that is too long
        is_name = False
    if not is_name:
        raise ValueError(f"server_name must be a host name or an address, not {name!r}")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user of etcd and its password; the password never shows in a repr."""

    user: str
    password: str

    def __post_init__(self) -> None:
        for name in ("user", "password"):
            try:
                getattr(self, name).encode()
            except UnicodeEncodeError:
                raise ValueError(f"{name} is not text that UTF-8 can hold") from None  # the cause would show it

    def __repr__(self) -> str:
        return f"Credentials(user={self.user!r}, password=***)"


@dataclass(frozen=True, slots=True)
class Backoff:
    """
    How long to wait between tries: *initial* seconds, times *factor* each time, *maximum* at most.

    *jitter* spreads each wait by that share up and down, so that many clients do not come back together.
    """

    initial: float = 0.05
    factor: float = 1.6
    maximum: float = 1.0
    jitter: float = 0.2


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """
    How connections behave. Sizes are bytes, times are seconds.

    Args:
        connect_timeout: For one connection to be made, TLS included.
        ping_interval: Silence after which an open connection with streams on it is asked for a sign of life; at least
            5 (etcd's own floor). One with calls that wait is asked after a second, but never twice within 5 seconds.
        ping_timeout: How long that sign may take before the connection counts as lost.
        max_send_bytes: Largest request; etcd's own limit is 1.5 MiB unless it was configured.
        max_receive_bytes: Largest answer, and largest message of a stream.
        stream_window: How much the server may send ahead on one stream.
        connection_window: How much it may send ahead on all streams together.
    """

    connect_timeout: float = 5.0
    ping_interval: float = 10.0
    ping_timeout: float = 3.0
    max_send_bytes: int = 2 * _MIB
    max_receive_bytes: int = 128 * _MIB
    stream_window: int = 4 * _MIB
    connection_window: int = 64 * _MIB

    def __post_init__(self) -> None:
        for name in ("connect_timeout", "ping_timeout", "max_send_bytes", "max_receive_bytes"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive")
        if not self.ping_interval >= _PING_FLOOR:
            raise ValueError(
                f"ping_interval must be at least {_PING_FLOOR:g} s: etcd closes connections that ping faster"
            )
        if not 65_535 <= self.stream_window <= self.connection_window < 2**31:
            raise ValueError("stream_window must be at least 65535 and at most connection_window, which is below 2**31")
