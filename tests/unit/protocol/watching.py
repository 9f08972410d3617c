"""What tests of the watch machine say to it, and ask it."""

from etcd_async._codec.responses import WatchResponse
from etcd_async._pb.etcdserverpb import WatchCreateRequest, WatchRequest
from etcd_async._protocol.watch import Watches
from etcd_async._protocol.watch_outputs import Batch
from etcd_async.types import Event, KeyValue

DENIED = "rpc error: code = PermissionDenied desc = etcdserver: permission denied"


def event(revision: int, key: bytes = b"k") -> Event:
    return Event("put", KeyValue(key, mod_revision=revision))


def answer(machine: Watches, wire_id: int, revision: int = 100, now: float = 0.0, **fields: object) -> list[object]:
    response = WatchResponse(revision=revision, watch_id=wire_id, **fields)  # type: ignore[arg-type]
    return list(machine.receive(response, now))


def deliver(machine: Watches, wire_id: int, *revisions: int, fragment: bool = False) -> list[tuple[int, list[int]]]:
    """Answer with events of these revisions; return the handles and revisions that come out."""
    events = tuple(event(revision) for revision in revisions)
    outputs = answer(machine, wire_id, events=events, fragment=fragment)
    assert all(isinstance(output, Batch) for output in outputs)
    batches = [output for output in outputs if isinstance(output, Batch)]
    assert all(batch.revision == batch.events[-1].revision for batch in batches)
    return [(batch.handle, [each.revision for each in batch.events]) for batch in batches]


def refuse(machine: Watches, reason: str) -> list[object]:
    return answer(machine, -1, created=True, canceled=True, cancel_reason=reason)


def add(machine: Watches, key: bytes = b"k", start_revision: int = 11) -> int:
    return machine.add(WatchCreateRequest(key=key, start_revision=start_revision))


def creations(requests: list[WatchRequest]) -> list[WatchCreateRequest]:
    return [request.create_request for request in requests if request.create_request]


def cancellations(requests: list[WatchRequest]) -> list[int]:
    return [request.cancel_request.watch_id for request in requests if request.cancel_request is not None]


def confirmed(machine: Watches) -> list[WatchCreateRequest]:
    """Send what is pending and confirm each creation, the first of which goes alone; return them."""
    sent: list[WatchCreateRequest] = []
    while requests := creations(machine.to_send(0.0)):
        for creation in requests:
            answer(machine, creation.watch_id, 20, created=True)
        sent += requests
    return sent


def created(machine: Watches) -> list[int]:
    """Send what is pending, confirm each creation, and return the ids on the wire."""
    return [creation.watch_id for creation in confirmed(machine)]


def opened() -> Watches:
    machine = Watches()
    machine.stream_opened(0.0)
    return machine


def known() -> Watches:
    """Return a machine whose server has shown that it keeps our ids, with no watch."""
    machine = opened()
    handle = add(machine)
    [wire_id] = created(machine)
    machine.cancel(handle)
    machine.to_send(0.0)
    answer(machine, wire_id, canceled=True)
    return machine


def active(start_revision: int = 11) -> tuple[Watches, int, int]:
    """Return a machine with one created watch, its handle, and its id on the wire."""
    machine = opened()
    handle = add(machine, start_revision=start_revision)
    [wire_id] = created(machine)
    return machine, handle, wire_id


def reopened(machine: Watches) -> list[WatchCreateRequest]:
    machine.stream_lost(0.0)
    machine.stream_opened(0.0)
    return creations(machine.to_send(0.0))


def questions(requests: list[WatchRequest]) -> list[WatchCreateRequest]:
    """Return the knocks among *requests*, each of which goes with a request for progress."""
    asked = [request for request in requests if request.progress_request is not None]
    knocks = [creation for creation in creations(requests) if creation.range_end and creation.range_end < creation.key]
    assert len(asked) == len(knocks)
    return knocks


def knocked(machine: Watches, now: float, *, revision: int) -> list[object]:
    """Send the question that is due and let the server refuse the knock, as it must."""
    [_] = questions(machine.to_send(now))
    reason = "mvcc: watcher range is empty"
    return answer(machine, -1, revision, now, created=True, canceled=True, cancel_reason=reason)
