"""Frames, header blocks and messages: what can be fuzzed without a connection around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection

from etcd_async._protocol import frames
from etcd_async._protocol.frames import ConnectionFault, FrameReader
from etcd_async._protocol.grpc import Head, MessageReader, prefixed, read_head
from etcd_async._protocol.headers import HeadReader
from etcd_async._transport.http2 import Control
from etcd_async.errors import ProtocolError, ResponseTooLarge
from tests.fuzz.source import Source, pieces

MESSAGE_LIMIT = 100


def _outcome(reader: Any, data: Iterable[bytes], *expected: type[Exception]) -> tuple[list[Any], str]:
    """Feed *reader*; return what it gave and, if it refused to go on, why."""
    got: list[Any] = []
    try:
        for piece in data:
            got.extend(reader.feed(piece))
    except expected as error:
        return got, repr(error)
    return got, ""


def fuzz_frames(data: bytes) -> None:
    """Any cut of any bytes gives the same frames, and parts of frames are read or refused."""
    source = Source(data)
    size, data = source.number(40), source.rest()
    whole, cut = FrameReader(), FrameReader()
    found, refusal = _outcome(whole, [data], ConnectionFault)
    assert (found, refusal) == _outcome(cut, pieces(data, size), ConnectionFault)
    assert len(cut.rest) <= frames.MAX_INBOUND_FRAME + 9 or refusal
    if not refusal:
        assert b"".join(frames.frame(*each) for each in found) + whole.rest == _with_no_reserved_bits(data)
    for kind, flags, _, payload in found:
        _read_payload(kind, flags, payload)


def _with_no_reserved_bits(data: bytes) -> bytes:
    out, at = bytearray(data), 0
    while len(data) - at >= 9 and len(data) >= (end := at + 9 + int.from_bytes(data[at : at + 3], "big")):
        out[at + 5] &= 0x7F
        at = end
    return bytes(out)


def _read_payload(kind: int, flags: int, payload: bytes) -> None:
    readers: list[Callable[[], object]] = [
        lambda: frames.unpadded(flags, payload, with_priority=kind == frames.HEADERS),
        lambda: frames.read_goaway(payload),
        lambda: frames.read_word(payload, "fuzzed"),
    ]
    for read in readers:
        try:
            read()
        except ConnectionFault:
            continue


def fuzz_heads(data: bytes) -> None:
    """Blocks that are remembered mean what decoding each anew says; bombs and nonsense end the connection."""
    source = Source(data)
    remembering, plain = HeadReader(_control().decode), _control()
    while not source.is_empty:
        block = source.string()
        try:
            expected = read_head(plain.decode(block))
        except ConnectionFault:
            return
        assert _said(remembering.read(block)) == _said(expected)


def _control() -> Control:
    connection = H2Connection(H2Configuration(client_side=True))
    connection.initiate_connection()
    return Control(connection)


def _said(head: Head) -> list[Any]:
    return [getattr(head, name) for name in Head.__slots__]


def fuzz_messages(data: bytes) -> None:
    """Any cut of any bytes gives the same messages, and nothing over the limit is held."""
    source = Source(data)
    size, data = source.number(40), source.rest()
    whole, cut = MessageReader(MESSAGE_LIMIT), MessageReader(MESSAGE_LIMIT)
    expected = _messages(data)
    in_one, in_pieces = (
        _outcome(reader, cuts, ProtocolError, ResponseTooLarge)
        for reader, cuts in ((whole, [data]), (cut, pieces(data, size)))
    )
    assert in_one[1] == in_pieces[1]
    for found, refusal in (in_one, in_pieces):
        # What came in one piece with what is refused is not handed out.
        assert found == (expected[: len(found)] if refusal else expected)
    if not in_one[1]:
        assert b"".join(map(prefixed, expected)) == data[: len(data) - whole.partial]
        assert whole.partial == cut.partial < MESSAGE_LIMIT + 5


def _messages(data: bytes) -> list[bytes]:
    """Read messages the plain way, up to the first that must be refused or is not whole."""
    found: list[bytes] = []
    while len(data) >= 5 and not data[0]:
        size = int.from_bytes(data[1:5], "big")
        if size > MESSAGE_LIMIT or len(data) < size + 5:
            break
        found.append(data[5 : size + 5])
        data = data[size + 5 :]
    return found
