"""
The values that calls return: frozen, slotted, and never a wire message.

Keys and values are always ``bytes``; revisions, versions and ids are ``int``; etcd's revision 0 means "none".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias, overload

from etcd_async.errors import DecryptionFailed

__all__ = [
    "Batch",
    "ClientState",
    "DeleteResult",
    "EndpointState",
    "Event",
    "EventType",
    "KeyValue",
    "LeaseGrant",
    "LeaseTimeToLive",
    "OpResult",
    "PutResult",
    "RangeResult",
    "Service",
    "ServiceChange",
    "TxnResult",
    "UnreadableKeyValue",
]

EventType: TypeAlias = Literal["put", "delete"]


@dataclass(frozen=True, slots=True)
class KeyValue:
    """
    One key as etcd held it at some revision.

    Attributes:
        key: The key, without the client's namespace.
        value: The value; empty if only keys were asked for.
        create_revision: The revision that created the key.
        mod_revision: The revision of its last change.
        version: How often it was written since it was created; 0 in a delete event.
        lease: The id of the lease it is attached to, or 0.
    """

    key: bytes
    value: bytes = b""
    create_revision: int = 0
    mod_revision: int = 0
    version: int = 0
    lease: int = 0

    def text(self) -> str:
        """Return the value as UTF-8 text."""
        return self.value.decode()

    def json(self) -> Any:
        """Return the value parsed as JSON."""
        return json.loads(self.value)


class UnreadableKeyValue(KeyValue):
    """
    A key whose encrypted value can't be opened: everything but ``value``, ``text`` and ``json``, which raise why.

    Listings and watches yield it in its place, so that one such value doesn't cost the others.

    Attributes:
        error: The `DecryptionFailed` that reading the value raises.
    """

    __slots__ = ("error",)

    error: DecryptionFailed

    def __init__(self, kv: KeyValue, error: DecryptionFailed) -> None:
        for name in ("key", "create_revision", "mod_revision", "version", "lease"):
            object.__setattr__(self, name, getattr(kv, name))
        object.__setattr__(self, "error", error)

    @property
    def value(self) -> bytes:
        """Raise `error`."""
        raise self.error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnreadableKeyValue) and (self.key, self.mod_revision) == (
            other.key,
            other.mod_revision,
        )

    def __hash__(self) -> int:
        return hash((self.key, self.mod_revision))

    def __reduce__(self) -> Any:
        known = self.create_revision, self.mod_revision, self.version, self.lease
        return type(self), (KeyValue(self.key, b"", *known), self.error)

    def __repr__(self) -> str:
        return f"<UnreadableKeyValue {self.key!r}: {self.error.reason}>"


@dataclass(frozen=True, slots=True)
class PutResult:
    """
    What a put did.

    Attributes:
        revision: The store's revision after the put: the new key's ``mod_revision``.
        prev_kv: What the key was before, if ``prev_kv=True`` was asked for and it existed.
    """

    revision: int
    prev_kv: KeyValue | None = None


@dataclass(frozen=True, slots=True)
class DeleteResult:
    """
    What a delete did.

    Attributes:
        deleted: How many keys were deleted.
        prev_kvs: What they were, in key order, if ``prev_kv=True`` was asked for.
        revision: The store's revision afterwards; unchanged if nothing was deleted.
    """

    deleted: int
    prev_kvs: tuple[KeyValue, ...] = ()
    revision: int = 0


@dataclass(frozen=True, slots=True)
class RangeResult(Sequence[KeyValue]):
    """
    The keys of a range: a sequence of `KeyValue`.

    Attributes:
        kvs: The keys, in the order asked for.
        count: How many keys the range holds in all, also where *limit* cut the answer.
        more: True if *limit* cut the answer.
        revision: The store's revision when it answered.
    """

    kvs: Sequence[KeyValue] = ()
    count: int = 0  # type: ignore[assignment]  # etcd's word; Sequence.count is of no use here
    more: bool = False
    revision: int = 0

    @overload
    def __getitem__(self, index: int) -> KeyValue: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[KeyValue]: ...
    def __getitem__(self, index: int | slice) -> KeyValue | Sequence[KeyValue]:
        return self.kvs[index]

    def __len__(self) -> int:
        return len(self.kvs)

    def __iter__(self) -> Iterator[KeyValue]:
        return iter(self.kvs)


@dataclass(frozen=True, slots=True)
class TxnResult:
    """
    What a transaction did.

    Attributes:
        succeeded: True if every compare held and ``then`` ran; False if ``otherwise`` ran.
        revision: The store's revision afterwards.
        results: One typed result per operation of the branch that ran, in order: what the client's method of the same
            name returns (`PutResult`, `DeleteResult`, `KeyValue` or None for a get, `RangeResult`, `TxnResult`).
    """

    succeeded: bool
    revision: int = 0
    results: tuple[OpResult, ...] = ()


OpResult: TypeAlias = "PutResult | DeleteResult | KeyValue | RangeResult | TxnResult | None"


@dataclass(frozen=True, slots=True)
class Event:
    """
    One change of one key.

    Attributes:
        type: ``"put"`` or ``"delete"``.
        kv: The key after the change; after a delete only ``key`` and ``mod_revision`` are set.
        prev_kv: The key before the change, if the watch asked for it and it was not compacted away.
    """

    type: EventType
    kv: KeyValue
    prev_kv: KeyValue | None = None

    @property
    def revision(self) -> int:
        """The revision of the change."""
        return self.kv.mod_revision

    @property
    def is_create(self) -> bool:
        """True if a put created the key."""
        return self.type == "put" and self.kv.create_revision == self.kv.mod_revision

    @property
    def is_modify(self) -> bool:
        """True if a put changed a key that existed."""
        return self.type == "put" and self.kv.create_revision != self.kv.mod_revision


@dataclass(frozen=True, slots=True)
class Batch:
    """
    The events of one whole revision or more, or word that nothing happened up to a revision.

    Attributes:
        revision: Every event of the watch up to here has been delivered with this batch.
        events: In the order of their revisions; empty in a progress batch.
    """

    revision: int
    events: tuple[Event, ...] = ()

    @property
    def is_progress(self) -> bool:
        """True if the batch only reports how far the watch has come."""
        return not self.events


@dataclass(frozen=True, slots=True)
class LeaseGrant:
    """
    A lease as the server granted it.

    Attributes:
        id: Its id.
        ttl: Its term in whole seconds; may be longer than what was asked for (etcd has a minimum of about 2 s).
    """

    id: int
    ttl: int


@dataclass(frozen=True, slots=True)
class LeaseTimeToLive:
    """
    How a lease stands.

    Attributes:
        id: Its id.
        ttl: Seconds left; -1 if the lease does not exist.
        granted_ttl: The term it was granted for, in seconds; 0 if it does not exist.
        keys: The keys attached to it, if they were asked for.
    """

    id: int
    ttl: int
    granted_ttl: int = 0
    keys: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Service:
    """
    One instance of a service.

    Attributes:
        name: The service's name, without slashes: what `discover` is asked for.
        id: This instance's id, unique within the name, without slashes.
        address: Where it listens, as its clients need it (``"10.0.0.5:8080"``, a URL).
        metadata: Anything else, as text to text.
        is_healthy: What the instance says of itself; see `Registration.set_health`.
        note: Why it says so.
    """

    name: str
    id: str
    address: str
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)
    is_healthy: bool = True
    note: str = ""


@dataclass(frozen=True, slots=True)
class ServiceChange:
    """
    One change among the instances of a service.

    Attributes:
        type: ``"added"``, ``"modified"`` or ``"removed"``.
        service: The instance after the change; as it was before, where it was removed.
    """

    type: Literal["added", "modified", "removed"]
    service: Service


@dataclass(frozen=True, slots=True)
class EndpointState:
    """
    What a client sees of one endpoint.

    Attributes:
        endpoint: Its spelling, with scheme and port as far as they are known.
        is_connected: Whether there is a connection for new calls.
        is_healthy: False while it is set aside: calls go elsewhere until a probe finds that it works.
        failures: How often in a row it was set aside, or did not answer a probe.
        failing_since: When it was set aside, in UTC; None if it is healthy.
        last_error: Why; the newest reason, or "".
    """

    endpoint: str
    is_connected: bool = False
    is_healthy: bool = True
    failures: int = 0
    failing_since: datetime | None = None
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class ClientState:
    """
    What a client sees of its servers.

    Attributes:
        endpoints: Each of them, in the order they were given.
    """

    endpoints: tuple[EndpointState, ...]

    @property
    def is_connected(self) -> bool:
        """True if there is a connection to any."""
        return any(endpoint.is_connected for endpoint in self.endpoints)
