"""What hypothesis makes: messages of any kind, and bytes that once were messages."""

from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import strategies as st

from tests.unit.codec.google import descriptors, google_class

INT_64 = st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(0, 300), st.integers(0, 1 << 35))
UINT_64 = st.one_of(st.integers(0, (1 << 64) - 1), st.integers(0, 300))
SHORT = st.binary(max_size=20)
BYTES = st.one_of(SHORT, st.integers(100, 20_000).map(lambda size: b"x" * size))
SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_BYTES: BYTES,
    FieldDescriptor.TYPE_ENUM: st.one_of(st.integers(0, 5), st.integers(-(1 << 31), (1 << 31) - 1)),
    FieldDescriptor.TYPE_INT64: INT_64,
    FieldDescriptor.TYPE_STRING: st.text(max_size=20),
    FieldDescriptor.TYPE_UINT32: st.integers(0, (1 << 32) - 1),
    FieldDescriptor.TYPE_UINT64: UINT_64,
}


@cache
def messages(name: str) -> st.SearchStrategy[Any]:
    """Messages of google's class."""
    return _contents(descriptors()[name], 4).map(lambda content: google_class(name)(**content))


def _contents(descriptor: Descriptor, depth: int) -> st.SearchStrategy[dict[str, Any]]:
    """Make the keyword arguments of google's class."""
    plain = {
        field.name: _field(field, depth)
        for field in descriptor.fields
        if field.containing_oneof is None and (depth or not field.message_type)
    }
    content = st.fixed_dictionaries({}, optional=plain)
    for oneof in descriptor.oneofs:
        members = [field for field in oneof.fields if depth or not field.message_type]
        chosen = [st.fixed_dictionaries({field.name: _field(field, depth)}) for field in members]
        content = st.builds(lambda one, other: one | other, content, st.one_of(st.just({}), *chosen))
    return content


def _field(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    inner = field.message_type
    single = st.deferred(lambda: _contents(inner, depth - 1)) if inner else SCALARS[field.type]
    return st.lists(single, max_size=3) if field.is_repeated else single


@st.composite
def damaged(draw: st.DrawFn, name: str) -> bytes:
    """Bytes of a message, or of two in a row, after some damage; often they still are a message."""
    data = b"".join(message.SerializeToString() for message in draw(st.lists(messages(name), min_size=1, max_size=2)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        data = draw(st.sampled_from(_DAMAGES))(data, at, draw(SHORT | st.sampled_from(_FIELDS)))
    return data


# Whole fields: unknown ones, a group, a known number with many types, tags longer than need be.
_FIELDS = [b"\xf8\x01\x05", b"\xfa\x01\x02ab", b"\xfd\x01abcd", b"\xf9\x01abcdefgh", b"\xfb\x01\xfc\x01"]
_FIELDS += [
    b"\x08\x05",
    b"\x0a\x01a",
    b"\x0a\x00",
    b"\x12\x00",
    b"\x1a\x02\x08\x01",
    b"\x88\x00\x05",
    b"\x92\x80\x00\x00",
]
_DAMAGES = [
    lambda data, at, extra: data[:at],
    lambda data, at, extra: data[:at] + extra + data[at:],
    lambda data, at, extra: data + extra,
    lambda data, at, extra: extra + data,
    lambda data, at, extra: data[:at] + data[at + 1 :],
    lambda data, at, extra: data[:at] + extra[:1] + data[at + 1 :],
]
