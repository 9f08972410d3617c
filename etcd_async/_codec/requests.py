"""Operations to the bytes of their requests, without a wire message in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from etcd_async import ops
from etcd_async._codec._generated.etcdserverpb import (
    write_delete_range_request,
    write_put_request,
    write_range_request,
)
from etcd_async._codec.writing import (
    varint,
    write_bool,
    write_bytes,
    write_int32,
    write_int64,
    write_part,
    wrong_type,
)


def encode_range_request(request: object) -> bytes:
    """Return the bytes of a RangeRequest; any object with the names of its fields will do, such as `ops.Range`."""
    return _joined(write_range_request, request)


def encode_put_request(request: object) -> bytes:
    """Return the bytes of a PutRequest; any object with the names of its fields will do, such as `ops.Put`."""
    return _joined(write_put_request, request)


def encode_delete_range_request(request: object) -> bytes:
    """Return the bytes of a DeleteRangeRequest; any object with its fields' names will do, such as `ops.Delete`."""
    return _joined(write_delete_range_request, request)


def encode_txn(op: ops.Txn) -> bytes:
    """Return the bytes of a TxnRequest."""
    return _joined(_write_txn, op)


def encode_get(key: bytes, revision: int, serializable: bool, keys_only: bool) -> bytes:
    """Return the bytes of a RangeRequest for one key; of the 13 fields most gets set only this."""
    if revision or serializable or keys_only:
        return _joined(_write_get, ops.Get(key, revision, serializable, keys_only))
    size = len(key)
    return b"\x0a%c%b" % (size, key) if size < 128 else b"\x0a%b%b" % (varint(size), key)


def encode_put(key: bytes, value: bytes, lease: int, prev_kv: bool, ignore_value: bool, ignore_lease: bool) -> bytes:
    """Return the bytes of a PutRequest; the value is copied once."""
    out: list[bytes] = []
    write_bytes(out, b"\x0a", key, "key")
    if value or not isinstance(value, bytes):
        write_bytes(out, b"\x12", value, "value")
    if lease:
        write_int64(out, b"\x18", lease, "lease")
    if prev_kv:
        out.append(b"\x20\x01")
    if ignore_value:
        out.append(b"\x28\x01")
    if ignore_lease:
        out.append(b"\x30\x01")
    return b"".join(out)


_Writer = Callable[[Any, list[bytes]], int]


def _joined(write: _Writer, value: object) -> bytes:
    out: list[bytes] = []
    write(value, out)
    return b"".join(out)


def _write_txn(txn: ops.Txn, out: list[bytes]) -> int:
    size = sum([write_part(out, b"\x0a", compare, _write_compare) for compare in txn.compare])
    size += sum([write_part(out, b"\x12", op, _write_op) for op in txn.success])
    return size + sum([write_part(out, b"\x1a", op, _write_op) for op in txn.failure])


def _write_op(op: ops.Op, out: list[bytes]) -> int:
    found = _OPS.get(type(op))
    if found is None:
        raise wrong_type("an operation of a transaction", "a Put, Get, Range, Delete or Txn", op)
    tag, write = found
    return write_part(out, tag, op, write)


def _write_get(get: ops.Get, out: list[bytes]) -> int:
    size = write_bytes(out, b"\x0a", get.key, "Get.key")
    if get.revision:
        size += write_int64(out, b"\x20", get.revision, "Get.revision")
    if get.serializable:
        size += write_bool(out, b"\x38", get.serializable, "Get.serializable")
    if get.keys_only:
        size += write_bool(out, b"\x40", get.keys_only, "Get.keys_only")
    return size


def _write_compare(compare: ops.Compare, out: list[bytes]) -> int:
    size = write_int32(out, b"\x08", compare.result, "Compare.result") if compare.result else 0
    if compare.target:
        size += write_int32(out, b"\x10", compare.target, "Compare.target")
    size += write_bytes(out, b"\x1a", compare.key, "Compare.key")
    operand: Any = compare.operand
    if compare.target is ops.CompareTarget.VALUE:
        size += write_bytes(out, b"\x3a", operand, "Compare.operand")
    else:
        size += write_int64(out, _OPERANDS[compare.target], operand, "Compare.operand")
    if compare.range_end:
        size += write_bytes(out, b"\x82\x04", compare.range_end, "Compare.range_end")
    return size


_OPERANDS: Final = {
    ops.CompareTarget.VERSION: b"\x20",
    ops.CompareTarget.CREATE: b"\x28",
    ops.CompareTarget.MOD: b"\x30",
    ops.CompareTarget.LEASE: b"\x40",
}
_OPS: Final[dict[type, tuple[bytes, _Writer]]] = {
    ops.Range: (b"\x0a", write_range_request),
    ops.Get: (b"\x0a", _write_get),
    ops.Put: (b"\x12", write_put_request),
    ops.Delete: (b"\x1a", write_delete_range_request),
    ops.Txn: (b"\x22", _write_txn),
}
