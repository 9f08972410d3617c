"""A namespace: the prefix that goes before every key on its way out, and comes off on its way in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from etcd_async import ops
from etcd_async._keys import END, prefix_end
from etcd_async.types import Batch, DeleteResult, Event, KeyValue, OpResult, PutResult, RangeResult, TxnResult

__all__ = ["Keyspace"]


class Keyspace:
    """Maps keys between a client's view and the server; an empty prefix maps nothing."""

    __slots__ = ("_end", "prefix")

    def __init__(self, prefix: bytes) -> None:
        self.prefix: bytes = prefix
        self._end = prefix_end(prefix)

    def __bool__(self) -> bool:
        return bool(self.prefix)

    def span(self, key: bytes, range_end: bytes) -> tuple[bytes, bytes]:
        """Return the server's ``(key, range_end)``; the end of the key space becomes the end of the namespace."""
        if not range_end:
            return self.prefix + key, range_end
        return self.prefix + key, self._end if range_end == END else self.prefix + range_end

    def outgoing(self, op: ops.Op) -> ops.Op:
        """Return an operation as the server is to see it."""
        match op:
            case ops.Txn():
                return ops.Txn(
                    tuple(self._compare(compare) for compare in op.compare),
                    tuple(self.outgoing(each) for each in op.success),
                    tuple(self.outgoing(each) for each in op.failure),
                )
            case ops.Range() | ops.Delete():
                key, range_end = self.span(op.key, op.range_end)
                return replace(op, key=key, range_end=range_end)
            case _:
                return replace(op, key=self.prefix + op.key)

    def incoming(self, result: OpResult) -> OpResult:
        """Return a result as the user is to see it."""
        match result:
            case KeyValue():
                return self.kv(result)
            case PutResult():
                return replace(result, prev_kv=self.kv(result.prev_kv) if result.prev_kv else None)
            case DeleteResult():
                return replace(result, prev_kvs=self._kvs(result.prev_kvs))
            case RangeResult():
                return replace(result, kvs=self._kvs(result.kvs))
            case TxnResult():
                return replace(result, results=tuple(self.incoming(each) for each in result.results))
            case None:
                return None

    def kv(self, kv: KeyValue) -> KeyValue:
        """Return a key as the user is to see it."""
        return replace(kv, key=kv.key[len(self.prefix) :])

    def batch(self, batch: Batch) -> Batch:
        """Return a watch's batch as the user is to see it."""
        return Batch(batch.revision, tuple(self._event(event) for event in batch.events))

    def keys(self, keys: Iterable[bytes]) -> tuple[bytes, ...]:
        """Return those of *keys* that are in the namespace, as the user is to see them."""
        return tuple(key[len(self.prefix) :] for key in keys if key.startswith(self.prefix))

    def _event(self, event: Event) -> Event:
        return Event(event.type, self.kv(event.kv), self.kv(event.prev_kv) if event.prev_kv else None)

    def _kvs(self, kvs: Iterable[KeyValue]) -> tuple[KeyValue, ...]:
        return tuple(self.kv(kv) for kv in kvs)

    def _compare(self, compare: ops.Compare) -> ops.Compare:
        key, range_end = self.span(compare.key, compare.range_end)
        return replace(compare, key=key, range_end=range_end)
