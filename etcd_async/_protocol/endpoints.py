"""Where etcd may be reached: the spelling of endpoints."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

DEFAULT_PORT = 2379  # etcd's for clients: server/embed/config.go DefaultListenClientURLs

_TLS_BY_SCHEME: dict[str, bool | None] = {"http": False, "https": True, "unix": None, "unixs": True, "": None}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://|(unixs?):", re.IGNORECASE)
_HOST = re.compile(r"[\w.:%-]+")
_MAX_SHOWN = 100  # characters of an endpoint that an error repeats
_FORBIDDEN = re.compile(r"[\s\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    One address of etcd.

    Attributes:
        text: The normalised spelling, as errors and states show it.
        host: Name or address, None for a unix socket.
        port: TCP port, None for a unix socket.
        path: Path of the unix socket, else None.
        tls: True and False are the scheme's word; None means: if the client has TLS configured.
        server_name: What the server's certificate must be issued for, unless the TLS options name another.
        authority: The ``:authority`` of requests.
    """

    text: str
    host: str | None
    port: int | None
    path: str | None
    tls: bool | None
    server_name: str
    authority: str


def parse(text: str) -> Endpoint:
    """
    Read one endpoint, spelled as etcd's own tools take it (``client/v3/internal/endpoint/endpoint.go``).

    ``http://host:port``, ``https://host:port``, ``host:port``, ``host`` (port 2379), ``unix:path``, ``unix:///path``,
    ``unixs:…``; an IPv6 address stands in brackets where a port may follow.

    Raises:
        ValueError: *text* is none of these; the message names it, without anything that could be a password.
    """
    if not isinstance(text, str):
        raise TypeError(f"an endpoint must be a str, not {type(text).__name__}")
    found = _SCHEME.match(text)
    scheme = (found[1] or found[2]).lower() if found else ""
    if scheme not in _TLS_BY_SCHEME:
        raise _bad(text, f"unknown scheme {scheme!r}; use http, https, unix or unixs")
    if _FORBIDDEN.search(text):
        raise _bad(text, "white space or a control character in it")
    rest = text[found.end() :] if found else text
    return _socket(text, scheme, rest.removeprefix("//")) if scheme.startswith("unix") else _tcp(text, scheme, rest)


def _socket(text: str, scheme: str, path: str) -> Endpoint:
    if not path:
        raise _bad(text, "no path of a socket in it")
    normal = f"{scheme}://{path}" if path.startswith("/") else f"{scheme}:{path}"
    name = path.rsplit("/", 1)[-1].split(":", 1)[0]
    return Endpoint(
        text=normal,
        host=None,
        port=None,
        path=path,
        tls=_TLS_BY_SCHEME[scheme],
        server_name=name,
        authority="localhost",
    )


def _tcp(text: str, scheme: str, rest: str) -> Endpoint:
    split = _split(text, rest)
    host, port = split.hostname, DEFAULT_PORT if split.port is None else split.port
    if not host:
        raise _bad(text, "no host in it")
    if not _HOST.fullmatch(host):
        raise _bad(text, "a host can't be spelled so; several endpoints are a list")
    if port == 0:
        raise _bad(text, "port 0 can't be connected to")
    name = host.partition("%")[0]  # an IPv6 zone means something on this machine only
    shown, authority = (f"[{host}]", f"[{name}]") if ":" in host else (host, name)
    return Endpoint(
        text=f"{scheme}://{shown}:{port}" if scheme else f"{shown}:{port}",
        host=host,
        port=port,
        path=None,
        tls=_TLS_BY_SCHEME[scheme],
        server_name=name,
        authority=f"{authority}:{port}",
    )


def _split(text: str, rest: str) -> SplitResult:
    try:
        split = urlsplit(f"//{rest}")
        port = split.port
    except ValueError as error:
        raise _bad(text, "not a host with a port; an IPv6 address stands in brackets") from error
    if split.username is not None:
        raise _bad(text, "a user or password in it; pass user= and password= instead")
    if split.path not in ("", "/") or split.query or split.fragment:
        raise _bad(text, "something after the host and port")
    bare = split.netloc.rpartition("]")[2]
    if bare.count(":") > 1 or (port is None and ":" in bare):
        raise _bad(text, "not a host with a port; an IPv6 address stands in brackets")
    return split


def _bad(text: str, why: str) -> ValueError:
    before, at, shown = text.rpartition("@")
    if at:  # what stands before it may be a password
        shown = f"{before[: before.find('://') + 3] if '://' in before else ''}…@{shown}"
    if len(shown) > _MAX_SHOWN:
        shown = f"{shown[:_MAX_SHOWN]}…"
    return ValueError(f"bad endpoint {shown!r}: {why}")
