"""Which endpoint a call goes to next, which ones are set aside, and when those are to be probed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from etcd_async._protocol.endpoints import Endpoint
from etcd_async._protocol.retry import wait
from etcd_async.options import Backoff

MEMORY: Final = 10.0
"""Seconds that an endpoint must do well until a failure counts as its first again; twice its last wait, if longer."""


@dataclass(frozen=True, slots=True)
class Health:
    """
    What the client thinks of an endpoint.

    Attributes:
        endpoint: Which one.
        is_healthy: False from a failure until it was seen to work.
        failures: How often in a row it was set aside or stayed so after a probe.
        since: When it was set aside, on the client's monotonic clock, or None.
        last_error: Why; the newest reason, or "".
    """

    endpoint: Endpoint
    is_healthy: bool = True
    failures: int = 0
    since: float | None = None
    last_error: str = ""


@dataclass(slots=True)
class _Record:
    """The failures of one endpoint: it is set aside until `back_at` is set."""

    failures: int
    since: float
    probe_at: float
    last_error: str
    wait: float
    back_at: float | None = None


class Pool:
    """
    Hands out endpoints in turn, without those that are set aside: they get calls only if no other is left.

    A failing endpoint is set aside until something has come from it: the answer to a probe, for which the wait grows
    with each failure in a row, or to a call that had nowhere else to go. The failures of many calls at once, as when
    their connection is lost, count as one.

    Attributes:
        endpoints: All of them, in the order they were given.
        has_aside: Whether any is set aside.
        version: Changes with every change of what `health` returns.
    """

    def __init__(self, endpoints: Sequence[Endpoint], *, backoff: Backoff, random: Random) -> None:
        self.endpoints: tuple[Endpoint, ...] = ()
        self.has_aside: bool = False
        self.version: int = 0
        self._backoff = backoff
        self._random = random
        self._records: dict[Endpoint, _Record] = {}
        self._turn: tuple[Endpoint, ...] = ()
        self.replace(endpoints)
        self._next = random.randrange(len(self.endpoints))  # many clients with one list start at different members

    def __len__(self) -> int:
        return len(self.endpoints)

    def replace(self, endpoints: Sequence[Endpoint]) -> None:
        """
        Hand out these from now on; what is known of those that stay is kept.

        Raises:
            ValueError: There are none.
        """
        unique = tuple({endpoint.text: endpoint for endpoint in endpoints}.values())
        if not unique:
            raise ValueError("at least one endpoint is needed")
        self.endpoints = unique
        self._records = {each: record for each, record in self._records.items() if each in unique}
        self._changed()

    def choose(self, excluding: Collection[Endpoint] = ()) -> Endpoint:
        """
        Return the endpoint for the next attempt: in turn, of those not set aside and not in *excluding*.

        If there is none: one that is set aside, the one to be probed next first. If all are in *excluding*, it counts
        for nothing.
        """
        turn = self._turn
        self._next = first = self._next + 1
        if turn and not excluding:
            return turn[first % len(turn)]
        wanted = [endpoint for endpoint in self.endpoints if endpoint not in excluding] or list(self.endpoints)
        healthy = [endpoint for endpoint in wanted if not self.is_aside(endpoint)]
        if healthy:
            return healthy[first % len(healthy)]
        return min(wanted, key=lambda endpoint: self._records[endpoint].probe_at)

    def is_aside(self, endpoint: Endpoint) -> bool:
        """Tell whether *endpoint* is set aside."""
        record = self._records.get(endpoint)
        return record is not None and record.back_at is None

    def failed(self, endpoint: Endpoint, now: float, reason: str) -> None:
        """
        Set an endpoint aside, or keep it there; before it is to be probed again only the reason shown changes.

        One that is not of this pool is no concern of it.
        """
        record = self._records.get(endpoint)
        if endpoint not in self.endpoints:
            return
        if record is None or _is_forgotten(record, now):
            record = self._records[endpoint] = _Record(0, now, now, reason, 0.0)
        if record.back_at is not None:
            record.back_at, record.since, record.probe_at = None, now, now
        record.last_error = reason
        if record.probe_at <= now:
            record.wait = wait(self._backoff, record.failures, self._random)
            record.probe_at = now + record.wait
            record.failures += 1
        self._changed()

    def succeeded(self, endpoint: Endpoint, started: float, now: float) -> None:
        """Take an endpoint back in turn, if what it has answered was *started* after it was set aside."""
        record = self._records.get(endpoint)
        if record is not None and record.back_at is None and started >= record.since:
            record.back_at = now
            self._changed()

    def probe_at(self, endpoint: Endpoint) -> float | None:
        """Return when *endpoint* is to be probed; None if it is not set aside."""
        record = self._records.get(endpoint)
        return None if record is None or record.back_at is not None else record.probe_at

    def health(self) -> tuple[Health, ...]:
        """Return what is known of every endpoint, in the order they were given."""
        return tuple(self._health(endpoint) for endpoint in self.endpoints)

    def _changed(self) -> None:
        self._turn = tuple(endpoint for endpoint in self.endpoints if not self.is_aside(endpoint))
        self.has_aside = len(self._turn) < len(self.endpoints)
        self.version += 1

    def _health(self, endpoint: Endpoint) -> Health:
        record = self._records.get(endpoint)
        if record is None or record.back_at is not None:
            return Health(endpoint)
        return Health(endpoint, False, record.failures, record.since, record.last_error)


def _is_forgotten(record: _Record, now: float) -> bool:
    """Tell whether the endpoint of *record* has done well for long enough to begin anew."""
    return record.back_at is not None and now - record.back_at > max(MEMORY, 2 * record.wait)
