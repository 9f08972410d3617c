"""
Which leases to renew, when, and which are lost. A machine in the shape of `machine.Machine`.

    WAITING --a third of the term--> SENT --answer, ttl > 0--> WAITING, a new term from when the renewal was sent
    SENT --no answer for a ninth of the term--> SENT, once more
    SENT --nothing heard for a quarter of what is left--> stalled(): the stream is given up
    SENT --answer, ttl <= 0--> Lost
    SENT --stream_lost()--> WAITING, due at once
    any --end of the term--> Lost

When a renewal stays unanswered the member may have stopped, or forwards it to a leader that has (which takes the
member up to seven seconds, server ``v3_server.go`` LeaseRenew). Either way another stream, best to another member, may
still be in time: so each one gets a quarter of what is left of the term, and with terms too short for that the renewals
begin earlier, to leave time for the election of a leader.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from etcd_async._codec.responses import KeepAliveResponse
from etcd_async._pb.etcdserverpb import LeaseKeepAliveRequest
from etcd_async._protocol.machine import NO_SIGNS, Reopen, Signs
from etcd_async._protocol.timers import Timers
from etcd_async.errors import DeadlineExceeded, EtcdError, LeaseNotFound, PermissionDenied, StatusCode

RENEWALS_PER_TERM = 3  # as etcd's own client: client/v3/lease.go recvKeepAlive
RETRIES_PER_TERM = 9
SHORTEST_RETRY = 0.5  # seconds; etcd's own client repeats every 500 ms: lease.go retryConnWait
ELECTION = 2.0  # seconds that a cluster may be without a leader: twice the default --election-timeout


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
    denials: int = 0  # in a row

    @property
    def renew_after(self) -> float:
        """Seconds into a term; half of what an election leaves of it, if that is sooner than a third."""
        return min(self.ttl / RENEWALS_PER_TERM, max(SHORTEST_RETRY, (self.ttl - ELECTION) / 2))

    @property
    def retry_after(self) -> float:
        return max(SHORTEST_RETRY, self.ttl / RETRIES_PER_TERM)

    def patience(self, since: float) -> float:
        """Return how long a stream may be silent from *since* on."""
        return max(min(SHORTEST_RETRY, self.ttl / 6), (self.expires_at - since) / 4)


class KeepAlive:
    """
    The renewals of every lease kept alive on one stream.

    Args:
        has_user: The client can log in again.

    A term counts from when the renewal was *sent*: the server began it no earlier than that, however late the answer.
    The server answers the renewals of a stream in order (server ``v3rpc/lease.go`` leaseKeepAlive), so the answers of
    one lease belong to its sends in order; a lease that is removed and added again does not inherit them. One that it
    refuses costs the stream (etcd 3.5.35, 3.6 and 3.7 ask for permission to write the lease's keys): the oldest renewal
    in flight is to blame then.
    """

    def __init__(self, *, has_user: bool = False) -> None:
        self._has_user = has_user
        self._leases: dict[int, _Lease] = {}
        self._in_flight: dict[int, deque[float]] = {}  # when each unanswered renewal was sent, on this stream
        self._renewals = Timers()
        self._expiries = Timers()
        self._verdicts = Timers()  # when to look whether a lease's renewal has been unanswered for too long
        self._heard = 0.0
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
        lease = self._leases[lease_id] = _Lease(ttl, granted_at, granted_at + ttl)
        self._renewals.set(lease_id, granted_at + lease.renew_after)
        self._expiries.set(lease_id, lease.expires_at)

    def remove(self, lease_id: int) -> None:
        """Stop renewing a lease; unknown ids are ignored."""
        self._leases.pop(lease_id, None)
        for timers in (self._renewals, self._expiries, self._verdicts):
            timers.discard(lease_id)

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
        self._verdicts.clear()

    def to_send(self, now: float) -> list[LeaseKeepAliveRequest]:
        """Return the renewals due now, the most urgent first, and count them as sent."""
        due = list(self._renewals.take_due(now))
        for lease_id in due:
            self._in_flight.setdefault(lease_id, deque()).append(now)
            self._renewals.set(lease_id, now + self._leases[lease_id].retry_after)
            if lease_id not in self._verdicts:
                self._verdicts.set(lease_id, now + self._leases[lease_id].patience(now))
        return [LeaseKeepAliveRequest(id=lease_id) for lease_id in due]

    def receive(self, response: KeepAliveResponse, now: float) -> list[Renewed | Lost | Reopen]:
        """Take the answer to the oldest renewal in flight of its lease."""
        self._heard = now
        sent_at = self._answered(response.id)
        lease = self._leases.get(response.id)
        if lease is None or sent_at is None or sent_at < lease.granted_at:
            return []
        if response.ttl <= 0:
            return [self._lost(response.id, _gone())]
        if sent_at + response.ttl <= now:  # over before its news came; `expire` says so
            return []
        return self._extended(response.id, lease, sent_at, float(response.ttl))

    def doubts(self, now: float, signs: Signs) -> bool:
        """Return False: a lease has no time to find out why its stream is silent."""
        return False

    def stalled(self, now: float, signs: Signs = NO_SIGNS) -> str | None:
        """Return that the stream is to be given up: a renewal is unanswered, and nothing was heard for too long."""
        for lease_id in self._verdicts.take_due(now):
            since = max(self._heard, signs.stream, self._in_flight[lease_id][0])
            end = since + self._leases[lease_id].patience(since)
            self._verdicts.set(lease_id, end)
            if end <= now:
                return f"a renewal was not answered within {now - since:.3g} s"
        return None

    def blame(self, error: EtcdError) -> list[Renewed | Lost]:
        """Return the end of the lease whose renewal was denied, after a new login if there can be one."""
        oldest = min(self._in_flight.items(), key=lambda item: item[1][0], default=(0, None))[0]
        lease = self._leases.get(oldest)
        if lease is None or not isinstance(error, PermissionDenied):
            return []
        lease.denials += 1
        return [self._lost(oldest, error)] if lease.denials > self._has_user else []

    def expire(self, now: float) -> list[Renewed | Lost]:
        """Return, and forget, the leases whose term has ended."""
        ended = list(self._expiries.take_due(now))
        return [self._lost(lease_id, _unanswered(self._leases[lease_id].ttl)) for lease_id in ended]

    def fail_all(self, error: EtcdError) -> list[Renewed | Lost]:
        """Return, and forget, every lease: none can be renewed any more."""
        return [self._lost(lease_id, error) for lease_id in list(self._leases)]

    def next_wakeup(self) -> float | None:
        """Return when a renewal falls due or was unanswered for long (while there is a stream), or a term ends."""
        times = [self._expiries.next(), self._verdicts.next(), self._renewals.next() if self._is_open else None]
        return min((time for time in times if time is not None), default=None)

    def _answered(self, lease_id: int) -> float | None:
        sends = self._in_flight.get(lease_id)
        if sends is None:
            return None
        sent_at = sends.popleft()
        if not sends:
            del self._in_flight[lease_id]
            self._verdicts.discard(lease_id)
        return sent_at

    def _extended(self, lease_id: int, lease: _Lease, sent_at: float, ttl: float) -> list[Renewed | Lost | Reopen]:
        lease.ttl = ttl
        lease.denials = 0
        lease.expires_at = sent_at + ttl
        self._expiries.set(lease_id, lease.expires_at)
        sends = self._in_flight.get(lease_id)
        earliest = sends[-1] + lease.retry_after if sends else sent_at
        self._renewals.set(lease_id, max(sent_at + lease.renew_after, earliest))
        return [Renewed(lease_id, ttl, lease.expires_at)]

    def _lost(self, lease_id: int, reason: EtcdError) -> Lost:
        self.remove(lease_id)
        return Lost(lease_id, reason)


def _gone() -> LeaseNotFound:
    return LeaseNotFound(StatusCode.NOT_FOUND, "etcdserver: requested lease not found")


def _unanswered(ttl: float) -> DeadlineExceeded:
    return DeadlineExceeded(f"the lease's term of {ttl:g} s ended before a renewal was answered")
