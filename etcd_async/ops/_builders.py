"""From the words of users to operations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar, get_args

from etcd_async._keys import to_bytes, to_key, to_range
from etcd_async.ops._checks import lease_id, optional
from etcd_async.ops._values import Compare, Delete, Get, LeaseLike, Op, Put, Range, SortBy, SortOrder, SortTarget, Txn

_OPS = (Put, Get, Range, Delete, Txn)
_SORT_TARGETS: dict[str, SortTarget] = dict(zip(get_args(SortBy), SortTarget, strict=True))
_T = TypeVar("_T")


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


def _sorting(sort_by: SortBy | None, descending: bool) -> tuple[SortOrder, SortTarget]:
    if sort_by is not None and sort_by not in get_args(SortBy):
        raise ValueError(f"sort_by must be one of {', '.join(get_args(SortBy))}, not {sort_by!r}")
    target = _SORT_TARGETS[sort_by or "key"]
    if descending:
        return SortOrder.DESCEND, target
    # In key order is how etcd answers anyway: asking it to sort would only cost it time (client/v3/op.go, WithSort).
    return (SortOrder.NONE if target is SortTarget.KEY else SortOrder.ASCEND), target


def _items(items: Sequence[_T], name: str, kinds: tuple[type, ...]) -> tuple[_T, ...]:
    if isinstance(items, kinds) or not isinstance(items, Iterable):
        raise TypeError(f"{name} must be a sequence of such, not one {type(items).__name__}")
    for item in items:
        if not isinstance(item, kinds):
            expected = (
                "compares such as value(key) == 'x'" if kinds == (Compare,) else "operations such as put(key, value)"
            )
            raise TypeError(f"{name} must hold {expected}, not {type(item).__name__}")
    return tuple(items)
