"""The key-value service: each method is one request, each request one row of the table `_RPCS`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, overload

from etcd_async import _codec, ops
from etcd_async._core import Core
from etcd_async._keyspace import Keyspace, size_of
from etcd_async._offload import offload
from etcd_async._pb.etcdserverpb import CompactionRequest
from etcd_async._results import typed
from etcd_async._scan import scan
from etcd_async._transport import methods
from etcd_async.options import CLIENT_DEFAULT, Timeout
from etcd_async.types import DeleteResult, KeyValue, OpResult, PutResult, RangeResult, TxnResult, UnreadableKeyValue

__all__ = ["KV"]


@dataclass(frozen=True, slots=True)
class _Rpc:
    """How one kind of operation travels."""

    method: methods.Method
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


def _encode_get(op: ops.Get) -> bytes:
    return _codec.encode_get(op.key, op.revision, op.serializable, op.keys_only)


_RPCS: dict[type, _Rpc] = {
    ops.Get: _Rpc(methods.RANGE, _encode_get, _codec.decode_get_result),
    ops.Range: _Rpc(methods.RANGE, _codec.encode_range_request, _codec.decode_range_result),
    ops.Put: _Rpc(methods.PUT, _codec.encode_put_request, _codec.decode_put_result),
    ops.Delete: _Rpc(methods.DELETE_RANGE, _codec.encode_delete_range_request, _codec.decode_delete_result),
    ops.Txn: _Rpc(methods.TXN, _codec.encode_txn, _codec.decode_txn_result),
}


class KV:
    """
    Reads and writes of keys.

    Keys and values are taken as ``str`` (UTF-8) or ``bytes``. Every method takes a *timeout* in seconds (by default the
    client's; None for no limit) and may be cancelled at any time. All of them raise `Unavailable` if no endpoint
    answers, `DeadlineExceeded` if the timeout passes first, and say in ``maybe_applied`` whether a write that failed
    may still have happened. Reads are repeated on other endpoints; writes only if they provably never arrived.
    """

    def __init__(self, core: Core, space: Keyspace) -> None:
        self._core = core
        self._space = space

    async def put(
        self,
        key: str | bytes,
        value: str | bytes = b"",
        *,
        lease: ops.LeaseLike | None = None,
        prev_kv: bool = False,
        ignore_value: bool = False,
        ignore_lease: bool = False,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> PutResult:
        """
        Write one key.

        Args:
            key: The key; not empty.
            value: What to store.
            lease: A lease or its id; the key is deleted when it ends. Without one, a key that had a lease loses it.
            prev_kv: Return what the key was before.
            ignore_value: Keep the value and change only the lease; the key must exist.
            ignore_lease: Keep the lease and change only the value; the key must exist.
            timeout: Seconds; None for no limit.

        Raises:
            LeaseNotFound: *lease* does not exist (any more); nothing was written.
            KeyNotFound: *ignore_value* or *ignore_lease* was set and there is no such key.
            RequestTooLarge: Key and value pass the server's limit (1.5 MiB unless configured).
        """
        op = ops.put(key, value, lease=lease, prev_kv=prev_kv, ignore_value=ignore_value, ignore_lease=ignore_lease)
        return await self.do(op, timeout=timeout)

    async def get(
        self,
        key: str | bytes,
        *,
        revision: int | None = None,
        serializable: bool = False,
        keys_only: bool = False,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> KeyValue | None:
        """
        Read one key; None if it does not exist.

        Args:
            key: The key; not empty.
            revision: Read as of this revision; None for now.
            serializable: Let the asked member answer alone: faster, served without a leader, but perhaps stale.
            keys_only: Leave the value out.
            timeout: Seconds; None for no limit.

        Raises:
            Compacted: *revision* is no longer kept.
            FutureRevision: *revision* does not exist yet.
            DecryptionFailed: The value is encrypted and can't be opened.
        """
        op = ops.get(key, revision=revision, serializable=serializable, keys_only=keys_only)
        return await self.do(op, timeout=timeout)

    async def range(
        self,
        *,
        prefix: str | bytes | None = None,
        start: str | bytes | None = None,
        end: str | bytes | None = None,
        from_key: bool = False,
        limit: int | None = None,
        revision: int | None = None,
        sort_by: ops.SortBy | None = None,
        descending: bool = False,
        serializable: bool = False,
        keys_only: bool = False,
        count_only: bool = False,
        min_mod_revision: int | None = None,
        max_mod_revision: int | None = None,
        min_create_revision: int | None = None,
        max_create_revision: int | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> RangeResult:
        """
        Read many keys at one revision, in key order unless told otherwise.

        With encryption, a value that can't be opened is an `UnreadableKeyValue` in its place.

        Args:
            prefix: Every key that starts with this; an empty prefix is every key.
            start: Alternatively: the first key of a range, with *end* or *from_key*.
            end: The key that the range stops before.
            from_key: The range goes on to the end of the key space.
            limit: At most so many keys; the result's ``more`` and ``count`` tell of the rest.
            revision: Read as of this revision; None for now.
            sort_by: ``"key"``, ``"version"``, ``"create_revision"``, ``"mod_revision"`` or ``"value"``.
            descending: Sort from high to low.
            serializable: Let the asked member answer alone: faster, but perhaps stale.
            keys_only: Leave the values out.
            count_only: Return no keys, only ``count``.
            min_mod_revision: Only keys last changed at this revision or later.
            max_mod_revision: Only keys last changed at this revision or earlier.
            min_create_revision: Only keys created at this revision or later.
            max_create_revision: Only keys created at this revision or earlier.
            timeout: Seconds; None for no limit.

        Raises:
            Compacted: *revision* is no longer kept.
            FutureRevision: *revision* does not exist yet.
            ResponseTooLarge: The answer passes the client's ``max_receive_bytes``: use `scan`.
        """
        op = ops.range(
            prefix=prefix,
            start=start,
            end=end,
            from_key=from_key,
            limit=limit,
            revision=revision,
            sort_by=sort_by,
            descending=descending,
            serializable=serializable,
            keys_only=keys_only,
            count_only=count_only,
            min_mod_revision=min_mod_revision,
            max_mod_revision=max_mod_revision,
            min_create_revision=min_create_revision,
            max_create_revision=max_create_revision,
        )
        return await self.do(op, timeout=timeout)

    def scan(
        self,
        *,
        prefix: str | bytes | None = None,
        start: str | bytes | None = None,
        end: str | bytes | None = None,
        from_key: bool = False,
        revision: int | None = None,
        keys_only: bool = False,
        page_size: int = 1000,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> AsyncGenerator[KeyValue, None]:
        """
        Iterate over many keys in key order, all as of one revision, holding one page of them in memory at a time.

        From etcd 3.7 on the server streams them (RangeStream); before, they are read in pages of *page_size* keys.
        *timeout* is for each page. The other arguments are those of `range`.

        Raises:
            Compacted: The revision was compacted away during the scan.
        """
        op = ops.range(prefix=prefix, start=start, end=end, from_key=from_key, revision=revision, keys_only=keys_only)
        return scan(self._core, self._space, op, ops.at_least(page_size, "page_size", 1), self._core.seconds(timeout))

    async def delete(
        self,
        key: str | bytes | None = None,
        *,
        prefix: str | bytes | None = None,
        start: str | bytes | None = None,
        end: str | bytes | None = None,
        from_key: bool = False,
        prev_kv: bool = False,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> DeleteResult:
        """
        Delete one key, every key of a prefix, or a range (with *start*, *end* and *from_key* as in `range`).

        What does not exist is no error: the result's ``deleted`` counts. *prev_kv* returns what was deleted.
        """
        op = ops.delete(key, prefix=prefix, start=start, end=end, from_key=from_key, prev_kv=prev_kv)
        return await self.do(op, timeout=timeout)

    async def txn(
        self,
        when: Sequence[ops.Compare] = (),
        then: Sequence[ops.Op] = (),
        otherwise: Sequence[ops.Op] = (),
        *,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> TxnResult:
        """
        Run a transaction: if every compare of *when* holds, *then* runs, else *otherwise*; atomically, at one revision.

        Raises:
            TooManyOps: A list holds more operations than the server allows (128 unless configured).
            DuplicateKey: One branch would write a key twice.
        """
        return await self.do(ops.txn(when, then, otherwise), timeout=timeout)

    @overload
    async def do(self, op: ops.Put, *, timeout: Timeout = ...) -> PutResult: ...
    @overload
    async def do(self, op: ops.Get, *, timeout: Timeout = ...) -> KeyValue | None: ...
    @overload
    async def do(self, op: ops.Range, *, timeout: Timeout = ...) -> RangeResult: ...
    @overload
    async def do(self, op: ops.Delete, *, timeout: Timeout = ...) -> DeleteResult: ...
    @overload
    async def do(self, op: ops.Txn, *, timeout: Timeout = ...) -> TxnResult: ...
    @overload
    async def do(self, op: ops.Op, *, timeout: Timeout = ...) -> OpResult: ...
    async def do(self, op: ops.Op, *, timeout: Timeout = CLIENT_DEFAULT) -> OpResult:
        """Run an operation built with `etcd_async.ops`; the result is that of the method of the same name."""
        rpc = _RPCS.get(type(op))
        if rpc is None:
            raise TypeError(f"op must be an operation such as put(key, value), not {type(op).__name__}")
        core, space = self._core, self._space
        payload = rpc.encode(await _outgoing(space, op) if space.maps else op)
        repeatable = op.is_read_only if type(op) is ops.Txn else None
        answer = await core.caller.unary(rpc.method, payload, timeout=core.seconds(timeout), repeatable=repeatable)
        try:
            raw = rpc.decode(answer)
        except _codec.DecodeError as error:
            error.maybe_applied = rpc.method.writes and not repeatable
            raise
        result: OpResult = typed(op, raw, raw.revision) if type(op) is ops.Txn else raw
        return await _incoming(space, op, result, len(answer)) if space.maps else result

    async def compact(self, revision: int, *, physical: bool = False, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """
        Forget the history before *revision*; the keys as of then stay readable.

        *physical* waits until the space is free for new data on the asked member's disk.

        Raises:
            Compacted: *revision* was compacted already.
            FutureRevision: *revision* does not exist yet.
        """
        request = CompactionRequest(revision=ops.at_least(revision, "revision", 1), physical=physical)
        await self._core.caller.unary(methods.COMPACT, _codec.encode(request), timeout=self._core.seconds(timeout))


async def _outgoing(space: Keyspace, op: ops.Op) -> ops.Op:
    return await offload(size_of(op) if space.cipher else 0, space.outgoing, op)


async def _incoming(space: Keyspace, op: ops.Op, result: OpResult, size: int) -> OpResult:
    mapped = await offload(size if space.cipher else 0, space.incoming, op, result)
    if isinstance(mapped, UnreadableKeyValue):
        raise mapped.error
    return mapped
