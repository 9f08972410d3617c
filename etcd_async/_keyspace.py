"""
How a client sees what is on the server: keys without the namespace's prefix, values without their encryption.

Both are put on, on the way out, and taken off on the way in, in this one place.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol, runtime_checkable

from etcd_async import ops
from etcd_async._keys import END, prefix_end
from etcd_async.errors import DecryptionFailed
from etcd_async.types import (
    Batch,
    DeleteResult,
    Event,
    KeyValue,
    OpResult,
    PutResult,
    RangeResult,
    TxnResult,
    UnreadableKeyValue,
)

__all__ = ["Cipher", "Keyspace", "size_of"]


@runtime_checkable
class Cipher(Protocol):
    """What seals and opens values: `etcd_async.crypto.Encryption`. Names are full ones, namespace included."""

    def covers_any(self, first: bytes, end: bytes) -> bool:
        """Return whether a range may hold a key whose value is encrypted."""
        ...

    def covers(self, name: bytes) -> bool:
        """Return whether the value of a key is encrypted."""
        ...

    def is_current(self, data: bytes) -> bool:
        """Return whether what lies in etcd was sealed with the key that seals now."""
        ...

    def seal(self, name: bytes, value: bytes) -> bytes:
        """Return what is to lie in etcd."""
        ...

    def open(self, name: bytes, data: bytes) -> bytes:
        """Return the value of what lies in etcd; raises `DecryptionFailed`."""
        ...


class Keyspace:
    """
    Maps keys and values between a client's view and the server.

    Attributes:
        prefix: Goes before every key.
        cipher: Seals and opens values; None leaves them as they are.
        maps: False if there is neither, so that nothing need be mapped.
    """

    __slots__ = ("_end", "cipher", "maps", "prefix")

    def __init__(self, prefix: bytes, cipher: Cipher | None = None) -> None:
        self.prefix: bytes = prefix
        self.cipher: Cipher | None = cipher
        self.maps: bool = bool(prefix) or cipher is not None
        self._end = prefix_end(prefix)

    def within(self, prefix: bytes) -> Keyspace:
        """Return the part of this one whose keys start with *prefix*."""
        return Keyspace(self.prefix + prefix, self.cipher)

    def placed(self, name: bytes) -> bytes:
        """Return *name*, which this package has chosen, after a slash if the namespace does not end in one."""
        return b"/" + name if self.prefix and not self.prefix.endswith(b"/") else name

    def span(self, key: bytes, range_end: bytes) -> tuple[bytes, bytes]:
        """Return the server's ``(key, range_end)``; the end of the key space becomes the end of the namespace."""
        if not range_end:
            return self.prefix + key, range_end
        if not self.prefix:
            return key, range_end
        return self.prefix + key, self._end if range_end == END else self.prefix + range_end

    def outgoing(self, op: ops.Op) -> ops.Op:
        """
        Return an operation as the server is to see it.

        Raises:
            ValueError: It would compare or sort encrypted values, which the server can't read.
        """
        match op:
            case ops.Txn():
                return ops.Txn(
                    tuple(self._compare(compare) for compare in op.compare),
                    tuple(self.outgoing(each) for each in op.success),
                    tuple(self.outgoing(each) for each in op.failure),
                )
            case ops.Range():
                return self._range(op)
            case ops.Delete():
                key, range_end = self.span(op.key, op.range_end)
                return replace(op, key=key, range_end=range_end)
            case ops.Put():
                return self._put(op)
            case _:
                return replace(op, key=self.prefix + op.key)

    def incoming(self, op: ops.Op, result: OpResult) -> OpResult:
        """Return the result of *op* as the user is to see it."""
        match result:
            case KeyValue():
                return self.kv(result, has_value=_has_values(op))
            case PutResult():
                return result if result.prev_kv is None else replace(result, prev_kv=self.kv(result.prev_kv))
            case DeleteResult():
                return replace(result, prev_kvs=tuple(self.kv(kv) for kv in result.prev_kvs))
            case RangeResult():
                return replace(result, kvs=self.kvs(result.kvs, has_values=_has_values(op)))
            case TxnResult():
                branch: tuple[ops.Op, ...] = ()
                if isinstance(op, ops.Txn):
                    branch = op.success if result.succeeded else op.failure
                results = tuple(self.incoming(each, got) for each, got in zip(branch, result.results, strict=False))
                return replace(result, results=results)
            case None:
                return None

    def kvs(self, kvs: Iterable[KeyValue], *, has_values: bool) -> tuple[KeyValue, ...]:
        """Return keys as the user is to see them; an `UnreadableKeyValue` for each value that can't be opened."""
        return tuple(self.kv(kv, has_value=has_values) for kv in kvs)

    def kv(self, kv: KeyValue, *, has_value: bool = True) -> KeyValue:
        """Return a key as the user is to see it; an `UnreadableKeyValue` if its value can't be opened."""
        name = kv.key[len(self.prefix) :]
        if self.cipher is None or not has_value:
            return replace(kv, key=name)
        try:
            return replace(kv, key=name, value=self.cipher.open(kv.key, kv.value))
        except DecryptionFailed as error:
            return UnreadableKeyValue(replace(kv, key=name), error)

    def batch(self, batch: Batch) -> Batch:
        """Return a watch's batch as the user is to see it."""
        return Batch(batch.revision, tuple(self._event(event) for event in batch.events))

    def keys(self, keys: Iterable[bytes]) -> tuple[bytes, ...]:
        """Return those of *keys* that are in the namespace, as the user is to see them."""
        return tuple(key[len(self.prefix) :] for key in keys if key.startswith(self.prefix))

    def _event(self, event: Event) -> Event:
        kv = self.kv(event.kv, has_value=event.type == "put")
        return Event(event.type, kv, self.kv(event.prev_kv) if event.prev_kv else None)

    def _put(self, op: ops.Put) -> ops.Put:
        key = self.prefix + op.key
        if self.cipher is None or op.ignore_value:
            return replace(op, key=key)
        return replace(op, key=key, value=self.cipher.seal(key, op.value))

    def _range(self, op: ops.Range) -> ops.Range:
        key, range_end = self.span(op.key, op.range_end)
        if op.sort_target is ops.SortTarget.VALUE and self._hides(key, range_end):
            raise ValueError("encrypted values can't be sorted by the server: read the range and sort it here")
        return replace(op, key=key, range_end=range_end)

    def _compare(self, compare: ops.Compare) -> ops.Compare:
        key, range_end = self.span(compare.key, compare.range_end)
        if compare.target is ops.CompareTarget.VALUE and self._hides(key, range_end):
            raise ValueError(
                f"the value of {compare.key!r} is encrypted, so the server can't compare it: "
                "compare mod_revision(key) with that of the value you read, or use compare_and_swap"
            )
        return replace(compare, key=key, range_end=range_end)

    def _hides(self, key: bytes, range_end: bytes) -> bool:
        return self.cipher is not None and self.cipher.covers_any(key, range_end)


def size_of(op: ops.Op) -> int:
    """Return how many bytes of values an operation carries."""
    if isinstance(op, ops.Txn):
        return sum(size_of(each) for each in op.success + op.failure)
    return len(op.value) if isinstance(op, ops.Put) else 0


def _has_values(op: ops.Op) -> bool:
    return not (isinstance(op, ops.Get | ops.Range) and op.keys_only)
