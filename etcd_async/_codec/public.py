"""Wire messages as the types that users see: what the fast readers leave to the general ones ends here."""

from __future__ import annotations

from typing import Final

from etcd_async._codec.reading import DecodeError
from etcd_async._codec.responses import KeepAliveResponse, WatchResponse
from etcd_async._pb import etcdserverpb as pb
from etcd_async._pb import mvccpb
from etcd_async.types import DeleteResult, Event, EventType, KeyValue, OpResult, PutResult, RangeResult, TxnResult

_EVENT_TYPES: Final[dict[int, EventType]] = {mvccpb.EventEventType.PUT: "put", mvccpb.EventEventType.DELETE: "delete"}


def public_kv(kv: mvccpb.KeyValue) -> KeyValue:
    """Return the same key-value."""
    return KeyValue(kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease)


def public_event(event: mvccpb.Event) -> Event:
    """Return the same event; a type that is neither put nor delete is a DecodeError, for nobody could act on it."""
    kind = _EVENT_TYPES.get(event.type)
    if kind is None:
        raise DecodeError(f"event type {int(event.type)}")
    kv = KeyValue(b"") if event.kv is None else public_kv(event.kv)
    return Event(kind, kv, _optional_kv(event.prev_kv))


def public_range(response: pb.RangeResponse) -> RangeResult:
    """Return the answer of a range."""
    kvs = tuple(public_kv(kv) for kv in response.kvs)
    return RangeResult(kvs, response.count, response.more, _revision(response.header))


def public_first(response: pb.RangeResponse) -> KeyValue | None:
    """Return the first key-value of the answer of a range."""
    return public_kv(response.kvs[0]) if response.kvs else None


def public_chunk(response: pb.RangeStreamResponse) -> RangeResult:
    """Return a part of the answer of a range."""
    return RangeResult() if response.range_response is None else public_range(response.range_response)


def public_put(response: pb.PutResponse) -> PutResult:
    """Return the answer of a put."""
    return PutResult(_revision(response.header), _optional_kv(response.prev_kv))


def public_delete(response: pb.DeleteRangeResponse) -> DeleteResult:
    """Return the answer of a delete."""
    prev_kvs = tuple(public_kv(kv) for kv in response.prev_kvs)
    return DeleteResult(response.deleted, prev_kvs, _revision(response.header))


def public_txn(response: pb.TxnResponse) -> TxnResult:
    """Return the answer of a transaction."""
    results = tuple(_public_op(op) for op in response.responses)
    return TxnResult(response.succeeded, _revision(response.header), results)


def public_watch(response: pb.WatchResponse) -> WatchResponse:
    """Return what a watch stream said."""
    return WatchResponse(
        revision=_revision(response.header),
        watch_id=response.watch_id,
        created=response.created,
        canceled=response.canceled,
        compact_revision=response.compact_revision,
        cancel_reason=response.cancel_reason,
        fragment=response.fragment,
        events=tuple(public_event(event) for event in response.events),
    )


def public_keep_alive(response: pb.LeaseKeepAliveResponse) -> KeepAliveResponse:
    """Return what a keep-alive stream said."""
    return KeepAliveResponse(response.id, response.ttl)


def _public_op(op: pb.ResponseOp) -> OpResult:
    if op.response_range is not None:
        return public_range(op.response_range)
    if op.response_put is not None:
        return public_put(op.response_put)
    if op.response_delete_range is not None:
        return public_delete(op.response_delete_range)
    if op.response_txn is not None:
        return public_txn(op.response_txn)
    raise DecodeError("an operation of a transaction has no answer")


def _optional_kv(kv: mvccpb.KeyValue | None) -> KeyValue | None:
    return None if kv is None else public_kv(kv)


def _revision(header: pb.ResponseHeader | None) -> int:
    return 0 if header is None else header.revision
