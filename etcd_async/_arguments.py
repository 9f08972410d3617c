"""What users say when they make a client, and what is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from etcd_async._keys import FIRST, check_timeout, prefix_end
from etcd_async._keyspace import Cipher
from etcd_async._protocol.endpoints import Endpoint, parse
from etcd_async.options import TLS, Credentials

__all__ = [
    "check_default_timeout",
    "check_encryption",
    "check_interval",
    "check_kind",
    "credentials",
    "own_token",
    "parsed",
]


def parsed(endpoints: str | Sequence[str], tls: TLS | None) -> list[Endpoint]:
    """
    Return the endpoints that a user has given.

    Raises:
        ValueError: One of them can't be read, there are none, or *tls* is given and none of them may use it.
    """
    if not isinstance(endpoints, Sequence):
        raise TypeError(f"endpoints must be str or a sequence of str, not {type(endpoints).__name__}")
    several = endpoints.split(",") if isinstance(endpoints, str) else list(endpoints)
    if not several:
        raise ValueError("endpoints must name at least one server")
    found = [parse(each) for each in several]
    if tls is not None and all(endpoint.tls is False for endpoint in found):
        raise ValueError("tls is given, but every endpoint is a plain one: say https:// or unixs://")
    return found


def check_interval(seconds: float | None) -> None:
    """Raise if *seconds* is no time between two syncs."""
    if seconds is None:
        return
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"endpoint_sync must be a number of seconds, or None, not {type(seconds).__name__}")
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"endpoint_sync must be positive, or None for never, not {seconds!r}")


def credentials(user: str | None, password: str | None) -> Credentials | None:
    """Return whom to log in as, if anybody."""
    if (user is None) is not (password is None):
        raise ValueError("user and password must be given together")
    for name, given in (("user", user), ("password", password)):
        if not isinstance(given, str | None):
            raise TypeError(f"{name} must be str, not {type(given).__name__}")
    if user == "":
        raise ValueError("user must not be empty")
    return None if user is None or password is None else Credentials(user, password)


def own_token(token: str | None, user: str | None) -> str | None:
    """Return the token that takes the place of logging in, if there is one."""
    if token is None:
        return None
    if not isinstance(token, str):
        raise TypeError(f"token must be str, not {type(token).__name__}")
    if user is not None:
        raise ValueError("token takes the place of user and password: give one or the other")
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("token must be of printable ASCII without spaces, as etcd issues them")
    return token


def check_kind(name: str, given: object, kind: type, called: str) -> None:
    """Raise unless *given* is None or of *kind*, which users know as *called*."""
    if not isinstance(given, kind | None):
        raise TypeError(f"{name} must be {called}, not {type(given).__name__}")


def check_encryption(encryption: Cipher | None, namespace: bytes) -> None:
    """Raise if *encryption* is none, or would leave every value of the namespace as it is."""
    check_kind("encryption", encryption, Cipher, "an Encryption")
    if encryption is not None and not encryption.covers_any(namespace or FIRST, prefix_end(namespace)):
        raise ValueError("encryption covers no key of the namespace: its prefixes are of full names, with it")


def check_default_timeout(timeout: float | None) -> None:
    """Raise if *timeout* is no time that calls may take unless they are told otherwise."""
    check_timeout(timeout)
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout must be positive, or None for no limit, not {timeout!r}")
