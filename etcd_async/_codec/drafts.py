"""
Key-values and events made past their frozen constructors: by the fast readers, which make thousands of them.

Never compiled: assigning to slots is faster in bytecode, and a compiled class could not become another one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from etcd_async.types import Event, EventType, KeyValue


class KeyValueDraft:
    """A key-value while it is built: laid out like the frozen one, and turned into it by its class."""

    # Assigning to slots and then to __class__ takes 0.20 us; slot descriptors take 0.49, the frozen __init__ 0.99.
    __slots__ = KeyValue.__slots__


class EventDraft:
    """An event while it is built."""

    __slots__ = Event.__slots__


def new_kv(key: bytes, create_revision: int, mod_revision: int, version: int, value: bytes, lease: int) -> KeyValue:
    """Return a key-value; the order is that of the wire."""
    kv: Any = KeyValueDraft()
    kv.key = key
    kv.create_revision = create_revision
    kv.mod_revision = mod_revision
    kv.version = version
    kv.value = value
    kv.lease = lease
    kv.__class__ = KeyValue
    return kv  # type: ignore[no-any-return]  # it is one, since the line above


def new_kvs(rows: Iterable[tuple[tuple[bytes, ...], int, int, int, int]]) -> list[KeyValue]:
    """Return a key-value of each key and value, create and mod revision, version and lease."""
    kvs: list[KeyValue] = []
    for (key, value), create_revision, mod_revision, version, lease in rows:
        kv: Any = KeyValueDraft()
        kv.key = key
        kv.create_revision = create_revision
        kv.mod_revision = mod_revision
        kv.version = version
        kv.value = value
        kv.lease = lease
        kv.__class__ = KeyValue
        kvs.append(kv)
    return kvs


def new_event(kind: EventType, kv: KeyValue, prev_kv: KeyValue | None) -> Event:
    """Return an event."""
    event: Any = EventDraft()
    event.type = kind
    event.kv = kv
    event.prev_kv = prev_kv
    event.__class__ = Event
    return event  # type: ignore[no-any-return]  # it is one, since the line above
