"""How an instance of a service lies in etcd: the key ``services/<name>/<id>`` with a JSON object. Pure."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from etcd_async.errors import DecryptionFailed
from etcd_async.types import KeyValue, Service

__all__ = ["check_metadata", "from_json", "key_of", "matches", "prefix_of", "to_json"]

_log = logging.getLogger("etcd_async.registry")


def check_metadata(metadata: object) -> None:
    """Refuse what does not map str to str; None is no restriction."""
    if not isinstance(metadata, Mapping | None):
        raise TypeError(f"metadata must map str to str, not be {type(metadata).__name__}")
    if metadata is not None and not all(isinstance(part, str) for pair in metadata.items() for part in pair):
        raise TypeError("metadata must map str to str")


def matches(service: Service, metadata: Mapping[str, str] | None) -> bool:
    """Return whether an instance has all of *metadata*."""
    return metadata is None or metadata.items() <= dict(service.metadata).items()


def prefix_of(name: str) -> bytes:
    """Return what the keys of all instances of a service start with; refuse what is no name."""
    if not isinstance(name, str):
        raise TypeError(f"name must be str, not {type(name).__name__}")
    if not name or "/" in name:
        raise ValueError(f"name must not be empty or contain a slash: {name!r}")
    return f"services/{name}/".encode()


def key_of(service: Service) -> bytes:
    """Return the key of an instance; refuse what can't be written."""
    if not isinstance(service, Service):
        raise TypeError(f"service must be a Service, not {type(service).__name__}")
    for name, text in (("id", service.id), ("address", service.address), ("note", service.note)):
        if not isinstance(text, str):
            raise TypeError(f"{name} must be str, not {type(text).__name__}")
    if not service.id or "/" in service.id:
        raise ValueError(f"id must not be empty or contain a slash: {service.id!r}")
    if not service.address:
        raise ValueError("address must not be empty")
    if not isinstance(service.is_healthy, bool):
        raise TypeError(f"is_healthy must be bool, not {type(service.is_healthy).__name__}")
    if service.metadata is None:
        raise TypeError("metadata must map str to str, not be NoneType")
    check_metadata(service.metadata)
    return prefix_of(service.name) + service.id.encode()


def to_json(service: Service) -> bytes:
    """Return the value of an instance's key."""
    fields: dict[str, Any] = {
        "name": service.name,
        "id": service.id,
        "address": service.address,
        "metadata": dict(service.metadata),
    }
    if not service.is_healthy or service.note:
        fields |= {"healthy": service.is_healthy, "note": service.note}
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def from_json(kv: KeyValue) -> Service | None:
    """Return the instance that a key describes; what describes none is logged, and None."""
    try:
        fields = kv.json()
        service = Service(
            fields["name"],
            fields["id"],
            fields["address"],
            fields["metadata"],
            is_healthy=fields.get("healthy", True),
            note=fields.get("note", ""),
        )
        if key_of(service) != kv.key.removeprefix(b"/"):
            raise ValueError("its name and id are not those of the key")
    except (ValueError, TypeError, LookupError, RecursionError, DecryptionFailed) as error:
        _log.warning("the value of %r does not describe a service: %s", kv.key, error)
        return None
    return service
