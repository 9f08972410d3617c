"""gRPC's part: messages cut anywhere, limits, statuses, timeouts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcd_async._protocol.grpc import (
    Head,
    MessageReader,
    check_start,
    encode_timeout,
    is_whole,
    outcome,
    percent_decode,
    prefixed,
    read_head,
)
from etcd_async.errors import ProtocolError, ResponseTooLarge, StatusCode

PLAIN = {":status": "200", "content-type": "application/grpc"}
UNITS = {"m": 1e-3, "S": 1, "M": 60, "H": 3600}


def head(**fields: str) -> Head:
    return read_head((name.replace("_", "-").encode(), value.encode()) for name, value in fields.items())


def head_of(fields: dict[str, str]) -> Head:
    return read_head((name.encode(), value.encode()) for name, value in fields.items())


@given(st.lists(st.binary(max_size=50), max_size=6), st.data())
def test_any_cut_of_the_data_gives_the_same_messages(messages: list[bytes], data: st.DataObject) -> None:
    body = b"".join(map(prefixed, messages))
    reader, got = MessageReader(50), []
    while body:
        size = data.draw(st.integers(1, len(body)))
        got += reader.feed(body[:size])
        body = body[size:]
    assert got == messages
    assert reader.partial == 0


def test_a_message_over_the_limit_is_refused_by_its_prefix() -> None:
    reader = MessageReader(10)
    assert reader.feed(prefixed(bytes(10))) == [bytes(10)]
    with pytest.raises(ResponseTooLarge, match="268435456 bytes, max_receive_bytes is 10"):
        reader.feed(b"\0" + (256 << 20).to_bytes(4, "big"))


def test_a_compressed_message_is_refused() -> None:
    with pytest.raises(ProtocolError, match="compress"):
        MessageReader(10).feed(b"\1\0\0\0\1x")


def test_the_short_cut_takes_only_one_whole_plain_message() -> None:
    assert is_whole(prefixed(b"abc"), 3)
    assert is_whole(prefixed(b""), 0)
    for other in (b"", prefixed(b"abc")[:-1], prefixed(b"abc") + b"x", b"\1\0\0\0\1x"):
        assert not is_whole(other, 100)
    assert not is_whole(prefixed(b"abcd"), 3)


def test_an_ordinary_answer_is_known_by_its_heads() -> None:
    assert head_of(PLAIN).is_plain_start
    assert head(grpc_status="0").is_plain_end
    assert not head(grpc_status="5").is_plain_end
    assert not head_of(PLAIN | {"grpc-encoding": "gzip"}).is_plain_start
    assert head_of({":status": "103"}).is_informational


@pytest.mark.parametrize("kind", ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"])
def test_content_types_of_grpc_are_accepted(kind: str) -> None:
    check_start(head_of(PLAIN | {"content-type": kind}))


@pytest.mark.parametrize("kind", ["", "text/html", "application/grpc-web", "application/json"])
def test_other_content_types_are_not(kind: str) -> None:
    with pytest.raises(ProtocolError, match="content type"):
        check_start(head_of(PLAIN | {"content-type": kind}))
    with pytest.raises(ProtocolError, match="content type"):
        outcome(head_of(PLAIN | {"content-type": kind}))


def test_an_answer_that_starts_compressed_or_without_a_status_is_refused() -> None:
    with pytest.raises(ProtocolError, match="compresses"):
        check_start(head_of(PLAIN | {"grpc-encoding": "gzip"}))
    with pytest.raises(ProtocolError, match=":status"):
        check_start(head(content_type="application/grpc"))


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({"grpc-status": "0"}, StatusCode.OK, ""),
        ({"grpc-status": "5", "grpc-message": "a%20b"}, StatusCode.NOT_FOUND, "a b"),
        ({"grpc-status": "99"}, StatusCode.UNKNOWN, "no message (grpc-status out of range)"),
        ({"grpc-status": "x", "grpc-message": "m"}, StatusCode.UNKNOWN, "m (grpc-status out of range)"),
        ({"grpc-status": "-1"}, StatusCode.UNKNOWN, "no message (grpc-status out of range)"),
        ({":status": "400"}, StatusCode.INTERNAL, "the server answered HTTP 400"),
        ({":status": "401"}, StatusCode.UNAUTHENTICATED, "the server answered HTTP 401"),
        ({":status": "403"}, StatusCode.PERMISSION_DENIED, "the server answered HTTP 403"),
        ({":status": "404"}, StatusCode.UNIMPLEMENTED, "the server answered HTTP 404"),
        ({":status": "503"}, StatusCode.UNAVAILABLE, "the server answered HTTP 503"),
        ({":status": "500"}, StatusCode.UNKNOWN, "the server answered HTTP 500"),
        ({":status": "503", "grpc-status": "7"}, StatusCode.PERMISSION_DENIED, ""),
    ],
)
def test_the_status_of_an_answer(fields: dict[str, str], code: StatusCode, message: str) -> None:
    assert outcome(head_of(fields)) == (code, message)


def test_an_answer_without_a_status_breaks_the_rules() -> None:
    for fields in ({}, PLAIN):
        with pytest.raises(ProtocolError, match="without a grpc-status"):
            outcome(head_of(fields))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"plain", "plain"),
        (b"a%20b%C3%A9", "a bé"),
        (b"100%", "100%"),
        (b"%zz%4", "%zz%4"),
        (b"%ff", "\ufffd"),
        (b"a+b", "a+b"),
    ],
)
def test_messages_are_percent_decoded_and_bad_escapes_kept(text: bytes, said: str) -> None:
    assert percent_decode(text) == said


@given(st.floats(0, 1e12))
def test_a_timeout_has_eight_digits_and_is_never_shorter(seconds: float) -> None:
    encoded = encode_timeout(seconds).decode()
    assert len(encoded) <= 9
    if encoded != "99999999H":
        assert int(encoded[:-1]) * UNITS[encoded[-1]] >= seconds * (1 - 1e-9)


@pytest.mark.parametrize(
    ("seconds", "encoded"),
    [
        (5.0, b"5000m"),
        (0.0001, b"1m"),
        (0, b"0m"),
        (-1, b"0m"),
        (10.9, b"10900m"),
        (1e6, b"1000000S"),
        (float("inf"), b"99999999H"),
    ],
)
def test_timeouts_in_the_finest_unit_that_fits(seconds: float, encoded: bytes) -> None:
    assert encode_timeout(seconds) == encoded
