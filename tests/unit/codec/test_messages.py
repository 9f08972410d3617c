"""The codec of every message against betterproto2 and google's protobuf, on whole and on damaged bytes."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etcd_async._codec import DecodeError, decode, encode
from tests.unit.codec.google import NAMES, descriptors, is_refused_by_us_only, our_class, parse, to_ours
from tests.unit.codec.strategies import damaged, messages

# The ones with oneofs, merges and recursion get more examples than the flat ones.
WINDING = [
    "etcdserverpb.TxnRequest",
    "etcdserverpb.TxnResponse",
    "etcdserverpb.WatchRequest",
    "etcdserverpb.WatchResponse",
]


def outcome(name: str, data: bytes) -> Any:
    try:
        return decode(our_class(name), data)
    except DecodeError:
        return None


def expected(name: str, data: bytes) -> Any:
    message = parse(name, data)
    return None if message is None or is_refused_by_us_only(descriptors()[name], data) else message


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15)
@given(st.data())
def test_encoding_equals_googles_and_betterprotos(name: str, data: st.DataObject) -> None:
    message = data.draw(messages(name))
    ours = to_ours(message)
    assert encode(ours) == message.SerializeToString(deterministic=True) == bytes(ours)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15)
@given(st.data())
def test_decoding_equals_googles_and_betterprotos(name: str, data: st.DataObject) -> None:
    message = data.draw(messages(name))
    encoded = message.SerializeToString()
    decoded = decode(our_class(name), encoded)
    assert decoded == to_ours(message) == our_class(name).parse(encoded)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25)
@given(st.data())
def test_damaged_bytes_are_accepted_or_refused_as_google_does(name: str, data: st.DataObject) -> None:
    encoded = data.draw(damaged(name))
    assert outcome(name, encoded) == expected(name, encoded)


@pytest.mark.parametrize("name", WINDING)
@settings(max_examples=300)
@given(st.data())
def test_damage_to_winding_messages_is_judged_as_google_does(name: str, data: st.DataObject) -> None:
    encoded = data.draw(damaged(name))
    assert outcome(name, encoded) == expected(name, encoded)


@settings(max_examples=1000)
@given(st.sampled_from(NAMES), st.binary(max_size=40))
def test_any_bytes_are_accepted_or_refused_as_google_does(name: str, data: bytes) -> None:
    assert outcome(name, data) == expected(name, data)
