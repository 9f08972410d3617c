"""Key-values read column by column: held against the general codec, and seen to be read so."""

import sys
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcd_async import _codec as codec
from etcd_async import wire
from etcd_async._codec import DecodeError, columns, fast, public
from etcd_async._codec._generated import hot
from etcd_async._codec.columns import read_kv_rows

ROWS = 48
HEADER = wire.ResponseHeader(cluster_id=1 << 63, member_id=1 << 62, revision=1_000_000, raft_term=2)


@pytest.fixture(autouse=True, scope="module")
def look_for_rows_everywhere() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast, "LONG", 1)
        patch.setattr(columns, "_FEWEST", 2)
        yield


def kvs(**changes: Any) -> list[wire.KeyValue]:
    """Laid out alike; no two with equal fields."""
    usual = {"lease": 0, "revision": 20_000, "version": 1, "value": 100, "key": 20, "rows": ROWS}
    made = {**usual, **changes}
    return [
        wire.KeyValue(
            key=b"k%0*d" % (made["key"] - 1, number),
            create_revision=made["revision"] + 2 * number,
            mod_revision=made["revision"] + 3 * number,
            version=made["version"] + number % 2,
            value=number.to_bytes(2, "big") * (made["value"] // 2),
            lease=made["lease"] and made["lease"] + number % 7,
        )
        for number in range(made["rows"])
    ]


def ranged(kvs: list[wire.KeyValue]) -> bytes:
    return codec.encode(wire.RangeResponse(header=HEADER, kvs=kvs, count=len(kvs)))


def watched(kvs: list[wire.KeyValue], **changes: Any) -> bytes:
    events = [wire.Event(kv=kv, **changes) for kv in kvs]
    return codec.encode(wire.WatchResponse(header=HEADER, watch_id=1, events=events))


def outcomes(data: bytes, kind: type = wire.RangeResponse) -> tuple[Any, Any]:
    """What the hot decoder and the general one make of it."""
    ways: dict[type, tuple[Callable[[bytes], Any], Callable[[Any], Any]]] = {
        wire.RangeResponse: (codec.decode_range_result, public.public_range),
        wire.WatchResponse: (codec.decode_watch_response, public.public_watch),
    }
    decode, convert = ways[kind]
    results: list[Any] = []
    for way in (decode, lambda data: convert(codec.decode(kind, data))):
        try:
            results.append(way(data))
        except DecodeError:
            results.append(DecodeError)
    return results[0], results[1]


def assert_alike(data: bytes, kind: type = wire.RangeResponse) -> None:
    found, general = outcomes(data, kind)
    assert found == general


def rows_of(data: bytes) -> int:
    """How many key-values of a range's answer are read column by column, from the first on."""
    start = 2 + data[1]
    return len(read_kv_rows(data, start, len(data))[0])


# Revisions of two to nine bytes, sizes of one to three, with and without a lease.
ALIKE = [
    {},
    {"revision": 128 * 128 - 3 * ROWS - 1},
    {"revision": 1 << 27},
    {"revision": (1 << 63) - 3 * ROWS},
    {"revision": 10_000_000, "lease": 7587871222222222222},
    {"value": 0},
    {"value": 0, "lease": 7587871222222222222, "version": 1000},
    {"value": 126},
    {"value": 20_000},
    {"key": 127},
    {"key": 300},
]


@pytest.mark.parametrize("changes", ALIKE)
def test_rows_of_one_layout_are_read_column_by_column(changes: dict[str, int]) -> None:
    made = kvs(**changes)
    assert rows_of(ranged(made)) == ROWS
    for data, kind in ((ranged(made), wire.RangeResponse), (watched(made), wire.WatchResponse)):
        found, general = outcomes(data, kind)
        assert found == general != DecodeError


UNLIKE = [
    {"revision": -1000},
    {"revision": (1 << 63) - 3 * ROWS, "version": -2},
    {"lease": -1000},
]


@pytest.mark.parametrize("changes", UNLIKE)
def test_other_layouts_are_left_to_the_other_readers(changes: dict[str, int]) -> None:
    made = kvs(**changes)
    assert rows_of(ranged(made)) == 0
    assert_alike(ranged(made))


def test_rows_end_where_the_layout_changes() -> None:
    made = kvs(revision=128 * 128 - 3 * ROWS // 2)
    data = ranged(made)
    assert 0 < rows_of(data) < ROWS
    assert_alike(data)


def test_more_rows_than_are_read_at_once_are_all_read() -> None:
    made = [*kvs(rows=600), wire.KeyValue(key=b"odd"), *kvs(rows=300, value=50, lease=5)]
    assert rows_of(ranged(made)) == 256
    assert_alike(ranged(made))
    assert_alike(watched(made), wire.WatchResponse)


def test_only_an_interpreted_reader_looks_for_rows() -> None:
    assert (8192 if str(hot.__file__).endswith(".py") else sys.maxsize) == columns.LONG


def test_few_bytes_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = count()
    monkeypatch.setattr(fast, "read_kv_rows", lambda buf, p, end: ([], p + 0 * next(looks)))
    monkeypatch.setattr(fast, "LONG", 8192)
    codec.decode_range_result(ranged(kvs(value=10)))
    assert next(looks) == 0
    codec.decode_range_result(ranged(kvs(value=1000)))
    assert next(looks) > 1


@pytest.mark.parametrize("changes", [{}, {"value": 0, "lease": 7587871222222222222}, {"revision": 1 << 27}])
@pytest.mark.parametrize("kind", [wire.RangeResponse, wire.WatchResponse])
def test_any_changed_byte_of_a_row_is_noticed_as_the_general_codec_does(kind: type, changes: dict[str, int]) -> None:
    made = kvs(rows=8, **changes)
    data = (ranged if kind is wire.RangeResponse else watched)(made)
    row = len(data) // 8
    for position in range(len(data) - 3 * row, len(data) - 2 * row):
        for byte in (data[position] ^ 1, data[position] ^ 0x80, 0x12, 0xFF):
            mutant = data[:position] + bytes([byte]) + data[position + 1 :]
            assert_alike(mutant, kind)


@pytest.mark.parametrize("changes", [{"type": wire.EventEventType.DELETE}, {"prev_kv": kvs()[0]}])
def test_events_that_are_more_than_a_put_are_read_one_by_one(changes: dict[str, Any]) -> None:
    data = watched(kvs(), **changes)
    assert_alike(data, wire.WatchResponse)


def test_what_is_no_put_is_not_taken_for_one() -> None:
    for before, after in ((b"\x1a", b""), (b"\x12", b"\x30\x05"), (b"\x08\x01\x12", b"")):
        bodies = [codec.encode(kv) for kv in kvs(value=20)]
        events = [before + bytes([len(body)]) + body + after for body in bodies]
        data = watched([]) + b"".join(b"\x5a" + bytes([len(event)]) + event for event in events)
        assert_alike(data, wire.WatchResponse)


@pytest.mark.parametrize("cut_off", [b"\x10\x85", b"\x20\x85", b"\x30\x85", b"\x2a\x01", b"\x2a", b"\x30"])
def test_what_is_cut_off_at_the_end_of_a_row_does_not_reach_into_the_next(cut_off: bytes) -> None:
    for kv in (wire.KeyValue(key=b"k"), wire.KeyValue(key=b"k", create_revision=300, mod_revision=400)):
        body = codec.encode(kv) + cut_off
        row = b"\x12" + bytes([len(body)]) + body
        assert outcomes(ranged([]) + row * ROWS) == (DecodeError, DecodeError)


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """A repeated field in which all varints of a column are equally long; sometimes damaged at one place."""
    sizes = draw(st.tuples(*[st.integers(1, 10)] * 4))
    lengths = draw(st.tuples(st.integers(0, 140), st.integers(0, 140)))
    leased = draw(st.booleans())
    tag = draw(st.sampled_from([b"\x12", b"\x5a"]))
    data = b""
    for _ in range(draw(st.integers(2, 6))):
        numbers = [_varint(draw(st.binary(min_size=size, max_size=size))) for size in sizes]
        body = b"\x0a" + _length(lengths[0]) + b"k" * lengths[0]
        body += b"\x10" + numbers[0] + b"\x18" + numbers[1] + b"\x20" + numbers[2]
        body += b"\x2a" + _length(lengths[1]) + b"v" * lengths[1] + (b"\x30" + numbers[3]) * leased
        body = b"\x12" + _length(len(body)) + body if tag == b"\x5a" else body
        data += tag + _length(len(body)) + body
    at = draw(st.integers(0, len(data)))
    return data[:at] + draw(st.binary(max_size=1)) + data[at + draw(st.integers(0, 1)) :]


def _varint(bits: bytes) -> bytes:
    return bytes(byte | 128 for byte in bits[:-1]) + bytes([bits[-1] & 127])


def _length(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number & 127 | 128, number >> 7])


@given(tables())
def test_tables_are_what_the_general_codec_makes_of_them(table: bytes) -> None:
    header = ranged([])
    for kind in (wire.RangeResponse, wire.WatchResponse):
        assert_alike(header + table, kind)
