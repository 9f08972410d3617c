"""Any wire message to bytes and back, by the reader and the writer generated for its class."""

from __future__ import annotations

from typing import Any, TypeVar

from etcd_async._codec._generated import READERS, WRITERS
from etcd_async._codec.reading import DEPTH

_Message = TypeVar("_Message")


def encode(message: object) -> bytes:
    """
    Return the bytes of a wire message; fields it was parsed with but that its class does not know are left out.

    Raises:
        TypeError: It is not a wire message, or a field of it holds the wrong type.
        ValueError: A number is out of its field's range, a text is not valid Unicode, or a oneof is set twice.
    """
    write = WRITERS.get(type(message))
    if write is None:
        raise TypeError(f"a wire message is needed, not {type(message).__name__}")
    out: list[bytes] = []
    write(message, out)
    return b"".join(out)


def decode(cls: type[_Message], data: bytes) -> _Message:
    """
    Return the wire message of class *cls* that *data* holds; unknown fields are skipped.

    Raises:
        DecodeError: The bytes are malformed or cut off, or a known field has another type than it should.
        TypeError: *cls* is not the class of a wire message.
    """
    read = READERS.get(cls)
    if read is None:
        raise TypeError(f"the class of a wire message is needed, not {cls!r}")
    message: Any = read(data, 0, len(data), DEPTH, None)
    return message  # type: ignore[no-any-return]  # the table pairs each class with its reader
