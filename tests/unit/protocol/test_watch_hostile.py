"""A watch stream that says what no etcd would: found by fuzzing."""

import pytest

from etcd_async._codec import encode
from etcd_async._codec.responses import WatchResponse
from etcd_async._pb.etcdserverpb import WatchCreateRequest
from etcd_async._protocol.creations import MAX_STRAYS
from etcd_async._protocol.cursor import LAST_REVISION, Cursor
from etcd_async._protocol.watch import Watches
from etcd_async._protocol.watch_outputs import Created
from etcd_async.errors import ProtocolError
from etcd_async.types import Event, KeyValue

NOW = 1.0


def watching() -> Watches:
    """A machine with one watch from revision 5, which the server has begun."""
    machine = Watches()
    machine.add(WatchCreateRequest(key=b"k", start_revision=5))
    machine.stream_opened(NOW)
    [request] = machine.to_send(NOW)
    assert request.create_request is not None
    wire_id = request.create_request.watch_id
    [created] = machine.receive(WatchResponse(watch_id=wire_id, revision=9, created=True), NOW)
    assert isinstance(created, Created)
    return machine


def events(*revisions: int) -> tuple[Event, ...]:
    return tuple(Event("put", KeyValue(b"k", mod_revision=revision)) for revision in revisions)


@pytest.mark.parametrize(
    "response",
    [
        WatchResponse(watch_id=1, events=events(2**63 - 1)),
        WatchResponse(watch_id=1, events=events(7, 6, 4)),
        WatchResponse(watch_id=1, events=events(7, 9, 8)),
        WatchResponse(watch_id=1, events=events(7, -(2**63))),
        WatchResponse(watch_id=1, revision=2**63 - 1),
    ],
)
def test_a_revision_that_cannot_be_ends_the_stream_and_the_watch_resumes(response: WatchResponse) -> None:
    machine = watching()
    with pytest.raises(ProtocolError, match="revision"):
        machine.receive(response, NOW)
    machine.stream_lost(NOW)
    machine.stream_opened(NOW)
    [request] = machine.to_send(NOW)
    assert encode(request)
    assert request.create_request is not None
    assert request.create_request.start_revision == 5


def test_fragments_are_held_to_the_order_of_revisions_too() -> None:
    cursor = Cursor(5)
    assert cursor.take(events(7, 9), is_fragment=True) == events(7)
    with pytest.raises(ProtocolError, match="an event of revision 8 after one of revision 9"):
        cursor.take(events(8, 10), is_fragment=False)


def test_the_last_revision_that_can_be_is_taken() -> None:
    cursor = Cursor(5)
    assert cursor.advance(LAST_REVISION) == LAST_REVISION
    assert cursor.next_revision == 2**63 - 1


def test_a_server_that_invents_watches_is_told_so_a_thousand_times_and_then_left() -> None:
    machine = watching()
    for wire_id in range(100, 100 + MAX_STRAYS):
        assert machine.receive(WatchResponse(watch_id=wire_id, events=events(9)), NOW) == []
    with pytest.raises(ProtocolError, match="never created"):
        machine.receive(WatchResponse(watch_id=2**40, events=events(9)), NOW)
    machine.stream_lost(NOW)
    machine.stream_opened(NOW)
    assert len(machine.to_send(NOW)) == 1
