"""The results of a transaction, as its operations promise them."""

from __future__ import annotations

from etcd_async import ops
from etcd_async.types import OpResult, RangeResult, TxnResult

__all__ = ["typed"]


def typed(op: ops.Txn, raw: TxnResult, revision: int) -> TxnResult:
    """
    Give each result of a transaction the type that its operation promises: the wire only knows ranges, not gets.

    A nested transaction gets the outer one's *revision*: etcd leaves its header empty (server ``apply.go``).
    """
    branch = op.success if raw.succeeded else op.failure
    if len(branch) == len(raw.results) and not any(isinstance(each, ops.Get | ops.Txn) for each in branch):
        results = raw.results
    else:
        results = tuple(_result(each, result, revision) for each, result in zip(branch, raw.results, strict=False))
    return TxnResult(raw.succeeded, revision, results)


def _result(op: ops.Op, raw: OpResult, revision: int) -> OpResult:
    if isinstance(op, ops.Get) and isinstance(raw, RangeResult):
        return raw.kvs[0] if raw.kvs else None
    if isinstance(op, ops.Txn) and isinstance(raw, TxnResult):
        return typed(op, raw, revision)
    return raw
