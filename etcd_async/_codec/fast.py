"""
The fast readers of hot answers: they know the one order in which etcd writes its fields.

They look no further: whatever else they meet raises `OtherOrder` (or, past the end of the bytes, IndexError), and the
general reader decides what it means. So they can be fast without being lenient: each result is returned only where the
reader came out exactly at the end of the bytes. A DecodeError is raised only where the general reader would raise one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar

from etcd_async._codec._generated.etcdserverpb import read_response_header
from etcd_async._codec._generated.hot import LEASES, read_kv, remember_lease
from etcd_async._codec.columns import LONG, read_kv_rows, read_rows
from etcd_async._codec.drafts import new_event
from etcd_async._codec.reading import DEPTH, read_int64, read_span
from etcd_async._codec.responses import KeepAliveResponse, WatchResponse
from etcd_async.types import DeleteResult, Event, EventType, KeyValue, OpResult, PutResult, RangeResult, TxnResult

_T = TypeVar("_T")
_One: TypeAlias = Callable[[bytes, int, int], _T]
_Rows: TypeAlias = Callable[[bytes, int, int], tuple[list[_T], int]]


class OtherOrder(Exception):
    """The bytes are not what etcd usually writes, or not a message at all."""


def read_range(buf: bytes, p: int, end: int) -> RangeResult:
    """Read a RangeResponse."""
    revision, p = _header(buf, p)
    kvs, p = _kvs(buf, p, end, 0x12)
    more, p = _flag(buf, p, end, 0x18)
    count, p = _number(buf, p, end, 0x20)
    return RangeResult(kvs, count, more, revision) if p == end else _give_up()


def read_first(buf: bytes, p: int, end: int) -> KeyValue | None:
    """Read the key-value of a RangeResponse that holds one at most."""
    p = _header(buf, p)[1]
    if p == end:
        return None
    kv, p = _kv(buf, p, end, 0x12)
    # The count of a whole answer, without the calls that it takes for other ones.
    if p + 2 == end and buf[p] == 0x20 and buf[p + 1] < 128:
        return kv
    p = _number(buf, p, end, 0x20)[1]
    return kv if p == end else _give_up()


def read_chunk(buf: bytes, p: int, end: int) -> RangeResult:
    """Read a RangeStreamResponse."""
    start, stop = read_span(buf, p + 1, end) if buf[p] == 0x0A else _give_up()
    return read_range(buf, start, stop) if stop == end else _give_up()


def read_put(buf: bytes, p: int, end: int) -> PutResult:
    """Read a PutResponse."""
    revision, p = _new_header(buf, p)
    if p == end:
        return PutResult(revision)
    prev_kv, p = _kv(buf, p, end, 0x12)
    return PutResult(revision, prev_kv) if p == end else _give_up()


def read_delete(buf: bytes, p: int, end: int) -> DeleteResult:
    """Read a DeleteRangeResponse."""
    revision, p = _header(buf, p)
    deleted, p = _number(buf, p, end, 0x10)
    prev_kvs, p = _kvs(buf, p, end, 0x1A)
    return DeleteResult(deleted, prev_kvs, revision) if p == end else _give_up()


def read_txn(buf: bytes, p: int, end: int, depth: int = 0) -> TxnResult:
    """Read a TxnResponse."""
    revision, p = _header(buf, p)
    succeeded, p = _flag(buf, p, end, 0x10)
    results: list[OpResult] = []
    while p < end and buf[p] == 0x1A:
        start, p = read_span(buf, p + 1, end)
        results.append(_op(buf, start, p, depth))
    return TxnResult(succeeded, revision, tuple(results)) if p == end else _give_up()


def read_watch(buf: bytes, p: int, end: int) -> WatchResponse:
    """Read a WatchResponse that brings events or progress."""
    revision, p = _new_header(buf, p)
    watch_id, p = _number(buf, p, end, 0x10)
    fragment, p = _flag(buf, p, end, 0x38)
    events, p = _repeated(buf, p, end, 0x5A, _event, _put_rows)
    if p != end:
        raise OtherOrder
    return WatchResponse(revision, watch_id, fragment=fragment, events=events)


def read_keep_alive(buf: bytes, p: int, end: int) -> KeepAliveResponse:
    """Read a LeaseKeepAliveResponse."""
    p = _header(buf, p)[1]
    # Nine bytes is how long nearly all ids are; what is found by them is one, for only whole ids are kept there.
    if p + 10 <= end and buf[p] == 0x10 and (lease := LEASES.get(buf[p + 1 : p + 10])):
        p += 10
    else:
        began = p + 1
        lease, p = _number(buf, p, end, 0x10)
        if lease:
            remember_lease(buf, began, p, lease)
    ttl, p = _number(buf, p, end, 0x18)
    return KeepAliveResponse(lease, ttl) if p == end else _give_up()


def _give_up() -> Any:
    raise OtherOrder


def _op(buf: bytes, p: int, end: int, depth: int) -> OpResult:
    if p == end:
        raise OtherOrder
    read = _OPS.get(buf[p])
    if read is None:
        return _nested(buf, p, end, depth)
    start, stop = read_span(buf, p + 1, end)
    return read(buf, start, stop) if stop == end else _give_up()


def _nested(buf: bytes, p: int, end: int, depth: int) -> TxnResult:
    if buf[p] != 0x22 or depth >= _NESTED_TXNS:
        raise OtherOrder
    start, stop = read_span(buf, p + 1, end)
    return read_txn(buf, start, stop, depth + 1) if stop == end else _give_up()


_Reader: TypeAlias = Callable[[bytes, int, int], OpResult]
_OPS: Final[dict[int, _Reader]] = {0x0A: read_range, 0x12: read_put, 0x1A: read_delete}
# Deeper ones are for the general reader, which has the real limit.
_NESTED_TXNS: Final = 8


def _event(buf: bytes, p: int, end: int) -> Event:
    kind: EventType = "put"
    if buf[p] == 0x08:
        if buf[p + 1] != 1:
            raise OtherOrder
        kind = "delete"
        p += 2
    kv, p = _kv(buf, p, end, 0x12)
    prev_kv = None
    if p < end:
        prev_kv, p = _kv(buf, p, end, 0x1A)
    return new_event(kind, kv, prev_kv) if p == end else _give_up()


def _put_rows(buf: bytes, p: int, end: int) -> tuple[list[Event], int]:
    """Read the events from *p* on that are puts and laid out alike; return them and where they stop."""
    start, after = read_span(buf, p + 1, end)
    kv, stop = read_span(buf, start + 1, after) if start < after and buf[start] == 0x12 else (start, start)
    if stop != after:
        return [], p
    events = [new_event("put", put, None) for put in read_rows(buf, p, kv, end, after - p)]
    return events, p + len(events) * (after - p)


def _kv(buf: bytes, p: int, end: int, tag: int) -> tuple[KeyValue, int]:
    if p >= end or buf[p] != tag:
        raise OtherOrder
    # read_span in line, as in _kvs.
    if (size := buf[p + 1]) < 128:
        start = p + 2
        stop = start + size
    elif (second := buf[p + 2]) < 128:
        start = p + 3
        stop = start + size + (second << 7) - 128
    else:
        start, stop = read_span(buf, p + 1, end)
    return read_kv(buf, start, stop), stop


def _kvs(buf: bytes, p: int, end: int, tag: int) -> tuple[tuple[KeyValue, ...], int]:
    return _repeated(buf, p, end, tag, read_kv, read_kv_rows)


def _repeated(buf: bytes, p: int, end: int, tag: int, one: _One[_T], rows: _Rows[_T]) -> tuple[tuple[_T, ...], int]:
    """Read a repeated field, many rows at once where they are laid out alike."""
    found: list[_T] = []
    append = found.append
    while p < end and buf[p] == tag:
        until = end
        if end - p >= LONG:
            alike, p = rows(buf, p, end)
            found += alike
            until = p if alike else p + LONG
        while p < until and buf[p] == tag:
            # read_span in line for the lengths that nearly all have: a call less for each of possibly many thousands.
            if (size := buf[p + 1]) < 128:
                start = p + 2
                p = start + size
            elif (second := buf[p + 2]) < 128:
                start = p + 3
                p = start + size + (second << 7) - 128
            else:
                start, p = read_span(buf, p + 1, end)
            append(one(buf, start, p))
    return tuple(found), p


def _flag(buf: bytes, p: int, end: int, tag: int) -> tuple[bool, int]:
    if p >= end or buf[p] != tag:
        return False, p
    if buf[p + 1] > 1:
        raise OtherOrder
    return buf[p + 1] == 1, p + 2


def _number(buf: bytes, p: int, end: int, tag: int) -> tuple[int, int]:
    return read_int64(buf, p + 1, end) if p < end and buf[p] == tag else (0, p)


# The cluster's and the member's id head every answer, 20 random bytes that are always the same: by their first 18.
_IDS: Final[dict[bytes, bytes]] = {}
# While nobody writes, whole headers are the same too: by all their bytes, tag and size among them.
_REVISIONS: Final[dict[bytes, int]] = {}


def _header(buf: bytes, p: int) -> tuple[int, int]:
    """Read the revision of the header that an answer begins with; return it and where the header stops."""
    stop = p + 2 + buf[p + 1]
    whole = buf[p:stop]
    if (revision := _REVISIONS.get(whole)) is None:
        revision = _new_header(buf, p)[0]
        if len(_REVISIONS) >= 64:
            _REVISIONS.clear()
        _REVISIONS[whole] = revision
    return revision, stop


def _new_header(buf: bytes, p: int) -> tuple[int, int]:
    """Read the header of an answer that nearly always brings a new revision."""
    if buf[p] != 0x0A:
        raise OtherOrder
    size = buf[p + 1]
    p += 2
    stop = p + size
    if size > 127 or stop > len(buf):
        raise OtherOrder
    ids = _IDS.get(buf[p : p + 18], b"")
    if buf.startswith(ids, p, stop):
        after = p + len(ids)
        if after < stop and buf[after] == 0x18:
            revision, after = read_int64(buf, after + 1, stop)
            # The rest is nothing, or the raft term: of one byte or two.
            if after == stop or (buf[after] == 0x20 and _is_short(buf, after + 1, stop)):
                return revision, stop
    header = read_response_header(buf, p, stop, DEPTH, None)
    _remember_ids(buf, p, stop)
    return header.revision, stop


def _is_short(buf: bytes, p: int, end: int) -> bool:
    """Whether exactly the bytes from p to end are a varint of one or two bytes."""
    return buf[end - 1] < 128 and (end - p == 1 or (end - p == 2 and buf[p] > 127))


def _remember_ids(buf: bytes, p: int, end: int) -> None:
    after = _number(buf, _number(buf, p, end, 0x08)[1], end, 0x10)[1]
    if after - p >= 18:
        if len(_IDS) >= 64:
            _IDS.clear()
        _IDS[buf[p : p + 18]] = buf[p:after]
