"""
Which leases to renew, when, and which are lost. A machine in the shape of `machine.Machine`.

    WAITING --a third of the term--> SENT --answer, ttl > 0--> WAITING, a new term from when the renewal was sent
    SENT --no answer for a ninth of the term--> SENT, once more
    SENT --answer, ttl <= 0--> Lost
    SENT --stream_lost()--> WAITING, due at once
    any --end of the term--> Lost
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from etcd_async._codec.responses import KeepAliveResponse
from etcd_async._pb.etcdserverpb import LeaseKeepAliveRequest
from etcd_async._protocol.machine import Reopen
from etcd_async._protocol.timers import Timers
from etcd_async.errors import DeadlineExceeded, EtcdError, LeaseNotFound, StatusCode

RENEWALS_PER_TERM = 3  # as etcd's own client: client/v3/lease.go recvKeepAlive
RETRIES_PER_TERM = 9
SHORTEST_RETRY = 0.5  # seconds; etcd's own client repeats every 500 ms: lease.go retryConnWait


@dataclass(frozen=True, slots=True)
class Renewed:
    """The server extended the lease by *ttl* seconds; it lives until *expires_at* at least."""

    lease_id: int
    ttl: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class Lost:
    """The lease is gone, or its term ended with no answer; *reason* tells which."""

    lease_id: int
    reason: EtcdError


@dataclass(slots=True)
class _Lease:
    ttl: float
    granted_at: float
    expires_at: float

    @property
    def retry_after(self) -> float:
        return max(SHORTEST_RETRY, self.ttl / RETRIES_PER_TERM)


class KeepAlive:
    """
    The renewals of every lease kept alive on one stream.

    A term counts from when the renewal was *sent*: the server began it no earlier than that, however late the answer.
    The server answers the renewals of a stream in order (server ``v3rpc/lease.go`` leaseKeepAlive), so the answers of
    one lease belong to its sends in order; a lease that is removed and added again does not inherit them.
    """

    def __init__(self) -> None:
        self._leases: dict[int, _Lease] = {}
        self._in_flight: dict[int, deque[float]] = {}  # when each unanswered renewal was sent, on this stream
        self._renewals = Timers()
        self._expiries = Timers()
        self._is_open = False

    @property
    def wants_stream(self) -> bool:
        """True while a lease is to be kept alive."""
        return bool(self._leases)

    @property
    def max_answer(self) -> int | None:
        """Answers are all small."""
        return None

    def ask_for_less(self) -> bool:
        """Return False: an answer can't be smaller."""
        return False

    def add(self, lease_id: int, *, ttl: float, granted_at: float) -> None:
        """Keep renewing a lease of *ttl* seconds, granted by a request sent at *granted_at*; replaces the same id."""
        self._leases[lease_id] = _Lease(ttl, granted_at, granted_at + ttl)
        self._renewals.set(lease_id, granted_at + ttl / RENEWALS_PER_TERM)
        self._expiries.set(lease_id, granted_at + ttl)

    def remove(self, lease_id: int) -> None:
        """Stop renewing a lease; unknown ids are ignored."""
        self._leases.pop(lease_id, None)
        self._renewals.discard(lease_id)
        self._expiries.discard(lease_id)

    def expires_at(self, lease_id: int) -> float | None:
        """Return the end of a lease's term as far as it is known, or None if it is not kept alive."""
        lease = self._leases.get(lease_id)
        return None if lease is None else lease.expires_at

    def stream_opened(self, now: float) -> None:
        """Renewals can be sent from now on."""
        self._is_open = True

    def stream_lost(self, now: float) -> None:
        """Make every renewal in flight due again at once."""
        self._is_open = False
        for lease_id in self._in_flight:
            if lease_id in self._leases:
                self._renewals.set(lease_id, now)
        self._in_flight.clear()

    def to_send(self, now: float) -> list[LeaseKeepAliveRequest]:
        """Return the renewals due now, the most urgent first, and count them as sent."""
        due = list(self._renewals.take_due(now))
        for lease_id in due:
            self._in_flight.setdefault(lease_id, deque()).append(now)
            self._renewals.set(lease_id, now + self._leases[lease_id].retry_after)
        return [LeaseKeepAliveRequest(id=lease_id) for lease_id in due]

    def receive(self, response: KeepAliveResponse, now: float) -> list[Renewed | Lost | Reopen]:
        """Take the answer to the oldest renewal in flight of its lease."""
        sent_at = self._answered(response.id)
        lease = self._leases.get(response.id)
        if lease is None or sent_at is None or sent_at < lease.granted_at:
            return []
        if response.ttl <= 0:
            return [self._lost(response.id, _gone())]
        if sent_at + response.ttl <= now:  # over before its news came; `expire` says so
            return []
        return self._extended(response.id, lease, sent_at, float(response.ttl))

    def expire(self, now: float) -> list[Renewed | Lost]:
        """Return, and forget, the leases whose term has ended."""
        ended = list(self._expiries.take_due(now))
        return [self._lost(lease_id, _unanswered(self._leases[lease_id].ttl)) for lease_id in ended]

    def fail_all(self, error: EtcdError) -> list[Renewed | Lost]:
        """Return, and forget, every lease: none can be renewed any more."""
        return [self._lost(lease_id, error) for lease_id in list(self._leases)]

    def next_wakeup(self) -> float | None:
        """Return when a renewal falls due (while there is a stream) or a term ends."""
        expiry = self._expiries.next()
        renewal = self._renewals.next() if self._is_open else None
        return expiry if renewal is None or expiry is None else min(renewal, expiry)

    def _answered(self, lease_id: int) -> float | None:
        sends = self._in_flight.get(lease_id)
        if sends is None:
            return None
        sent_at = sends.popleft()
        if not sends:
            del self._in_flight[lease_id]
        return sent_at

    def _extended(self, lease_id: int, lease: _Lease, sent_at: float, ttl: float) -> list[Renewed | Lost | Reopen]:
        lease.ttl = ttl
        lease.expires_at = sent_at + ttl
        self._expiries.set(lease_id, lease.expires_at)
        sends = self._in_flight.get(lease_id)
        earliest = sends[-1] + lease.retry_after if sends else sent_at
        self._renewals.set(lease_id, max(sent_at + ttl / RENEWALS_PER_TERM, earliest))
        return [Renewed(lease_id, ttl, lease.expires_at)]

    def _lost(self, lease_id: int, reason: EtcdError) -> Lost:
        self.remove(lease_id)
        return Lost(lease_id, reason)


def _gone() -> LeaseNotFound:
    return LeaseNotFound(StatusCode.NOT_FOUND, "etcdserver: requested lease not found")


def _unanswered(ttl: float) -> DeadlineExceeded:
    return DeadlineExceeded(f"the lease's term of {ttl:g} s ended before a renewal was answered")
