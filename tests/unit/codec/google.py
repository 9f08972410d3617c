"""Google's protobuf (upb) over our own .proto files: the measure of the codec."""

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from grpc_tools import protoc

from etcd_async import wire

PROTO = Path(__file__).parents[3] / "proto"


@cache
def files() -> FileDescriptorSet:
    """Our files, compiled now."""
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory, "set.bin")
        sources = sorted(str(path) for path in PROTO.glob("*.proto"))
        assert protoc.main(["protoc", f"-I{PROTO}", f"--descriptor_set_out={target}", *sources]) == 0
        return FileDescriptorSet.FromString(target.read_bytes())


@cache
def descriptors() -> dict[str, Descriptor]:
    """Every message of ours by its full name."""
    pool = DescriptorPool()
    for file in files().file:
        pool.Add(file)
    names = [f"{file.package}.{message.name}" for file in files().file for message in file.message_type]
    return {name: pool.FindMessageTypeByName(name) for name in names}


NAMES = sorted(descriptors())


def google_class(name: str) -> Any:
    """Google's class of a message."""
    return message_factory.GetMessageClass(descriptors()[name])


def our_class(name: str) -> Any:
    """Our class of a message or an enum; betterproto2 writes `HashKvRequest` for `HashKVRequest`."""
    return _EXPORTED["".join(name.split(".")[1:]).lower()]


_EXPORTED = {name.lower(): getattr(wire, name) for name in wire.__all__}


def attribute(field: FieldDescriptor) -> str:
    """Our name of a field: `peer_urls` for `peerURLs`."""
    message = field.containing_type
    assert message
    return str(our_class(message.full_name)._betterproto.field_name_by_number[field.number])


def to_ours(message: Any) -> Any:
    """Our message with the content of one of google's."""
    descriptor = message.DESCRIPTOR
    values = {attribute(field): _value(message, field) for field in descriptor.fields}
    return our_class(descriptor.full_name)(**values)


def _value(message: Any, field: FieldDescriptor) -> Any:
    value = getattr(message, field.name)
    if field.is_repeated:
        return [_single(element, field) for element in value]
    if field.has_presence and not message.HasField(field.name):
        return None
    return _single(value, field)


def _single(value: Any, field: FieldDescriptor) -> Any:
    return to_ours(value) if field.message_type else value


def parse(name: str, data: bytes) -> Any:
    """Parse with google's parser and return our message; None where it refuses the bytes."""
    try:
        return to_ours(google_class(name).FromString(data))
    except DecodeError:
        return None


# Ours is stricter than google's in three points. Google skips a known field that comes with another wire type, and then
# it reads as its default: a revision of 0, a put without its value. It skips groups, which proto3 does not have. And it
# refuses field number 0 in all messages but those without fields, where it skips it. No etcd sends any of these; what
# does is not speaking this protocol, and to guess on would give wrong answers.
def is_refused_by_us_only(descriptor: Descriptor, data: bytes) -> bool:
    """Tell whether bytes that google accepts hold a group, a number 0, or a known field of another wire type."""
    p = 0
    while p < len(data):
        tag, p = _varint(data, p)
        field = descriptor.fields_by_number.get(tag >> 3)
        kind = tag & 7
        if kind in (3, 4) or tag < 8 or (field and kind not in _wire_types(field)):
            return True
        start, p = _extent(data, p, kind)
        if field and field.message_type and is_refused_by_us_only(field.message_type, data[start:p]):
            return True
    return False


def split(data: bytes) -> list[bytes]:
    """Cut a message into its fields, tags included."""
    parts, p = [], 0
    while p < len(data):
        began, (tag, p) = p, _varint(data, p)
        p = _extent(data, p, tag & 7)[1]
        parts.append(data[began:p])
    return parts


def _wire_types(field: FieldDescriptor) -> set[int]:
    if field.type in (FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE):
        return {2}
    return {0, 2} if field.is_repeated else {0}


def _extent(data: bytes, p: int, kind: int) -> tuple[int, int]:
    if kind == 2:
        size, p = _varint(data, p)
        return p, p + size
    return p, _varint(data, p)[1] if kind == 0 else p + {1: 8, 5: 4}[kind]


def _varint(data: bytes, p: int) -> tuple[int, int]:
    stop = next(index for index in range(p, len(data)) if data[index] < 128) + 1
    return sum((byte & 127) << 7 * index for index, byte in enumerate(data[p:stop])), stop
