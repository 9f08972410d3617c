"""Keys, and what reading and writing them returns."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, overload

from etcd_async.errors import DecryptionFailed


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
        raise self.error.with_traceback(None)  # else it would grow each time, and hold all frames it went through

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


OpResult: TypeAlias = "PutResult | DeleteResult | KeyValue | RangeResult | TxnResult | None"


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
