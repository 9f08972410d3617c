"""The hot calls past the messages: held against the general codec, which is held against google's."""

import dataclasses
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etcd_async import _codec as codec
from etcd_async import ops, types, wire
from etcd_async._codec import DecodeError, drafts, fast, public, responses
from etcd_async._codec._generated import hot
from tests.unit.codec.google import split
from tests.unit.codec.strategies import damaged, messages


@dataclasses.dataclass(frozen=True)
class Hot:
    """A hot answer: its decoder, and the general way to the same."""

    message: str
    decode: Callable[[bytes], Any]
    read: Callable[[bytes, int, int], Any]
    convert: Callable[[Any], Any]

    def generally(self, data: bytes) -> Any:
        return self.convert(codec.decode(getattr(wire, self.message), data))


HOT = [
    Hot("RangeResponse", codec.decode_range_result, fast.read_range, public.public_range),
    Hot("RangeResponse", codec.decode_get_result, fast.read_first, public.public_first),
    Hot("RangeStreamResponse", codec.decode_range_stream_chunk, fast.read_chunk, public.public_chunk),
    Hot("PutResponse", codec.decode_put_result, fast.read_put, public.public_put),
    Hot("DeleteRangeResponse", codec.decode_delete_result, fast.read_delete, public.public_delete),
    Hot("TxnResponse", codec.decode_txn_result, fast.read_txn, public.public_txn),
    Hot("WatchResponse", codec.decode_watch_response, fast.read_watch, public.public_watch),
    Hot("LeaseKeepAliveResponse", codec.decode_keep_alive_response, fast.read_keep_alive, public.public_keep_alive),
]
each_answer = pytest.mark.parametrize("answer", HOT, ids=[hot.decode.__name__ for hot in HOT])


def outcome(decode: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        return decode(data)
    except DecodeError:
        return DecodeError


@each_answer
@settings(max_examples=100)
@given(st.data())
def test_whole_answers_are_what_the_general_codec_makes_of_them(answer: Hot, data: st.DataObject) -> None:
    encoded = data.draw(messages(f"etcdserverpb.{answer.message}")).SerializeToString()
    assert outcome(answer.decode, encoded) == outcome(answer.generally, encoded)


@each_answer
@settings(max_examples=250)
@given(st.data())
def test_damaged_answers_are_what_the_general_codec_makes_of_them(answer: Hot, data: st.DataObject) -> None:
    encoded = data.draw(damaged(f"etcdserverpb.{answer.message}"))
    assert outcome(answer.decode, encoded) == outcome(answer.generally, encoded)


def header(**changes: int) -> wire.ResponseHeader:
    """As etcd writes it: two large ids, the revision and the raft term."""
    ids = {"cluster_id": 14841639068965178418, "member_id": 10276657743932975437}
    return wire.ResponseHeader(**{**ids, "revision": 300_000_000, "raft_term": 2, **changes})


def kv(**changes: Any) -> wire.KeyValue:
    """As etcd writes it: a key with a value of two bytes' length and a lease."""
    usual = {"key": b"/a/1", "value": b"v" * 200, "create_revision": 7, "mod_revision": 290, "version": 70_000}
    return wire.KeyValue(**{**usual, "lease": 7587871222222222222, **changes})


KVS = [kv(), kv(lease=0), kv(value=b""), kv(create_revision=1 << 27, mod_revision=1 << 62), kv(value=b"v" * 70_000)]
PUT = wire.Event(kv=kv())
DELETE = wire.Event(type=wire.EventEventType.DELETE, kv=wire.KeyValue(key=b"/a/1", mod_revision=300), prev_kv=kv())
LAST = wire.Event(type=wire.EventEventType.DELETE, kv=wire.KeyValue(key=b"/a/1", mod_revision=300))
INNER = wire.TxnResponse(header=header(), responses=[wire.ResponseOp(response_put=wire.PutResponse(header=header()))])
# What etcd 3.4 to 3.8 answer: ids only outside, fields in order.
USUAL: list[tuple[int, Any]] = [
    (0, wire.RangeResponse(header=header(), kvs=KVS, more=True, count=900)),
    (0, wire.RangeResponse(header=header(raft_term=300))),
    (0, wire.RangeResponse(header=wire.ResponseHeader(revision=5), count=1)),
    (1, wire.RangeResponse(header=header(), kvs=[kv()], count=1)),
    (1, wire.RangeResponse(header=header())),
    (2, wire.RangeStreamResponse(range_response=wire.RangeResponse(header=header(), kvs=KVS))),
    (3, wire.PutResponse(header=header())),
    (3, wire.PutResponse(header=header(), prev_kv=kv())),
    (4, wire.DeleteRangeResponse(header=header(), deleted=5, prev_kvs=KVS)),
    (5, wire.TxnResponse(header=header(), succeeded=True, responses=[wire.ResponseOp(response_txn=INNER)] * 2)),
    (6, wire.WatchResponse(header=header(), watch_id=3, events=[PUT, DELETE, PUT, LAST])),
    (6, wire.WatchResponse(header=header(), watch_id=3, fragment=True, events=[LAST])),
    (6, wire.WatchResponse(header=header(), watch_id=-1)),
    (7, wire.LeaseKeepAliveResponse(header=header(), id=7587871222222222222, ttl=600)),
    (7, wire.LeaseKeepAliveResponse(header=header(), id=5)),
]


@pytest.mark.parametrize(("index", "message"), USUAL)
def test_usual_answers_take_the_fast_way(index: int, message: Any) -> None:
    data = codec.encode(message)
    # Twice: ids and leases are remembered from the first time.
    for _ in range(2):
        assert HOT[index].read(data, 0, len(data)) == HOT[index].generally(data)
        assert HOT[index].decode(data) == HOT[index].generally(data)


@pytest.mark.parametrize(("index", "message"), USUAL)
def test_every_cut_and_every_changed_byte_of_a_usual_answer_is_noticed_alike(index: int, message: Any) -> None:
    data, answer = codec.encode(message), HOT[index]
    positions = [*range(min(len(data), 600)), *range(max(0, len(data) - 300), len(data))]
    for position in positions:
        changed = random.Random(position).randbytes(1)
        for mutant in (data[:position], data[:position] + changed + data[position + 1 :], data[position:]):
            assert outcome(answer.decode, mutant) == outcome(answer.generally, mutant)


@pytest.mark.parametrize(("index", "message"), USUAL)
def test_other_orders_repeated_and_unknown_fields_give_what_the_general_codec_gives(index: int, message: Any) -> None:
    fields, answer = split(codec.encode(message)), HOT[index]
    unknown = [b"\xf8\x01\x05", b"\xfa\x01\x02ab"]
    for order in (fields[::-1], fields * 2, unknown + fields, fields + unknown, [*fields[:1], *unknown, *fields[1:]]):
        assert answer.decode(b"".join(order)) == answer.generally(b"".join(order))


NESTED = [
    (
        5,
        b"\x1a",
        [b"\x12\x00\x12\x00", b"\x12\x00\x0a\x00", b"\xf8\x01\x05\x12\x00", b"\x12\x04\x0a\x02\x18\x07", b"\x2a\x00"],
    ),
    (
        6,
        b"\x5a",
        [b"\x08\x00\x12\x03\x0a\x01k", b"\x12\x03\x0a\x01k\x08\x01", b"", b"\x08\x01", b"\x1a\x00", b"\x08\x81\x00"],
    ),
    (6, b"\x5a", [b"\x12\x03\x0a\x01k\x1a\x00\x1a\x00", b"\x12\x04\x0a\x02k", b"\x12\x03\x0a\x01k\xf8\x01\x05"]),
    (
        0,
        b"\x12",
        [
            b"",
            b"\x18\x05\x10\x05",
            b"\x0a\x81\x00k",
            b"\x0a\x01k\x10\x80\x00",
            b"\x0a\x01k\x30\x05\x30\x06",
            b"\x30\x80",
        ],
    ),
]


@pytest.mark.parametrize(("index", "tag", "bodies"), NESTED)
def test_odd_parts_inside_an_answer_are_read_as_the_general_codec_does(
    index: int, tag: bytes, bodies: list[bytes]
) -> None:
    start = codec.encode(wire.PutResponse(header=header()))
    for body in bodies:
        for after in (b"", b"\x18\x01\x20\x05", start):
            data = start + tag + bytes([len(body)]) + body + after
            assert outcome(HOT[index].decode, data) == outcome(HOT[index].generally, data)


def test_a_kv_with_an_unknown_field_costs_only_itself_the_fast_way() -> None:
    odd = codec.encode(kv()) + b"\xf8\x01\x05"
    data = codec.encode(wire.RangeResponse(header=header(), kvs=[kv()]))
    data += b"\x12" + codec.encode(wire.UnlockRequest(key=odd))[1:]
    assert list(fast.read_range(data, 0, len(data)).kvs) == [public.public_kv(kv())] * 2


def test_results_are_of_the_public_classes_and_frozen() -> None:
    found = codec.decode_get_result(codec.encode(wire.RangeResponse(header=header(), kvs=[kv()])))
    assert type(found) is types.KeyValue
    event = codec.decode_watch_response(codec.encode(wire.WatchResponse(header=header(), events=[PUT]))).events[0]
    assert type(event) is types.Event
    for thing, name in ((found, "key"), (event, "kv")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(thing, name, b"")


@pytest.mark.parametrize(
    ("draft", "frozen"), [(drafts.KeyValueDraft, types.KeyValue), (drafts.EventDraft, types.Event)]
)
def test_a_draft_has_exactly_the_slots_of_what_it_becomes(draft: Any, frozen: Any) -> None:
    assert draft.__slots__ == frozen.__slots__ == tuple(field.name for field in dataclasses.fields(frozen))


def test_an_event_of_unknown_type_is_refused() -> None:
    data = codec.encode(wire.WatchResponse(header=header(), events=[wire.Event(type=2, kv=kv())]))  # type: ignore[arg-type]
    with pytest.raises(DecodeError, match="event type 2"):
        codec.decode_watch_response(data)


def test_an_operation_without_an_answer_is_refused() -> None:
    with pytest.raises(DecodeError, match="no answer"):
        codec.decode_txn_result(codec.encode(wire.TxnResponse(header=header(), responses=[wire.ResponseOp()])))


def test_what_is_remembered_stays_bounded() -> None:
    for number in range(5_000):
        member = header(member_id=(1 << 63) + number, cluster_id=(1 << 63) + number)
        answer = wire.LeaseKeepAliveResponse(header=member, id=(1 << 62) + number, ttl=1)
        assert codec.decode_keep_alive_response(codec.encode(answer)) == responses.KeepAliveResponse(answer.id, 1)
    assert len(hot.LEASES) <= 4096
    assert len(fast._IDS) <= 64
    assert len(fast._REVISIONS) <= 64


def test_remembered_headers_are_told_apart_by_every_byte() -> None:
    heads = [header(), header(member_id=(1 << 63) + 1), header(revision=300_000_001), header(raft_term=3)]
    borders = [(1 << bits) - less for bits in range(7, 43, 7) for less in (1, 0)]
    heads += [made(revision=revision) for made in (header, wire.ResponseHeader) for revision in borders]
    for _ in range(2):
        for head in heads:
            data = codec.encode(wire.RangeResponse(header=head))
            assert codec.decode_range_result(data) == types.RangeResult(revision=head.revision)


def test_the_start_of_a_remembered_header_is_not_taken_for_it() -> None:
    body = b"\x18\x87\x07"
    fast.read_range(b"\x0a\x03" + body, 0, 5)
    # The same bytes, but the size says more, less, or is written in two bytes.
    for size in (b"\x04", b"\x7f", b"\x02", b"\x83\x00", b"\x83\x01"):
        for rest in (b"", b"\x20\x01"):
            data = b"\x0a" + size + body + rest
            assert outcome(codec.decode_range_result, data) == outcome(HOT[0].generally, data)


INTS = st.integers(0, (1 << 63) - 1)
KEYS = st.binary(min_size=1, max_size=200)


@given(KEYS, INTS, st.booleans(), st.booleans())
def test_encode_get_equals_the_message(key: bytes, revision: int, serializable: bool, keys_only: bool) -> None:
    message = wire.RangeRequest(key=key, revision=revision, serializable=serializable, keys_only=keys_only)
    assert codec.encode_get(key, revision, serializable, keys_only) == codec.encode(message)


@given(st.builds(wire.PutRequest, KEYS, st.binary(max_size=300), INTS, st.booleans(), st.booleans(), st.booleans()))
def test_encode_put_equals_the_message(message: wire.PutRequest) -> None:
    op = ops.Put(**{field.name: getattr(message, field.name) for field in dataclasses.fields(ops.Put)})
    assert codec.encode_put(*(getattr(op, field.name) for field in dataclasses.fields(op))) == codec.encode(message)
    assert codec.encode_put_request(op) == codec.encode_put_request(message) == codec.encode(message)


RANGES = st.builds(
    ops.Range, KEYS, KEYS, INTS, INTS, st.sampled_from(ops.SortOrder), st.sampled_from(ops.SortTarget),
    st.booleans(), st.booleans(), st.booleans(), INTS, INTS, INTS, INTS,
)  # fmt: skip
DELETES = st.builds(ops.Delete, KEYS, KEYS, st.booleans())
PUTS = st.builds(ops.Put, KEYS, st.binary(max_size=300), INTS, st.booleans(), st.booleans(), st.booleans())
GETS = st.builds(ops.Get, KEYS, INTS, st.booleans(), st.booleans())
NUMBERS = st.builds(
    ops.Compare, KEYS, KEYS | st.just(b""), st.sampled_from(ops.CompareTarget).filter(lambda target: target != 3),
    st.sampled_from(ops.CompareResult), st.integers(-5, 1 << 40),
)  # fmt: skip
VALUES = st.builds(
    ops.Compare, KEYS, st.just(b""), st.just(ops.CompareTarget.VALUE), st.sampled_from(ops.CompareResult), KEYS
)


def _parts(inner: st.SearchStrategy[Any]) -> list[st.SearchStrategy[Any]]:
    operations = st.one_of(RANGES, DELETES, PUTS, GETS, inner)
    return [st.one_of(NUMBERS, VALUES), operations, operations]


TXNS = st.recursive(
    st.builds(ops.Txn),
    lambda inner: st.builds(ops.Txn, *[st.lists(one, max_size=3).map(tuple) for one in _parts(inner)]),
    max_leaves=4,
)


def as_message(op: Any) -> Any:
    """The wire message that an operation stands for, the slow and plain way."""
    if isinstance(op, ops.Txn):
        return wire.TxnRequest(
            compare=[_compare(compare) for compare in op.compare],
            success=[_request(inner) for inner in op.success],
            failure=[_request(inner) for inner in op.failure],
        )
    kinds = {ops.Get: wire.RangeRequest, ops.Range: wire.RangeRequest}
    kind: Any = {**kinds, ops.Put: wire.PutRequest, ops.Delete: wire.DeleteRangeRequest}[type(op)]
    return kind(**{field.name: getattr(op, field.name) for field in dataclasses.fields(op)})


def _request(op: Any) -> wire.RequestOp:
    names = {ops.Get: "range", ops.Range: "range", ops.Put: "put", ops.Delete: "delete_range", ops.Txn: "txn"}
    return wire.RequestOp(**{f"request_{names[type(op)]}": as_message(op)})


def _compare(compare: ops.Compare) -> wire.Compare:
    operand = ("version", "create_revision", "mod_revision", "value", "lease")[compare.target]
    return wire.Compare(
        result=wire.CompareCompareResult(compare.result),
        target=wire.CompareCompareTarget(compare.target),
        key=compare.key,
        range_end=compare.range_end,
        **{operand: compare.operand},  # type: ignore[arg-type]
    )


@given(TXNS)
def test_encode_txn_equals_the_message(txn: ops.Txn) -> None:
    assert codec.encode_txn(txn) == codec.encode(as_message(txn))


@given(RANGES, DELETES)
def test_ranges_and_deletes_equal_their_messages(range_: ops.Range, delete: ops.Delete) -> None:
    assert codec.encode_range_request(range_) == codec.encode(as_message(range_))
    assert codec.encode_delete_range_request(delete) == codec.encode(as_message(delete))


def test_a_stranger_in_a_transaction_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="operation of a transaction must be a Put, Get, Range, Delete or Txn, not str"):
        codec.encode_txn(ops.Txn(success=("put",)))  # type: ignore[arg-type]
