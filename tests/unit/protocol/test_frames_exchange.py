"""Inbox and outbox together, without a network: any cut of what arrives, any windows for what leaves."""

from contextlib import suppress
from itertools import pairwise

import pytest
from hpack import Decoder, Encoder
from hpack.exceptions import HPACKError
from hypothesis import given
from hypothesis import strategies as st

from etcd_async._protocol import frames
from etcd_async._protocol.exchange import Exchange, ExchangeOver
from etcd_async._protocol.frames import ConnectionFault, ErrorCode, FrameReader
from etcd_async._protocol.grpc import Head, MessageReader, prefixed
from etcd_async._protocol.headers import HeadReader
from etcd_async._protocol.inbox import Inbox
from etcd_async._protocol.outbox import Outbox

MIB = 1024 * 1024


class Settings:
    initial_window_size = 65_535
    max_concurrent_streams = 100


class Peer:
    """What the peer allows, set by the test."""

    def __init__(self) -> None:
        self.outbound_flow_control_window = 65_535
        self.max_outbound_frame_size = 16_384
        self.settings = Settings()

    @property
    def remote_settings(self) -> Settings:
        return self.settings


class Recorder(Exchange):
    """An exchange that writes down what it is told."""

    __slots__ = ("reader", "said")

    def __init__(self, message: bytes | None = None) -> None:
        super().__init__(b"\x83", message, None)
        self.said: list[object] = []
        self.reader = MessageReader(MIB)

    @property
    def is_sent(self) -> bool:
        return self.has_ended

    def on_head(self, head: Head, is_last: bool) -> None:
        self.said.append(("head", head.http_status, head.status, head.message, is_last))
        if head.http_status == 500:
            raise ExchangeOver(ValueError("over"))

    def on_data(self, payload: bytes) -> None:
        self.said += self.reader.feed(payload)
        self.spent += self.held
        self.held = 0

    def on_failed(self, error: Exception) -> None:
        self.said.append(type(error))

    def on_lost(self, reason: str, *, is_sent: bool) -> None:
        self.said.append((reason, is_sent))


class Scene:
    """An inbox and an outbox with no connection around them."""

    def __init__(self, streams: int = 0, *, stream_window: int = MIB, connection_window: int = MIB) -> None:
        self.host: list[object] = []
        self.woken = 0
        self.peer = Peer()
        self.outbox = Outbox(
            self.peer, stream_window=stream_window, connection_window=connection_window, wake=self.wake
        )
        self.decoder = Decoder()
        self.inbox = Inbox(self, self.outbox, HeadReader(self.decode))
        self.exchanges = [Recorder(b"request") for _ in range(streams)]
        for exchange in self.exchanges:
            self.outbox.start(exchange)
        self.outbox.next_write()

    def decode(self, block: bytes) -> list[tuple[bytes, bytes]]:
        try:
            return [(bytes(name), bytes(value)) for name, value in self.decoder.decode(block, raw=True)]
        except (HPACKError, IndexError) as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, "not HPACK") from error

    def wake(self) -> None:
        self.woken += 1

    def on_control(self, frame: bytes) -> None:
        self.host.append(frame)

    def on_ping_answered(self) -> None:
        self.host.append("pong")

    def on_goaway(self, last_id: int, code: int, debug: bytes) -> None:
        self.host.append((last_id, code, debug))

    def sent(self) -> list[frames.Frame]:
        return list(FrameReader().feed(self.outbox.next_write()))


GREETING = frames.frame(frames.SETTINGS, 0, 0)


@st.composite
def conversations(draw: st.DrawFn) -> bytes:
    """What a server may say to three calls: blocks with and without the dynamic table, cut, padded, mixed."""
    encoder = Encoder()
    out = [GREETING]
    for _ in range(draw(st.integers(0, 12))):
        stream_id = draw(st.sampled_from([1, 3, 5]))
        kind = draw(st.sampled_from(["head", "split", "data", "end", "reset", "ping", "goaway", "unknown", "error"]))
        if kind in ("head", "split", "end", "error"):
            fields = {
                "end": [("grpc-status", "5"), ("grpc-message", draw(st.sampled_from(["a", "b", "a%20b"])))],
                "error": [(":status", "500")],
            }.get(kind, [(":status", "200"), ("content-type", "application/grpc")])
            block = encoder.encode(fields, huffman=draw(st.booleans()))
            end = frames.END_STREAM if kind == "end" else 0
            if kind == "split":
                cut = draw(st.integers(0, len(block)))
                out.append(frames.frame(frames.HEADERS, end, stream_id, block[:cut]))
                out.append(frames.frame(frames.CONTINUATION, frames.END_HEADERS, stream_id, block[cut:]))
            else:
                out.append(frames.frame(frames.HEADERS, end | frames.END_HEADERS, stream_id, block))
        elif kind == "data":
            body = prefixed(draw(st.binary(max_size=20)))
            out += [frames.frame(frames.DATA, 0, stream_id, piece) for piece in (body[:3], body[3:])]
        elif kind == "reset":
            out.append(frames.rst_stream(stream_id, ErrorCode.REFUSED_STREAM))
        else:
            code = {"ping": frames.PING, "goaway": frames.GOAWAY}.get(kind, 0xFA)
            out.append(frames.frame(code, 0, 0, bytes(8)))
    return b"".join(out)


@given(conversations(), st.lists(st.integers(0, 5000)))
def test_any_cut_of_what_arrives_means_the_same(data: bytes, points: list[int]) -> None:
    whole, cut = Scene(3), Scene(3)
    whole.inbox.receive(data)
    for start, end in pairwise(sorted({0, len(data), *(point % (len(data) + 1) for point in points)})):
        cut.inbox.receive(data[start:end])
    assert [one.said for one in whole.exchanges] == [one.said for one in cut.exchanges]
    assert whole.host == cut.host
    assert whole.outbox.next_write() == cut.outbox.next_write()


@given(st.binary(max_size=300))
def test_no_bytes_do_anything_but_mean_something_or_end_the_connection(data: bytes) -> None:
    scene = Scene(2)
    scene.inbox.receive(GREETING)
    with suppress(ConnectionFault):  # any other exception fails the test
        scene.inbox.receive(data)


@given(
    st.lists(st.integers(0, 60_000), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 6), st.integers(1, 40_000)), max_size=40),
)
def test_windows_are_never_overrun_and_everything_leaves_in_the_end(
    sizes: list[int], grants: list[tuple[int, int]]
) -> None:
    scene = Scene()
    scene.peer.outbound_flow_control_window = connection = 10_000
    scene.peer.settings.initial_window_size = 5_000
    scene.outbox.settings_changed()
    exchanges = [Recorder(bytes(size)) for size in sizes]
    for exchange in exchanges:
        scene.outbox.start(exchange)
    windows: dict[int, int] = {}
    bodies: dict[int, bytes] = {}

    def take() -> None:
        nonlocal connection
        for kind, _, stream_id, payload in scene.sent():
            if kind == frames.HEADERS:
                windows[stream_id] = 5_000
                bodies[stream_id] = b""
            elif kind == frames.DATA:
                windows[stream_id] -= len(payload)
                connection -= len(payload)
                bodies[stream_id] += payload
                assert connection >= 0
                assert windows[stream_id] >= 0

    def grant(stream: int, size: int) -> None:
        nonlocal connection
        stream_id = 2 * stream - 1
        if stream == 0:
            scene.peer.outbound_flow_control_window += size
            connection += size
        elif stream_id in windows:
            windows[stream_id] += size
            assert scene.outbox.window_opened(exchanges[stream - 1], size)

    take()
    for stream, size in grants:
        grant(stream, size)
        take()
    for stream in range(len(sizes) + 1):
        grant(stream, 10**6)
    take()
    take()
    assert [bodies[2 * number + 1] for number in range(len(sizes))] == [prefixed(bytes(size)) for size in sizes]
    assert all(exchange.has_ended for exchange in exchanges)


def test_those_who_wait_for_a_window_take_turns() -> None:
    scene = Scene()
    scene.peer.outbound_flow_control_window = 0
    exchanges = [Recorder(bytes(50_000)) for _ in range(3)]
    for exchange in exchanges:
        scene.outbox.start(exchange)
    scene.sent()
    scene.peer.outbound_flow_control_window = 6 * 16_384
    assert [stream_id for _, _, stream_id, _ in scene.sent()] == [1, 3, 5, 1, 3, 5]


def test_a_new_small_request_takes_its_turn_behind_those_that_wait() -> None:
    scene = Scene()
    scene.peer.outbound_flow_control_window = 0
    scene.outbox.start(Recorder(bytes(50_000)))
    scene.sent()
    scene.outbox.start(Recorder(b"small"))
    scene.peer.outbound_flow_control_window = 16_384
    assert [(kind, stream_id) for kind, _, stream_id, _ in scene.sent()] == [(frames.HEADERS, 3), (frames.DATA, 1)]
    scene.peer.outbound_flow_control_window = 16_384
    sent = [(kind, stream_id, len(payload)) for kind, _, stream_id, payload in scene.sent()]
    assert sent[0] == (frames.DATA, 3, 10)


def test_the_connections_window_is_granted_again_at_half() -> None:
    scene = Scene(1, connection_window=100_000)
    scene.inbox.receive(GREETING)
    for _ in range(3):
        scene.inbox.receive(frames.frame(frames.DATA, 0, 1, b"\0" * 15_000))
    assert scene.sent() == []
    scene.inbox.receive(frames.frame(frames.DATA, 0, 1, b"\0" * 5_000))
    assert scene.sent()[0] == (frames.WINDOW_UPDATE, 0, 0, (50_000).to_bytes(4, "big"))


def test_an_exchange_that_is_over_is_reset_and_told_once() -> None:
    scene = Scene(1)
    scene.inbox.receive(GREETING + frames.frame(frames.HEADERS, frames.END_HEADERS, 1, b"\x8e"))
    assert scene.exchanges[0].said == [("head", 500, None, "", False), ValueError]
    assert scene.sent() == [(frames.RST_STREAM, 0, 1, (8).to_bytes(4, "big"))]
    assert scene.outbox.is_idle


def test_the_first_frame_must_be_settings() -> None:
    for first in (frames.frame(frames.PING, 0, 0, bytes(8)), frames.frame(frames.SETTINGS, frames.ACK, 0)):
        with pytest.raises(ConnectionFault, match="settings"):
            Scene().inbox.receive(first)


def test_what_waits_is_dropped_with_what_the_server_will_not_see_to() -> None:
    scene = Scene(3)
    scene.peer.settings.max_concurrent_streams = 3
    scene.outbox.settings_changed()
    late = Recorder(b"late")
    scene.outbox.start(late)
    assert scene.outbox.drop(above=1) == [*scene.exchanges[1:], late]
    assert list(scene.outbox.open) == [1]
    assert scene.sent() == []


def test_those_who_wait_may_leave_in_any_order_and_others_keep_theirs() -> None:
    scene = Scene()
    scene.peer.settings.max_concurrent_streams = 1
    scene.outbox.settings_changed()
    exchanges = [Recorder(b"%d" % number) for number in range(6)]
    for exchange in exchanges:
        scene.outbox.start(exchange)
    scene.sent()
    for gone in (exchanges[3], exchanges[1], exchanges[5]):
        scene.outbox.close(gone)
    order = []
    for exchange in (exchanges[0], exchanges[2]):
        scene.outbox.close(exchange)
        order += [payload for kind, _, _, payload in scene.sent() if kind == frames.DATA]
    assert order == [prefixed(b"2"), prefixed(b"4")]


def test_leaving_a_long_queue_does_not_take_longer_than_a_short_one() -> None:
    def steps(length: int) -> int:
        """Count the comparisons with other exchanges that leaving from the middle takes."""
        scene = Scene()
        scene.peer.settings.max_concurrent_streams = 0
        scene.outbox.settings_changed()
        exchanges = [Compared(b"") for _ in range(length)]
        for exchange in exchanges:
            scene.outbox.start(exchange)
        Compared.count = 0
        for exchange in exchanges[::-1]:
            scene.outbox.close(exchange)
        assert scene.outbox.is_idle
        return Compared.count

    assert steps(1000) <= 1000 + steps(10) * 100


class Compared(Recorder):
    """Counts how often one is compared with another."""

    __slots__ = ()
    count = 0
    __hash__ = Recorder.__hash__

    def __eq__(self, other: object) -> bool:
        Compared.count += 1
        return self is other
