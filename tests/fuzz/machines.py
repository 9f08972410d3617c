"""The machines of watches and renewals, told anything by the server and by their users in any order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from etcd_async._codec import DecodeError, decode_keep_alive_response, decode_watch_response, encode
from etcd_async._codec.responses import KeepAliveResponse, WatchResponse
from etcd_async._pb.etcdserverpb import WatchCreateRequest
from etcd_async._protocol.keepalive import KeepAlive
from etcd_async._protocol.watch import Watches
from etcd_async.errors import EtcdError
from etcd_async.types import Event, KeyValue
from tests.fuzz.source import Source

REASONS = (
    "",
    "rpc error: code = PermissionDenied desc = etcdserver: permission denied",
    "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token",
    "rpc error: code = nonsense desc =",
    "etcdserver: mvcc: required revision has been compacted",
)
MAX_REQUESTS = 100


class _Session:
    """A machine and its stream: what it wants to send must always be what can be encoded."""

    def __init__(self, machine: Any) -> None:
        self.machine = machine
        self.now = 0.0
        machine.stream_opened(self.now)

    def speak(self) -> None:
        self.now += 0.3
        self.machine.expire(self.now)
        requests = self.machine.to_send(self.now)
        assert len(requests) <= MAX_REQUESTS
        for request in requests:
            encode(request)
        self.machine.next_wakeup()

    def lose(self) -> None:
        self.machine.stream_lost(self.now)
        self.machine.stream_opened(self.now)

    def hear(self, response: Any) -> Sequence[Any]:
        """Pass an answer on; one that can't be is the end of its stream, as in `Duplex`."""
        if response is None:
            return []
        try:
            return self.machine.receive(response, self.now)  # type: ignore[no-any-return]
        except EtcdError:
            self.lose()
            return []


def fuzz_watches(data: bytes) -> None:
    """Nothing that a server says breaks the machine; only known watches are told, and none after its end."""
    source = Source(data)
    machine = Watches(has_user=bool(source.number(2)))
    session = _Session(machine)
    alive: set[int] = set()
    for _ in range(60):
        if source.is_empty:
            break
        act = source.number(16)
        handle = source.number(4)
        if act == 0:
            alive.add(machine.add(WatchCreateRequest(key=b"k", start_revision=source.number() + 1)))
        elif act < 5:
            _CALLS[act - 1](machine, handle)
            alive -= {handle} if act == 1 else set()
        elif act == 5:
            session.lose()
        elif act < 8:
            session.speak()
        elif act == 8:
            machine.orders_progress = not machine.orders_progress
        else:
            response = _decoded(decode_watch_response, source) if act < 11 else _watch_response(source)
            for output in session.hear(response):
                if hasattr(output, "handle"):
                    assert output.handle in alive
                    alive -= {output.handle} if type(output).__name__ == "Failed" else set()
    session.speak()
    assert {output.handle for output in machine.fail_all(EtcdError())} == alive


_CALLS: list[Callable[[Watches, int], object]] = [
    Watches.cancel,
    Watches.pause,
    Watches.resume,
    Watches.request_progress,
]


def _decoded(decode: Callable[[bytes], Any], source: Source) -> Any:
    try:
        return decode(source.string())
    except DecodeError:
        return None


def _watch_response(source: Source) -> WatchResponse:
    flags = source.number()
    base = (0, 2**31, 2**63 - 20, -5)[source.number(4)]
    events = tuple(Event("put", KeyValue(b"k", mod_revision=base + source.number(20))) for _ in range(source.number(4)))
    return WatchResponse(
        revision=base + source.number(20),
        watch_id=source.number(8) - 1,
        created=bool(flags & 1),
        canceled=bool(flags & 2),
        fragment=bool(flags & 4),
        compact_revision=base if flags & 8 else 0,
        cancel_reason=REASONS[flags >> 4 & 3],
        events=events,
    )


def fuzz_renewals(data: bytes) -> None:
    """Nothing that a server says breaks the machine or lengthens a lease beyond what it granted."""
    source = Source(data)
    machine = KeepAlive()
    session = _Session(machine)
    for _ in range(60):
        if source.is_empty:
            break
        act = source.number(8)
        if act == 0:
            machine.add(source.number(4), ttl=source.number() / 8 + 0.1, granted_at=session.now)
        elif act == 1:
            machine.remove(source.number(4))
        elif act == 2:
            session.lose()
        elif act < 5:
            session.speak()
        elif act == 5:
            session.hear(_decoded(decode_keep_alive_response, source))
        else:
            session.hear(KeepAliveResponse(source.number(5), (1, 20, 0, -1, 2**63 - 1)[source.number(5)]))
    session.speak()
    machine.fail_all(EtcdError())
    assert not machine.wants_stream
