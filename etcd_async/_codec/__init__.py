"""
From messages and operations to bytes, and from bytes to messages and to the types that users see.

`encode` and `decode` serve every wire message; the others are the hot calls, past the messages. Bytes that are not the
message they should be raise `DecodeError`.
"""

from __future__ import annotations

from etcd_async._codec.messages import decode, encode
from etcd_async._codec.reading import DecodeError
from etcd_async._codec.requests import (
    encode_delete_range_request,
    encode_get,
    encode_put,
    encode_put_request,
    encode_range_request,
    encode_txn,
)
from etcd_async._codec.results import (
    decode_delete_result,
    decode_get_result,
    decode_keep_alive_response,
    decode_put_result,
    decode_range_result,
    decode_range_stream_chunk,
    decode_txn_result,
    decode_watch_response,
)

__all__ = [
    "DecodeError",
    "decode",
    "decode_delete_result",
    "decode_get_result",
    "decode_keep_alive_response",
    "decode_put_result",
    "decode_range_result",
    "decode_range_stream_chunk",
    "decode_txn_result",
    "decode_watch_response",
    "encode",
    "encode_delete_range_request",
    "encode_get",
    "encode_put",
    "encode_put_request",
    "encode_range_request",
    "encode_txn",
]
