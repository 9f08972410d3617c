"""Frames that carry nothing: borne as far as an honest peer can need it, and then no more."""

from itertools import count

import pytest

from etcd_async._protocol import frames
from etcd_async._protocol.floods import PER_READ, PER_STREAM, SPARE, Floods
from etcd_async._protocol.frames import ConnectionFault, ErrorCode
from etcd_async._protocol.grpc import prefixed
from tests.unit.protocol.test_frames_exchange import GREETING, Scene

CLOSED = frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 1, b"\x88")


def scene(streams: int = 2) -> Scene:
    """One whose first stream is over."""
    made = Scene(streams)
    made.inbox.receive(GREETING + CLOSED)
    return made


def borne(made: Scene, frame: bytes, *, at_once: int) -> int:
    """Return how many times *frame* is taken, so many in each read, before the connection ends."""
    reads = count(1)

    def flood() -> None:
        while next(reads):
            made.inbox.receive(frame * at_once)

    with pytest.raises(ConnectionFault, match="flood") as caught:
        flood()
    assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM
    return (next(reads) - 2) * at_once


IDLE = {
    "ping": frames.frame(frames.PING, 0, 0, b"pingping"),
    "ping answers": frames.frame(frames.PING, frames.ACK, 0, b"pingping"),
    "settings": frames.frame(frames.SETTINGS, 0, 0),
    "goodbye": frames.frame(frames.GOAWAY, 0, 0, b"\x7f\xff\xff\xff\0\0\0\0"),
    "empty data": frames.frame(frames.DATA, 0, 3),
    "unknown": frames.frame(0xFA, 0, 3, b"x"),
    "priority": frames.frame(frames.PRIORITY, 0, 3, bytes(5)),
}
LATE = {
    "headers": CLOSED,
    "reset": frames.rst_stream(1, ErrorCode.CANCEL),
    "window": frames.window_update(0, 1),
    "window of a stream": frames.window_update(3, 1),
    "window of a closed stream": frames.window_update(1, 1),
    "empty data of a closed stream": frames.frame(frames.DATA, 0, 1),
    "1xx": frames.frame(frames.HEADERS, frames.END_HEADERS, 3, b"\x08\x03103"),
}


@pytest.mark.parametrize("frame", IDLE.values(), ids=IDLE)
def test_a_flood_of_frames_that_carry_nothing_ends_the_connection(frame: bytes) -> None:
    assert SPARE - 200 < borne(scene(), frame, at_once=100) < SPARE + 300


@pytest.mark.parametrize("frame", IDLE.values(), ids=IDLE)
def test_a_few_with_each_read_never_do(frame: bytes) -> None:
    made = scene()
    for _ in range(20 * SPARE // PER_READ):
        made.inbox.receive(frame * PER_READ)


@pytest.mark.parametrize("frame", LATE.values(), ids=LATE)
def test_a_flood_of_late_frames_or_window_updates_ends_the_connection_however_slow_it_is(frame: bytes) -> None:
    assert SPARE - 100 < borne(scene(), frame, at_once=10) < SPARE + 100


def test_a_peer_may_answer_every_call_that_was_given_up() -> None:
    calls = 20 * SPARE
    made = Scene()
    made.peer.settings.max_concurrent_streams = calls
    made.outbox.settings_changed()
    made = with_calls(made, calls)
    body = frames.frame(frames.DATA, 0, 1, prefixed(b"x"))
    for exchange in made.exchanges:
        made.outbox.close(exchange, ErrorCode.CANCEL)
    made.inbox.receive(GREETING)
    for _ in range(calls):
        made.inbox.receive(CLOSED + body + CLOSED)
        made.outbox.next_write()


def with_calls(made: Scene, calls: int) -> Scene:
    made.exchanges = [type(each)(b"") for each in Scene(1).exchanges for _ in range(calls)]
    for exchange in made.exchanges:
        made.outbox.start(exchange)
    while made.outbox.next_write():
        continue
    return made


def test_frames_with_something_in_them_are_no_flood() -> None:
    made = scene()
    made.inbox.receive(frames.frame(frames.HEADERS, frames.END_HEADERS, 3, b"\x88"))
    for _ in range(20 * SPARE):
        made.inbox.receive(frames.frame(frames.DATA, 0, 3, prefixed(b"x")))
        made.outbox.next_write()


def test_the_allowance_of_late_frames_grows_with_the_streams() -> None:
    floods = Floods()
    for _ in range(SPARE + PER_STREAM * 10):
        floods.late(10)
    with pytest.raises(ConnectionFault, match="streams that are over"):
        floods.late(10)


def test_a_peer_may_open_its_windows_for_each_frame_of_data() -> None:
    made = Scene(stream_window=2**30, connection_window=2**30)
    made.peer.settings.initial_window_size = made.peer.outbound_flow_control_window = 2**30
    made.outbox.settings_changed()
    made.inbox.receive(GREETING)
    pieces = 20 * SPARE
    made.exchanges = [type(Scene(1).exchanges[0])(bytes(pieces * 1000))]
    made.peer.max_outbound_frame_size = 1000
    made.outbox.start(made.exchanges[0])
    while made.outbox.next_write():
        continue
    for _ in range(pieces):
        made.inbox.receive(frames.window_update(0, 1000) + frames.window_update(1, 1000))
