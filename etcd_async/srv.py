"""
Endpoints from DNS SRV records, as etcd's own tools find them with ``--discovery-srv``.

It needs the extra ``srv``: ``pip install 'etcd-async[srv]'``.
"""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from etcd_async.errors import Attempt, Unavailable

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver

__all__ = ["endpoints_from_srv"]

_TIMEOUT: Final = 5.0
_SCHEMES: Final = {"etcd-client-ssl": "https", "etcd-client": "http"}  # client/pkg/srv/srv.go GetClient


async def endpoints_from_srv(
    domain: str, *, service_name: str = "", timeout: float = _TIMEOUT, nameserver: str | None = None
) -> list[str]:
    """
    Look up where the etcd of a domain is.

    ``_etcd-client-ssl._tcp.<domain>`` gives https endpoints, ``_etcd-client._tcp.<domain>`` http ones. One of the two
    is enough; if you mean TLS, take care that there is no record of the other kind.

    Args:
        domain: Such as ``"example.com"``.
        service_name: Where one domain has several clusters: ``_etcd-client-ssl-<service_name>._tcp.<domain>``.
        timeout: Seconds for both lookups together.
        nameserver: ``address`` or ``address:port`` to ask instead of the system's own.

    Returns:
        Endpoints for `Client`: https before http, and those of each kind in the order of their priority.

    Raises:
        ImportError: dnspython is not installed.
        ValueError: *domain* can't be a domain, or *nameserver* not an address.
        Unavailable: Both lookups failed, or found nothing; names each with the reason. Or no nameserver is known.
    """
    resolver = _resolver(nameserver)
    suffix = f"-{service_name}" if service_name else ""
    names = {f"_{service}{suffix}._tcp.{domain}": scheme for service, scheme in _SCHEMES.items()}
    for name in names:
        _check(name)
    found = await asyncio.gather(*(_lookup(resolver, name, timeout) for name in names))
    endpoints = [
        f"{scheme}://{place}"
        for scheme, places in zip(names.values(), found, strict=True)
        if not isinstance(places, Attempt)
        for place in places
    ]
    if not endpoints:
        raise Unavailable([each for each in found if isinstance(each, Attempt)])
    return endpoints


def _resolver(nameserver: str | None) -> Resolver:
    try:
        from dns.asyncresolver import Resolver
        from dns.nameserver import Do53Nameserver
        from dns.resolver import NoResolverConfiguration
    except ImportError as error:
        raise ImportError("endpoints_from_srv needs dnspython: pip install 'etcd-async[srv]'") from error
    try:
        resolver = Resolver(configure=nameserver is None)
    except NoResolverConfiguration as error:
        raise Unavailable([Attempt("the system's resolver", str(error))]) from error
    if nameserver is not None:
        resolver.nameservers = [Do53Nameserver(*_address(nameserver))]
    return resolver


def _address(nameserver: str) -> tuple[str, int]:
    address, _, port = nameserver.partition(":") if nameserver.count(":") == 1 else (nameserver, "", "")
    ip_address(address)
    number = int(port or 53)
    if not 0 < number < 2**16:
        raise ValueError(f"no port of a nameserver: {nameserver!r}")
    return address, number


def _check(name: str) -> None:
    from dns.exception import DNSException
    from dns.name import from_text

    try:
        from_text(name)
    except DNSException as error:
        raise ValueError(f"no name in the DNS: {name!r}: {error}") from error


async def _lookup(resolver: Resolver, name: str, timeout: float) -> list[str] | Attempt:
    """Return ``host:port`` of each record, or why there is none."""
    from dns.exception import DNSException

    try:
        answer = await resolver.resolve(name, "SRV", lifetime=timeout, search=False)
    except DNSException as error:
        return Attempt(name, str(error))
    records = sorted(answer, key=lambda record: (record.priority, -record.weight))
    places = [(record.target.to_text(omit_final_dot=True), record.port) for record in records]
    offered = [f"{host}:{port}" for host, port in places if host != "."]  # "." says: not here (RFC 2782)
    return offered or Attempt(name, "the service is not offered there")
