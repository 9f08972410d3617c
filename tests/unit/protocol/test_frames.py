"""Frames in and out, however the bytes are cut."""

from itertools import pairwise

import pytest
from hyperframe.frame import Frame, GoAwayFrame, HeadersFrame, RstStreamFrame, WindowUpdateFrame
from hypothesis import given
from hypothesis import strategies as st

from etcd_async._protocol import frames
from etcd_async._protocol.frames import ConnectionFault, ErrorCode, FrameReader

any_frame = st.tuples(
    st.integers(0, 255), st.integers(0, 255), st.integers(0, frames.MAX_STREAM_ID), st.binary(max_size=60)
)


def parsed(data: bytes) -> Frame:
    """Read *data* with another implementation."""
    frame, length = Frame.parse_frame_header(memoryview(data[:9]))
    assert length == len(data) - 9
    frame.parse_body(memoryview(data[9:]))
    return frame


def cut(data: bytes, points: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(point % (len(data) + 1) for point in points)})
    return [data[start:end] for start, end in pairwise(edges)]


@given(st.lists(any_frame, max_size=8), st.lists(st.integers(0, 5000)))
def test_any_cut_of_the_bytes_gives_the_same_frames(sent: list[frames.Frame], points: list[int]) -> None:
    data = b"".join(frames.frame(*one) for one in sent)
    reader = FrameReader()
    assert [frame for piece in cut(data, points) for frame in reader.feed(piece)] == sent
    assert reader.rest == b""


def test_the_reserved_bit_of_a_stream_id_is_ignored() -> None:
    assert list(FrameReader().feed(frames.frame(0, 0, 2**31 + 7))) == [(0, 0, 7, b"")]


def test_an_oversized_frame_is_refused_by_its_header_after_what_came_before() -> None:
    reader = FrameReader()
    good = frames.frame(frames.PING, 0, 0, b"12345678")
    found = reader.feed(good + frames.header(frames.DATA, 0, 1, frames.MAX_INBOUND_FRAME + 1))
    assert next(found) == (frames.PING, 0, 0, b"12345678")
    with pytest.raises(ConnectionFault) as caught:
        next(found)
    assert caught.value.code is ErrorCode.FRAME_SIZE_ERROR


def test_the_largest_frame_allowed_passes() -> None:
    payload = bytes(frames.MAX_INBOUND_FRAME)
    assert list(FrameReader().feed(frames.frame(0, 0, 1, payload))) == [(0, 0, 1, payload)]


def test_small_frames_read_back_with_another_implementation() -> None:
    reset = parsed(frames.rst_stream(5, ErrorCode.CANCEL))
    assert isinstance(reset, RstStreamFrame)
    assert (reset.stream_id, reset.error_code) == (5, 8)
    window = parsed(frames.window_update(7, 1000))
    assert isinstance(window, WindowUpdateFrame)
    assert (window.stream_id, window.window_increment) == (7, 1000)
    bye = parsed(frames.goaway(ErrorCode.PROTOCOL_ERROR, "why"))
    assert isinstance(bye, GoAwayFrame)
    assert (bye.last_stream_id, bye.error_code, bye.additional_data) == (0, 1, b"why")


def test_message_start_is_a_data_frame_that_ends_its_stream_and_a_grpc_prefix() -> None:
    for size in (0, 1, 70_000):
        start = frames.message_start(3, size)
        assert start == frames.header(frames.DATA, frames.END_STREAM, 3, size + 5) + b"\0" + size.to_bytes(4, "big")


@given(st.binary(max_size=200), st.integers(1, 50))
def test_a_long_header_block_goes_on_in_continuations(block: bytes, limit: int) -> None:
    got = list(FrameReader().feed(frames.header_frames(9, block, limit)))
    assert b"".join(payload for _, _, _, payload in got) == block
    assert all(len(payload) <= limit for _, _, _, payload in got)
    assert [kind for kind, _, _, _ in got] == [frames.HEADERS] + [frames.CONTINUATION] * (len(got) - 1)
    assert [flags for _, flags, _, _ in got] == [0] * (len(got) - 1) + [frames.END_HEADERS]


@given(st.binary(max_size=100), st.integers(0, 255), st.booleans())
def test_padding_and_priority_are_taken_off(payload: bytes, padding: int, prioritised: bool) -> None:
    frame = HeadersFrame(1, payload)
    frame.pad_length = padding
    frame.flags.add("PADDED")
    if prioritised:
        frame.flags.add("PRIORITY")
    [(_, flags, _, body)] = FrameReader().feed(frame.serialize())
    assert frames.unpadded(flags, body, with_priority=True) == payload


@pytest.mark.parametrize(
    ("flags", "payload", "code"),
    [
        (frames.PADDED, b"", ErrorCode.FRAME_SIZE_ERROR),
        (frames.PADDED, b"\x01", ErrorCode.PROTOCOL_ERROR),
        (frames.PADDED, b"\x05abcd", ErrorCode.PROTOCOL_ERROR),
        (frames.PADDED | frames.WITH_PRIORITY, b"\x01prio", ErrorCode.PROTOCOL_ERROR),
    ],
)
def test_more_padding_than_payload_is_a_fault(flags: int, payload: bytes, code: ErrorCode) -> None:
    with pytest.raises(ConnectionFault) as caught:
        frames.unpadded(flags, payload, with_priority=True)
    assert caught.value.code is code


def test_padding_may_fill_the_whole_payload() -> None:
    assert frames.unpadded(frames.PADDED, b"\x03\0\0\0") == b""


def test_goaway_is_read_with_its_debug_data() -> None:
    payload = (2**31 + 11).to_bytes(4, "big") + (11).to_bytes(4, "big") + b"too_many_pings"
    assert frames.read_goaway(payload) == (11, 11, b"too_many_pings")
    with pytest.raises(ConnectionFault):
        frames.read_goaway(payload[:7])


def test_words_have_four_bytes() -> None:
    assert frames.read_word(b"\0\0\0\x08", "RST_STREAM") == 8
    with pytest.raises(ConnectionFault, match="RST_STREAM frame of 3 bytes"):
        frames.read_word(b"\0\0\0", "RST_STREAM")


def test_error_codes_are_named_and_unknown_ones_numbered() -> None:
    assert frames.code_name(11) == "ENHANCE_YOUR_CALM"
    assert frames.code_name(77) == "error code 77"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nx: y", "HTTP/1 here: HTTP/1.1 400 Bad Request"),
        (b"\x15\x03\x01\x00\x02\x02\x0a", "expects TLS"),
    ],
)
def test_other_protocols_are_recognised_by_how_they_begin(data: bytes, said: str) -> None:
    assert said in (frames.foreign_greeting(data) or "")
    assert frames.foreign_greeting(frames.frame(frames.SETTINGS, 0, 0)) is None
