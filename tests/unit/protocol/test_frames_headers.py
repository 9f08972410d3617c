"""Header blocks: ours leave no trace in any table, theirs are remembered only while they mean the same."""

import pytest
from hpack import Decoder, Encoder
from hpack.hpack import decode_integer
from hpack.struct import HeaderTuple
from hypothesis import given
from hypothesis import strategies as st

from etcd_async._protocol import headers
from etcd_async._protocol.headers import HeadReader, changes_table, request_block, timeout_field

names = st.sampled_from(["grpc-status", "grpc-message", "content-type", ":status", "x-a", "trailer", "server", "date"])
values = st.sampled_from(["", "0", "200", "application/grpc", "5", "k" * 130, "v" * 20, "z" * 3000])
fields = st.lists(st.tuples(names, values, st.sampled_from(["index", "literal", "never"])), min_size=1, max_size=5)
Fields = list[tuple[str, str, str]]


def request(**changes: str) -> bytes:
    given = {"path": "/a.B/C", "scheme": "http", "authority": "h:1", "user_agent": "u/1"} | changes
    return request_block(**given, metadata=(("hasleader", "true"), ("token", "t0k")))


def decoded(block: bytes) -> list[tuple[bytes, bytes]]:
    decoder = Decoder()
    found = [(bytes(name), bytes(value)) for name, value in decoder.decode(block, raw=True)]
    assert not decoder.header_table.dynamic_entries
    return found


def encode(encoder: Encoder, sent: Fields) -> bytes:
    """Encode with hpack, field by field, so that each is indexed or not as the example wants."""
    block = b""
    for name, value, how in sent:
        if how == "literal":
            block += headers.literal(name.encode(), value.encode())
        else:
            block += encoder.encode([HeaderTuple(name, value)] if how == "index" else [(name, value, True)])
    return block


def test_a_request_block_says_what_grpc_asks_for_and_touches_no_table() -> None:
    assert decoded(request() + timeout_field(4.9991)) == [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/a.B/C"),
        (b":authority", b"h:1"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"user-agent", b"u/1"),
        (b"hasleader", b"true"),
        (b"token", b"t0k"),
        (b"grpc-timeout", b"5000m"),
    ]
    assert not changes_table(request())


@given(st.floats(0, 1e6))
def test_a_timeout_is_never_shorter_and_hardly_longer(seconds: float) -> None:
    [(name, value)] = decoded(timeout_field(seconds))
    assert name == b"grpc-timeout"
    told = int(value[:-1]) * {b"m": 1e-3, b"S": 1.0}[value[-1:]]
    assert seconds * (1 - 1e-9) <= told < seconds + (0.002 if seconds < 10_000 else 1)


def test_what_is_remembered_of_timeouts_stays_bounded_and_right() -> None:
    fields = [timeout_field(number / 1e3) for number in range(1, 2_000)]
    assert [decoded(field)[0][1] for field in fields] == [b"%dm" % number for number in range(1, 2_000)]
    assert headers._short_timeout_field.cache_info().currsize <= 256


def test_https_is_a_scheme_of_the_static_table() -> None:
    assert decoded(request(scheme="https"))[1] == (b":scheme", b"https")


def test_tokens_are_marked_as_never_to_be_indexed() -> None:
    assert b"\x10\x05token" in request()
    assert b"\x00\x09hasleader" in request()


def test_the_table_is_given_up_with_one_byte() -> None:
    decoder = Decoder()
    decoder.decode(headers.FORGET_TABLE + request())
    assert decoder.header_table_size == 0


def test_a_peer_that_shrinks_its_table_accepts_us_after_that_byte() -> None:
    decoder = Decoder()
    decoder.decode(headers.FORGET_TABLE + request())
    decoder.max_allowed_table_size = 0
    assert decoder.decode(request())


@given(st.integers(0, 2**31), st.integers(1, 8))
def test_integers_read_back(value: int, bits: int) -> None:
    encoded = headers.integer(value, bits)
    assert decode_integer(encoded, bits) == (value, len(encoded))


@given(st.integers(0, 500), st.integers(0, 500))
def test_literals_of_any_length_read_back(name: int, value: int) -> None:
    block = headers.literal(b"n" * name + b"-", b"v" * value)
    assert decoded(block) == [(b"n" * name + b"-", b"v" * value)]


@given(st.lists(fields, min_size=1, max_size=6))
def test_blocks_that_change_the_table_are_told_from_those_that_do_not(blocks: list[Fields]) -> None:
    encoder, decoder = Encoder(), Decoder()
    for sent in blocks:
        block = encode(encoder, sent)
        before = list(decoder.header_table.dynamic_entries), decoder.header_table_size
        decoder.decode(block, raw=True)
        after = list(decoder.header_table.dynamic_entries), decoder.header_table_size
        assert changes_table(block) or before == after


@pytest.mark.parametrize("block", [b"\x88", b"\xbe\xbf", b"\x00\x01a\x01b", b"\x10\x01a\x01b", b"\x0f\x10\x01b", b""])
def test_indexes_and_plain_literals_change_nothing(block: bytes) -> None:
    assert not changes_table(block)


@pytest.mark.parametrize(
    "block", [b"\x40\x01a\x01b", b"\x88\x20", b"\x3f\xe1\x1f", b"\x88\x00\x01a\x01b\x48\x01c", b"\x00", b"\x00\x05ab"]
)
def test_insertions_resizes_and_stumps_count_as_changes(block: bytes) -> None:
    assert changes_table(block)


@given(st.lists(fields, min_size=1, max_size=30))
def test_remembered_heads_are_what_decoding_each_block_would_say(blocks: list[Fields]) -> None:
    encoder, plain, inner = Encoder(), Decoder(), Decoder()
    reader = HeadReader(lambda block: inner.decode(block, raw=True))
    for sent in blocks:
        block = encode(encoder, sent)
        said = {bytes(name): bytes(value) for name, value in plain.decode(block, raw=True)}
        head = reader.read(block)
        assert head.message == said.get(b"grpc-message", b"").decode()
        assert head.content_type == said.get(b"content-type", b"").decode()


def test_an_index_into_the_dynamic_table_is_read_anew_after_an_insertion() -> None:
    encoder, inner = Encoder(), Decoder()
    reader = HeadReader(lambda block: inner.decode(block, raw=True))
    reader.read(encoder.encode([("grpc-message", "first")]))
    newest = b"\xbe"
    assert reader.read(newest).message == "first"
    reader.read(encoder.encode([("grpc-message", "second")]))
    assert reader.read(newest).message == "second"


def test_a_block_seen_before_is_not_decoded_again() -> None:
    calls: list[bytes] = []

    def decode(block: bytes) -> list[tuple[bytes, bytes]]:
        calls.append(block)
        return [(b"grpc-status", b"0")]

    reader = HeadReader(decode)
    assert reader.read(b"\xbe") is reader.read(b"\xbe")
    assert len(calls) == 1


def test_what_is_remembered_is_bounded() -> None:
    count = 0

    def decode(block: bytes) -> list[tuple[bytes, bytes]]:
        nonlocal count
        count += 1
        return []

    reader = HeadReader(decode)
    long = headers.literal(b"a", b"x" * 2000)
    for _ in range(2):
        reader.read(long)
    assert count == 2
    for number in range(1000):
        reader.read(headers.literal(b"a", str(number).encode()))
    assert len(reader._known) <= 256
