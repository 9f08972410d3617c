"""A field of a message as generated code sees it: its names, its tags, and the lines that read and write it."""

from collections.abc import Iterator
from dataclasses import dataclass

from betterproto2_compiler.compile.naming import pythonize_class_name, pythonize_field_name
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto

# By protobuf type: the primitive's name, the Python type and its default.
SCALARS = {
    FieldDescriptorProto.TYPE_BOOL: ("bool", "bool", "False"),
    FieldDescriptorProto.TYPE_BYTES: ("bytes", "bytes", 'b""'),
    FieldDescriptorProto.TYPE_INT64: ("int64", "int", "0"),
    FieldDescriptorProto.TYPE_STRING: ("str", "str", '""'),
    FieldDescriptorProto.TYPE_UINT32: ("uint32", "int", "0"),
    FieldDescriptorProto.TYPE_UINT64: ("uint64", "int", "0"),
}
DELIMITED = (FieldDescriptorProto.TYPE_BYTES, FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.TYPE_MESSAGE)


def fields(descriptor: DescriptorProto) -> "list[Field]":
    """The fields of a message in the order in which they are written."""
    return [Field(descriptor, field) for field in sorted(descriptor.field, key=lambda field: field.number)]


def zero(enum: str) -> str:
    """The name of the constant for an enum's default."""
    return "_" + pythonize_field_name(enum.rpartition(".")[2]).upper() + "_0"


def class_path(type_name: str) -> str:
    """`etcdserverpb.RangeRequestSortOrder` for `.etcdserverpb.RangeRequest.SortOrder`."""
    _, package, *names = type_name.split(".")
    return f"{package}.{pythonize_class_name(''.join(names))}"


def function_name(path: str) -> str:
    """`range_request` for `etcdserverpb.RangeRequest`."""
    return pythonize_field_name(path.rpartition(".")[2])


def varint(value: int) -> bytes:
    """The number as a varint."""
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


@dataclass(frozen=True)
class Field:
    """One field of a message, in Python's terms."""

    message: DescriptorProto
    descriptor: FieldDescriptorProto

    @property
    def name(self) -> str:
        """The attribute."""
        return pythonize_field_name(self.descriptor.name)

    @property
    def title(self) -> str:
        """What errors call it."""
        return f"{pythonize_class_name(self.message.name)}.{self.name}"

    @property
    def is_message(self) -> bool:
        """True if it holds messages."""
        return self.descriptor.type == FieldDescriptorProto.TYPE_MESSAGE

    @property
    def is_enum(self) -> bool:
        """True if it holds an enum's numbers."""
        return self.descriptor.type == FieldDescriptorProto.TYPE_ENUM

    @property
    def is_repeated(self) -> bool:
        """True if it is a list."""
        return self.descriptor.label == FieldDescriptorProto.LABEL_REPEATED

    @property
    def path(self) -> str:
        """The class of its messages or enum."""
        return class_path(self.descriptor.type_name) if self.descriptor.type_name else ""

    @property
    def primitive(self) -> str:
        """What its reader and writer are called after `read_` and `write_`, unless it holds messages."""
        return "int32" if self.is_enum else SCALARS[self.descriptor.type][0]

    @property
    def is_packed(self) -> bool:
        """True if all elements share one tag."""
        return self.is_repeated and self.descriptor.type not in DELIMITED

    @property
    def group(self) -> int | None:
        """The index of its oneof."""
        return self.descriptor.oneof_index if self.descriptor.HasField("oneof_index") else None

    @property
    def rivals(self) -> list[str]:
        """The other members of its oneof."""
        if self.group is None:
            return []
        group = [other for other in fields(self.message) if other.group == self.group]
        return [other.name for other in group if other.name != self.name]

    def tag(self, wire_type: int) -> bytes:
        """The tag as it is written."""
        return varint(self.descriptor.number << 3 | wire_type)

    @property
    def tags(self) -> list[bytes]:
        """The tags it may come with; the first is the one that is written."""
        element = self.tag(2 if self.descriptor.type in DELIMITED else 0)
        return [self.tag(2), element] if self.is_packed else [element]

    @property
    def declaration(self) -> str:
        """Its local variable, at its default."""
        if self.is_repeated:
            return f"{self.name}: list[{self.path or SCALARS[self.descriptor.type][1]}] = []"
        if self.is_message:
            return f"{self.name}: {self.path} | None = None"
        kind, default = (self.path, zero(self.path)) if self.is_enum else SCALARS[self.descriptor.type][1:]
        return f"{self.name}: {kind} | None = None" if self.rivals else f"{self.name}: {kind} = {default}"

    def reading(self) -> Iterator[str]:
        """The lines that read it where it comes next."""
        if self.is_packed:
            yield from self._reading_packed(self.tags[0])
        tag = self.tags[-1]
        yield f"    {'while' if self.is_repeated else 'if'} {_follows(tag)}:"
        if self.is_message:
            yield f"        start, p = read_span(buf, p + {len(tag)}, end)"
            base = "None" if self.is_repeated else self.name
            value = f"read_{function_name(self.path)}(buf, start, p, depth - 1, {base})"
        else:
            value = f"{self.path}(number)" if self.is_enum else "element" if self.is_repeated else self.name
            into = "number" if self.is_enum else value
            yield f"        {into}, p = read_{self.primitive}(buf, p + {len(tag)}, end)"
        if self.is_repeated:
            yield f"        {self.name}.append({value})"
        elif value != self.name:
            yield f"        {self.name} = {value}"
        if self.rivals:
            yield f"        {' = '.join(self.rivals)} = None"

    def _reading_packed(self, tag: bytes) -> Iterator[str]:
        into, value = ("number", f"{self.path}(number)") if self.is_enum else ("element", "element")
        yield f"    while {_follows(tag)}:"
        yield f"        p, stop = read_span(buf, p + {len(tag)}, end)"
        yield "        while p < stop:"
        yield f"            {into}, p = read_{self.primitive}(buf, p, stop)"
        yield f"            {self.name}.append({value})"

    def writing(self) -> Iterator[str]:
        """The lines that write it if it is set."""
        if self.is_message:
            call = f"write_message(out, {self.tags[0]!r}, value, {self.path}, write_{function_name(self.path)}"
        else:
            call = f"write_{'packed_' * self.is_packed}{self.primitive}(out, {self.tags[0]!r}, value"
        yield f"    value = message.{self.name}"
        if self.is_repeated and not self.is_packed:
            yield f'    for value in elements(value, "{self.title}"):'
        elif self.is_message or self.rivals:
            yield "    if value is not None:"
        else:
            kind = "int" if self.is_enum else SCALARS[self.descriptor.type][1]
            yield f"    if value or not isinstance(value, {'list' if self.is_repeated else kind}):"
        yield f'        size += {call}, "{self.title}")'


def _follows(tag: bytes) -> str:
    """The condition that a tag comes next."""
    return f"p < end and buf[p] == {tag[0]:#04x}" if len(tag) == 1 else f"buf.startswith({tag!r}, p, end)"


def number(tag: bytes) -> int:
    """The number that a varint stands for."""
    return sum((byte & 127) << 7 * index for index, byte in enumerate(tag))
