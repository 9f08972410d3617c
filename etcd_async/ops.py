"""
The values that users build: operations and the compares of a transaction. Nothing here talks to a server.

    put("/a", "1")   get("/a")   range(prefix="/a/")   delete("/a")   txn(when=[...], then=[...], otherwise=[...])
    value("/a") == "1"   version("/a") > 0   mod_revision("/a") <= 7   create_revision("/a") == 0   lease_of("/a") != 0

The attributes of an operation carry the names of etcd's wire fields, so the codec can write them as they are.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, TypeVar, get_args

from etcd_async._keys import to_bytes, to_key, to_range

__all__ = [
    "Compare",
    "CompareResult",
    "CompareTarget",
    "Delete",
    "Get",
    "HasId",
    "LeaseLike",
    "Op",
    "Put",
    "Range",
    "SortBy",
    "SortOrder",
    "SortTarget",
    "Subject",
    "Txn",
    "at_least",
    "create_revision",
    "delete",
    "get",
    "lease_id",
    "lease_of",
    "mod_revision",
    "optional",
    "put",
    "range",
    "txn",
    "value",
    "version",
]

SortBy: TypeAlias = Literal["key", "version", "create_revision", "mod_revision", "value"]


class SortOrder(enum.IntEnum):
    """etcd's ``RangeRequest.SortOrder``."""

    NONE = 0
    ASCEND = 1
    DESCEND = 2


class SortTarget(enum.IntEnum):
    """etcd's ``RangeRequest.SortTarget``."""

    KEY = 0
    VERSION = 1
    CREATE = 2
    MOD = 3
    VALUE = 4


class CompareResult(enum.IntEnum):
    """etcd's ``Compare.CompareResult``."""

    EQUAL = 0
    GREATER = 1
    LESS = 2
    NOT_EQUAL = 3


class CompareTarget(enum.IntEnum):
    """etcd's ``Compare.CompareTarget``."""

    VERSION = 0
    CREATE = 1
    MOD = 2
    VALUE = 3
    LEASE = 4


class HasId(Protocol):
    """Anything with a lease's id, such as `etcd_async.lease.Lease`."""

    @property
    def id(self) -> int:
        """The lease's id."""
        ...


LeaseLike: TypeAlias = int | HasId
"""A lease or its id."""


@dataclass(frozen=True, slots=True)
class Put:
    """Write one key; build it with `put`."""

    key: bytes
    value: bytes = b""
    lease: int = 0
    prev_kv: bool = False
    ignore_value: bool = False
    ignore_lease: bool = False


@dataclass(frozen=True, slots=True)
class Get:
    """Read one key; build it with `get`."""

    key: bytes
    revision: int = 0
    serializable: bool = False
    keys_only: bool = False


@dataclass(frozen=True, slots=True)
class Range:
    """Read a range of keys; build it with `range`."""

    key: bytes
    range_end: bytes = b""
    limit: int = 0
    revision: int = 0
    sort_order: SortOrder = SortOrder.NONE
    sort_target: SortTarget = SortTarget.KEY
    serializable: bool = False
    keys_only: bool = False
    count_only: bool = False
    min_mod_revision: int = 0
    max_mod_revision: int = 0
    min_create_revision: int = 0
    max_create_revision: int = 0


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete one key or a range of keys; build it with `delete`."""

    key: bytes
    range_end: bytes = b""
    prev_kv: bool = False


@dataclass(frozen=True, slots=True)
class Compare:
    """One condition of a transaction; build it by comparing `value`, `version`, ... with something."""

    key: bytes
    range_end: bytes
    target: CompareTarget
    result: CompareResult
    operand: int | bytes


@dataclass(frozen=True, slots=True)
class Txn:
    """A transaction, alone or inside another; build it with `txn`."""

    compare: tuple[Compare, ...] = ()
    success: tuple[Op, ...] = ()
    failure: tuple[Op, ...] = ()

    @property
    def is_read_only(self) -> bool:
        """True if neither branch can write."""
        return all(
            op.is_read_only if isinstance(op, Txn) else isinstance(op, Get | Range)
            for op in self.success + self.failure
        )


Op: TypeAlias = "Put | Get | Range | Delete | Txn"


def put(
    key: str | bytes,
    value: str | bytes = b"",
    *,
    lease: LeaseLike | None = None,
    prev_kv: bool = False,
    ignore_value: bool = False,
    ignore_lease: bool = False,
) -> Put:
    """
    Build a write of one key.

    Args:
        key: The key; not empty.
        value: What to store.
        lease: A lease (or its id) that the key is to live and die with.
        prev_kv: Ask for what the key was before.
        ignore_value: Keep the key's value and change only its lease; the key must exist and *value* be empty.
        ignore_lease: Keep the key's lease; the key must exist and *lease* be None.
    """
    raw = to_bytes(value, "value")
    if ignore_value and raw:
        raise ValueError("value must be empty when ignore_value is set")
    if ignore_lease and lease is not None:
        raise ValueError("lease must be None when ignore_lease is set")
    return Put(to_key(key), raw, 0 if lease is None else lease_id(lease), prev_kv, ignore_value, ignore_lease)


def get(key: str | bytes, *, revision: int | None = None, serializable: bool = False, keys_only: bool = False) -> Get:
    """Build a read of one key; see `etcd_async.kv.KV.get`."""
    return Get(to_key(key), optional(revision, "revision", 1), serializable, keys_only)


def range(  # the verb's own name in etcd; users call it as ops.range or client.range
    *,
    prefix: str | bytes | None = None,
    start: str | bytes | None = None,
    end: str | bytes | None = None,
    from_key: bool = False,
    limit: int | None = None,
    revision: int | None = None,
    sort_by: SortBy | None = None,
    descending: bool = False,
    serializable: bool = False,
    keys_only: bool = False,
    count_only: bool = False,
    min_mod_revision: int | None = None,
    max_mod_revision: int | None = None,
    min_create_revision: int | None = None,
    max_create_revision: int | None = None,
) -> Range:
    """Build a read of a range of keys; see `etcd_async.kv.KV.range`."""
    first, last = to_range(prefix=prefix, start=start, end=end, from_key=from_key)
    order, target = _sorting(sort_by, descending)
    return Range(
        first,
        last,
        optional(limit, "limit", 1),
        optional(revision, "revision", 1),
        order,
        target,
        serializable,
        keys_only,
        count_only,
        optional(min_mod_revision, "min_mod_revision", 0),
        optional(max_mod_revision, "max_mod_revision", 1),
        optional(min_create_revision, "min_create_revision", 0),
        optional(max_create_revision, "max_create_revision", 1),
    )


def delete(
    key: str | bytes | None = None,
    *,
    prefix: str | bytes | None = None,
    start: str | bytes | None = None,
    end: str | bytes | None = None,
    from_key: bool = False,
    prev_kv: bool = False,
) -> Delete:
    """Build a delete of one key, a prefix or a range; *prev_kv* asks for what was deleted."""
    return Delete(*to_range(key, prefix=prefix, start=start, end=end, from_key=from_key), prev_kv)


def txn(when: Sequence[Compare] = (), then: Sequence[Op] = (), otherwise: Sequence[Op] = ()) -> Txn:
    """Build a transaction: if every compare of *when* holds *then* runs, else *otherwise*, all at one revision."""
    return Txn(_items(when, "when", (Compare,)), _items(then, "then", _OPS), _items(otherwise, "otherwise", _OPS))


class Subject:
    """What a compare is about: compare it with a value or a number to get the compare itself."""

    __slots__ = ("_key", "_range_end", "_target")
    __hash__: None = None  # type: ignore[assignment]  # comparing builds a Compare, so it can't be told equal

    def __init__(self, key: bytes, range_end: bytes, target: CompareTarget) -> None:
        self._key = key
        self._range_end = range_end
        self._target = target

    def __eq__(self, other: object) -> Compare:  # type: ignore[override]  # the point of this class
        return self._compare(CompareResult.EQUAL, other)

    def __ne__(self, other: object) -> Compare:  # type: ignore[override]
        return self._compare(CompareResult.NOT_EQUAL, other)

    def __gt__(self, other: object) -> Compare:
        return self._compare(CompareResult.GREATER, other)

    def __lt__(self, other: object) -> Compare:
        return self._compare(CompareResult.LESS, other)

    def __ge__(self, other: object) -> Compare:
        return self._compare(CompareResult.GREATER, self._number(other, ">=") - 1)

    def __le__(self, other: object) -> Compare:
        return self._compare(CompareResult.LESS, self._number(other, "<=") + 1)

    def __bool__(self) -> bool:
        raise TypeError("compare it with something: value(key) == 'x' is a condition, value(key) alone is not")

    def _compare(self, result: CompareResult, other: object) -> Compare:
        operand: int | bytes
        if self._target is CompareTarget.VALUE:
            operand = to_bytes(other, "the value compared with")
        elif self._target is CompareTarget.LEASE:
            operand = lease_id(other)
        else:
            operand = self._number(other, "==")
        return Compare(self._key, self._range_end, self._target, result, operand)

    def _number(self, other: object, operator: str) -> int:
        if self._target is CompareTarget.VALUE:
            raise TypeError(f"etcd can't compare values with {operator}: use ==, !=, < or >")
        if not isinstance(other, int) or isinstance(other, bool):
            raise TypeError(f"{self._target.name.lower()} must be compared with an int, not {type(other).__name__}")
        return other


def value(key: str | bytes | None = None, *, prefix: str | bytes | None = None) -> Subject:
    """Compare a key's value; over *prefix* the compare must hold for every key there, and never holds for none."""
    return Subject(*to_range(key, prefix=prefix), CompareTarget.VALUE)


def version(key: str | bytes | None = None, *, prefix: str | bytes | None = None) -> Subject:
    """Compare how often a key was written; 0 means that it does not exist."""
    return Subject(*to_range(key, prefix=prefix), CompareTarget.VERSION)


def create_revision(key: str | bytes | None = None, *, prefix: str | bytes | None = None) -> Subject:
    """Compare the revision that created a key; 0 means that it does not exist."""
    return Subject(*to_range(key, prefix=prefix), CompareTarget.CREATE)


def mod_revision(key: str | bytes | None = None, *, prefix: str | bytes | None = None) -> Subject:
    """Compare the revision of a key's last change; 0 means that it does not exist."""
    return Subject(*to_range(key, prefix=prefix), CompareTarget.MOD)


def lease_of(key: str | bytes | None = None, *, prefix: str | bytes | None = None) -> Subject:
    """Compare the lease that a key is attached to, with a lease or an id; 0 means none."""
    return Subject(*to_range(key, prefix=prefix), CompareTarget.LEASE)


def lease_id(lease: object) -> int:
    """Return the id of a lease; what is neither a lease nor an id is a TypeError."""
    found = lease if isinstance(lease, int) else getattr(lease, "id", None)
    if not isinstance(found, int) or isinstance(found, bool):
        raise TypeError(f"lease must be a lease or its id, not {type(lease).__name__}")
    return found


def at_least(number: object, name: str, lowest: int) -> int:
    """Return *number*; below *lowest* is a ValueError, not an int a TypeError, both naming *name*."""
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError(f"{name} must be an int, not {type(number).__name__}")
    if number < lowest:
        raise ValueError(f"{name} must be at least {lowest}, not {number}")
    return number


def optional(number: object, name: str, lowest: int) -> int:
    """Return *number* as `at_least` does, or 0 for None."""
    return 0 if number is None else at_least(number, name, lowest)


def _sorting(sort_by: SortBy | None, descending: bool) -> tuple[SortOrder, SortTarget]:
    if sort_by is not None and sort_by not in get_args(SortBy):
        raise ValueError(f"sort_by must be one of {', '.join(get_args(SortBy))}, not {sort_by!r}")
    target = _SORT_TARGETS[sort_by or "key"]
    if descending:
        return SortOrder.DESCEND, target
    # In key order is how etcd answers anyway: asking it to sort would only cost it time (client/v3/op.go, WithSort).
    return (SortOrder.NONE if target is SortTarget.KEY else SortOrder.ASCEND), target


_SORT_TARGETS: dict[str, SortTarget] = dict(zip(get_args(SortBy), SortTarget, strict=True))


_T = TypeVar("_T")
_OPS = (Put, Get, Range, Delete, Txn)


def _items(items: Sequence[_T], name: str, kinds: tuple[type, ...]) -> tuple[_T, ...]:
    if isinstance(items, kinds):
        raise TypeError(f"{name} must be a sequence of such, not one {type(items).__name__}")
    for item in items:
        if not isinstance(item, kinds):
            expected = (
                "compares such as value(key) == 'x'" if kinds == (Compare,) else "operations such as put(key, value)"
            )
            raise TypeError(f"{name} must hold {expected}, not {type(item).__name__}")
    return tuple(items)
