"""Every decoder: of messages against google's, of hot answers against the one of messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from etcd_async import _codec as codec
from etcd_async import wire
from etcd_async._codec import DecodeError, public
from tests.fuzz.source import Source
from tests.unit.codec.google import NAMES, descriptors, is_refused_by_us_only, our_class, parse

# Of a ResponseHeader: revision 7.
_HEADER = b"\x0a\x02\x18\x07"

_Decode = Callable[[bytes], Any]

_HOT: list[tuple[_Decode, type, Callable[[Any], Any]]] = [
    (codec.decode_range_result, wire.RangeResponse, public.public_range),
    (codec.decode_get_result, wire.RangeResponse, public.public_first),
    (codec.decode_range_stream_chunk, wire.RangeStreamResponse, public.public_chunk),
    (codec.decode_put_result, wire.PutResponse, public.public_put),
    (codec.decode_delete_result, wire.DeleteRangeResponse, public.public_delete),
    (codec.decode_txn_result, wire.TxnResponse, public.public_txn),
    (codec.decode_watch_response, wire.WatchResponse, public.public_watch),
    (codec.decode_keep_alive_response, wire.LeaseKeepAliveResponse, public.public_keep_alive),
]


def _outcome(decode: _Decode, data: bytes) -> Any:
    try:
        return decode(data)
    except DecodeError:
        return None


def fuzz_messages_of_protobuf(data: bytes) -> None:
    """Each message is accepted, or refused, as google does; what was accepted survives a round trip."""
    source = Source(data)
    name, data = NAMES[source.number(len(NAMES))], source.rest()
    ours, theirs = _outcome(lambda data: codec.decode(our_class(name), data), data), parse(name, data)
    if theirs is not None and is_refused_by_us_only(descriptors()[name], data):
        theirs = None
    assert ours == theirs
    if ours is not None:
        assert codec.decode(our_class(name), codec.encode(ours)) == ours


def fuzz_hot_answers(data: bytes) -> None:
    """Each hot decoder says what the general one does."""
    source = Source(data)
    _compare(*_HOT[source.number(len(_HOT))], source.rest())


def fuzz_rows(data: bytes) -> None:
    """So it is where an element comes again and again, with a few bytes changed, in an answer long enough for rows."""
    source = Source(data)
    decoders, tag = (_HOT[0], b"\x12") if source.number(2) else (_HOT[6], b"\x5a")
    element = source.string()[:127]
    element = tag + bytes([len(element)]) + element
    table = bytearray(element * max(32, 8192 // len(element) + 1))
    for _ in range(source.number(4)):
        table[(source.number() << 8 | source.number()) % len(table)] = source.number()
    _compare(*decoders, _HEADER + table)


def _compare(decode: _Decode, message: type, convert: Callable[[Any], Any], data: bytes) -> None:
    try:
        expected = convert(codec.decode(message, data))
    except DecodeError:
        expected = DecodeError
    try:
        found = decode(data)
    except DecodeError:
        found = DecodeError
    assert found == expected
