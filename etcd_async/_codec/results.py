"""
The answers of hot calls, straight into the types that users see.

Each tries the fast reader of its message first; what that does not recognise, the general one decides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from etcd_async._codec import fast, public
from etcd_async._codec.messages import decode
from etcd_async._codec.responses import KeepAliveResponse, WatchResponse
from etcd_async._pb import etcdserverpb as pb
from etcd_async.types import DeleteResult, KeyValue, PutResult, RangeResult, TxnResult

_Message = TypeVar("_Message")
_Result = TypeVar("_Result")


def decode_range_result(data: bytes) -> RangeResult:
    """Return the answer of a range."""
    return _either(fast.read_range, pb.RangeResponse, public.public_range, data)


def decode_get_result(data: bytes) -> KeyValue | None:
    """Return the first key-value of the answer of a range."""
    return _either(fast.read_first, pb.RangeResponse, public.public_first, data)


def decode_range_stream_chunk(data: bytes) -> RangeResult:
    """Return the part of an answer that one message of a RangeStream holds."""
    return _either(fast.read_chunk, pb.RangeStreamResponse, public.public_chunk, data)


def decode_put_result(data: bytes) -> PutResult:
    """Return the answer of a put."""
    return _either(fast.read_put, pb.PutResponse, public.public_put, data)


def decode_delete_result(data: bytes) -> DeleteResult:
    """Return the answer of a delete."""
    return _either(fast.read_delete, pb.DeleteRangeResponse, public.public_delete, data)


def decode_txn_result(data: bytes) -> TxnResult:
    """Return the answer of a transaction; a range's place holds a `RangeResult`, a get's too."""
    return _either(fast.read_txn, pb.TxnResponse, public.public_txn, data)


def decode_watch_response(data: bytes) -> WatchResponse:
    """Return one answer of a watch stream."""
    return _either(fast.read_watch, pb.WatchResponse, public.public_watch, data)


def decode_keep_alive_response(data: bytes) -> KeepAliveResponse:
    """Return one answer of a keep-alive stream."""
    return _either(fast.read_keep_alive, pb.LeaseKeepAliveResponse, public.public_keep_alive, data)


def _either(
    read: Callable[[bytes, int, int], _Result],
    message: type[_Message],
    general: Callable[[_Message], _Result],
    data: bytes,
) -> _Result:
    try:
        return read(data, 0, len(data))
    except (fast.OtherOrder, IndexError):
        convert = general
    # Outside of the handler, so that a DecodeError does not come with an exception that says nothing.
    return convert(decode(message, data))
