"""What the codec refuses, in which words, and what it never shows."""

import pytest

from etcd_async import wire
from etcd_async._codec import DecodeError, decode, encode
from etcd_async._codec.reading import DEPTH
from etcd_async._codec.writing import varint

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x10", "cut off"),
        (b"\x10\x80", "cut off"),
        (b"\x10" + b"\x80" * 10 + b"\x00", "more than 10 bytes"),
        (b"\x0a\x05abc", "longer than its message"),
        (b"\x0a\xff\xff\xff\xff\x0f", "too large"),
        (b"\x90\x80\x80\x80\x80\x00\x05", "too large"),
        (b"\x00\x05", "field number 0"),
        (b"\x08\x05", "field 1 has wire type 0"),
        (b"\x12\x01a", "field 2 has wire type 2"),
        (b"\x7b\x7c", "wire type 3"),
        (b"\x7c", "wire type 4"),
        (b"\x7f", "wire type 7"),
        (b"\x7d\x01\x02\x03", "cut off"),
        (b"\x79\x01\x02\x03\x04", "cut off"),
    ],
)
def test_malformed_bytes_are_decode_errors_that_say_why(data: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        decode(wire.KeyValue, data)


def nested(levels: int) -> bytes:
    """A transaction in a transaction in ...: each level is two messages."""
    data = b""
    for _ in range(levels):
        data = b"\x22" + varint(len(data)) + data
        data = b"\x12" + varint(len(data)) + data
    return data


def test_messages_may_nest_as_deep_as_the_limit_and_no_deeper() -> None:
    assert decode(wire.TxnRequest, nested(DEPTH // 2)).success
    with pytest.raises(DecodeError, match="nest more than 100 deep"):
        decode(wire.TxnRequest, nested(DEPTH // 2 + 1))
    with pytest.raises(DecodeError, match="nest more than 100 deep"):
        decode(wire.TxnRequest, nested(20_000))


def test_unknown_fields_of_every_wire_type_are_skipped() -> None:
    known = b"\x0a\x01k"
    for unknown in (b"\xf8\x01\x05", b"\xf9\x01abcdefgh", b"\xfa\x01\x02ab", b"\xfd\x01abcd"):
        assert decode(wire.KeyValue, unknown + known + unknown) == wire.KeyValue(key=b"k")


def test_tags_longer_than_need_be_are_read_in_linear_time() -> None:
    # A copy of the rest for each of them would be 75 GB.
    fields = 300_000
    data = b"\x92\x80\x00\x00\x90\x00\x05" + b"\xf8\x81\x00\x01" + b"\x90\x00\x07" * fields
    assert decode(wire.KeyValue, data[4:]) == wire.KeyValue(create_revision=7)
    with pytest.raises(DecodeError, match="field 2 has wire type 2"):
        decode(wire.KeyValue, data)


def test_packed_and_single_elements_of_a_list_may_alternate() -> None:
    decoded = decode(wire.WatchCreateRequest, b"\x28\x01\x2a\x02\x00\x01\x28\x07\x2a\x00")
    assert [int(number) for number in decoded.filters] == [1, 0, 1, 7]


def test_a_message_given_twice_is_merged_field_by_field() -> None:
    data = encode(wire.Event(kv=wire.KeyValue(key=b"a", version=1))) + encode(wire.Event(kv=wire.KeyValue(version=2)))
    assert decode(wire.Event, data).kv == wire.KeyValue(key=b"a", version=2)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (wire.PutRequest(key="k"), "PutRequest.key must be bytes, not str"),  # type: ignore[arg-type]
        (wire.PutRequest(key=None), "PutRequest.key must be bytes, not NoneType"),  # type: ignore[arg-type]
        (wire.PutRequest(lease="7"), "PutRequest.lease must be an int, not str"),  # type: ignore[arg-type]
        (wire.PutRequest(lease=1.5), "PutRequest.lease must be an int, not float"),  # type: ignore[arg-type]
        (wire.PutRequest(prev_kv=1), "PutRequest.prev_kv must be a bool, not int"),  # type: ignore[arg-type]
        (wire.AuthRoleAddRequest(name=b"r"), "AuthRoleAddRequest.name must be a str, not bytes"),  # type: ignore[arg-type]
        (wire.RangeResponse(kvs=()), "RangeResponse.kvs must be a list, not tuple"),  # type: ignore[arg-type]
        (wire.RangeResponse(kvs=[1]), "RangeResponse.kvs must be a KeyValue, not int"),  # type: ignore[list-item]
        (wire.RangeResponse(header=1), "RangeResponse.header must be a ResponseHeader, not int"),  # type: ignore[arg-type]
        (wire.WatchCreateRequest(filters=None), "filters must be a list, not NoneType"),  # type: ignore[arg-type]
        ("PutRequest", "a wire message is needed, not str"),
    ],
)
def test_a_wrong_type_is_a_type_error_naming_the_field(message: object, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        encode(message)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (wire.PutRequest(lease=1 << 63), "PutRequest.lease must be from -9223372036854775808 to 9223372036854775807"),
        (wire.PutRequest(lease=-(1 << 63) - 1), "PutRequest.lease must be from"),
        (wire.Member(id=-1), "Member.id must be from 0 to 18446744073709551615, not -1"),
        (wire.Member(id=1 << 64), "Member.id must be from 0"),
        (wire.HashResponse(hash=1 << 32), "HashResponse.hash must be from 0 to 4294967295"),
        (wire.Event(type=1 << 31), "Event.type must be from -2147483648 to 2147483647"),  # type: ignore[arg-type]
        (wire.WatchCreateRequest(filters=[1 << 31]), "WatchCreateRequest.filters must be"),  # type: ignore[list-item]
        (wire.Compare(version=1, lease=1), "only one member of Compare.target_union may be set"),
        (wire.AuthRoleAddRequest(name="\ud800"), "AuthRoleAddRequest.name holds a lone surrogate"),
    ],
)
def test_what_does_not_fit_is_a_value_error_naming_the_field(message: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        encode(message)


def test_decode_needs_the_class_of_a_message() -> None:
    with pytest.raises(TypeError, match="class of a wire message is needed"):
        decode(int, b"")


HOLDERS = [
    wire.AuthenticateRequest(name="u", password=SECRET),
    wire.AuthenticateResponse(token=SECRET),
    wire.AuthUserAddRequest(name="u", password=SECRET),
    wire.AuthUserAddRequest(name="u", hashed_password=SECRET),
    wire.AuthUserChangePasswordRequest(name="u", password=SECRET, hashed_password=SECRET),
    wire.User(name=b"u", password=SECRET.encode()),
]


@pytest.mark.parametrize("message", HOLDERS)
def test_no_repr_shows_a_password_or_a_token(message: object) -> None:
    for shown in (repr(message), str(message), f"{message}", repr([message])):
        assert SECRET not in shown
        assert "<hidden>" in shown
        assert type(message).__name__ in shown


def test_a_repr_without_a_secret_hides_nothing() -> None:
    assert repr(wire.AuthenticateRequest(name="u")) == "AuthenticateRequest(name='u')"


def test_hiding_a_secret_leaves_it_in_the_message() -> None:
    message = wire.AuthenticateRequest(name="u", password=SECRET)
    repr(message)
    assert message.password == SECRET
    assert decode(wire.AuthenticateRequest, encode(message)) == message


def test_no_error_shows_a_password_or_a_token() -> None:
    with pytest.raises(ValueError, match="lone surrogate") as unencodable:
        encode(wire.AuthenticateRequest(password=SECRET + "\ud800"))
    with pytest.raises(TypeError) as mistyped:
        encode(wire.AuthenticateRequest(password=SECRET.encode()))  # type: ignore[arg-type]
    with pytest.raises(DecodeError) as undecodable:
        decode(wire.AuthenticateResponse, b"\x12\x08" + SECRET.encode() + b"\xff")
    for error in (unencodable.value, mistyped.value, undecodable.value):
        assert SECRET not in repr(error)
        assert error.__suppress_context__ or error.__context__ is None
