"""What one call has been through on its endpoints, and the error that sums it up."""

from __future__ import annotations

from random import Random
from typing import Final

from etcd_async._protocol.endpoints import Endpoint
from etcd_async._protocol.retry import Decision, Outcome, Retries, classify
from etcd_async._transport.failure import AttemptFailed
from etcd_async._transport.methods import Method
from etcd_async.errors import Attempt, DeadlineExceeded, EtcdError, RpcError, Unavailable
from etcd_async.options import Backoff

PATIENCE: Final = 1.0
"""Seconds that a call waits for a connection to one endpoint while there are others."""
LITTLE: Final = 0.5
"""Seconds too short to be divided between endpoints: what can't be connected to in half of them may be quite well."""


class Call:
    """
    The failed attempts of one call.

    Args:
        method: What is called.
        deadline: Of the whole call, on the caller's clock; None for never.
        repeatable: Whether it may be carried out twice.
        only: The one endpoint that it may go to; None for any.
        endpoints: How many it may go to.
        has_user: Whether a new token can be had.

    Attributes:
        tried: Where it has failed; when it has failed everywhere, the pool alone says where to go.
        reads: Whether it may be under way at several endpoints at once, and given up where it is not answered first.
            Transactions that only read may not: etcd before 3.5.5 can crash when one is cancelled (etcd #14110).
        is_bound: Whether there is one endpoint only that it may go to.
    """

    __slots__ = (
        "_attempts",
        "_endpoints",
        "_is_writing",
        "_retries",
        "deadline",
        "is_bound",
        "method",
        "only",
        "reads",
        "tried",
    )

    def __init__(
        self,
        method: Method,
        deadline: float | None,
        *,
        repeatable: bool,
        only: Endpoint | None,
        endpoints: int,
        has_user: bool,
        backoff: Backoff,
        random: Random,
    ) -> None:
        self.method = method
        self.deadline = deadline
        self.only = only
        self.tried: set[Endpoint] = set()
        self._endpoints = endpoints
        self._is_writing = method.writes and (method.repeatable or not repeatable)
        self.reads = repeatable and not method.writes
        self.is_bound = endpoints == 1
        self._retries = Retries(repeatable, endpoints, has_user and method.needs_token, backoff, random)
        self._attempts: dict[Attempt, None] = {}  # without repeats, in order

    def until(self, now: float) -> float | None:
        """Return when the next attempt must be over."""
        repeatable = self._retries.repeatable
        return attempt_deadline(self.deadline, now, repeatable=repeatable, untried=self._untried)

    def patience(self, now: float) -> float | None:
        """
        Return how many seconds the next attempt may wait for a connection.

        It is more in each round, so that endpoints to which every connection takes long are reached, too.
        """
        if self._endpoints == 1:
            return None
        return patience_within(self.remaining(now), PATIENCE * 2.0 ** min(self._retries.rounds, 16))

    @property
    def _untried(self) -> int:
        return self._endpoints - len(self.tried)

    def remaining(self, now: float) -> float | None:
        """Return the seconds that are left, or None for no limit."""
        return None if self.deadline is None else self.deadline - now

    def add(self, endpoint: Endpoint, reason: str) -> None:
        """Add why an endpoint has not answered to what the final error will tell."""
        self._attempts[Attempt(endpoint.text, reason)] = None

    def failed(self, endpoint: Endpoint, error: EtcdError | AttemptFailed) -> Decision:
        """Count a failed attempt and return what to do next."""
        self._attempts |= dict.fromkeys(_attempts_of(endpoint, error))
        self.tried.add(endpoint)
        return self._retries.decide(outcome_of(error))

    def final(self, error: EtcdError | AttemptFailed) -> EtcdError:
        """Return what to raise: *error* is the last attempt's."""
        maybe_applied = self._is_writing and self._retries.maybe_applied
        if isinstance(error, AttemptFailed):
            return Unavailable(list(self._attempts), maybe_applied=maybe_applied)
        if isinstance(error, DeadlineExceeded):
            attempts = self._attempts | dict.fromkeys(error.attempts)
            return DeadlineExceeded(error.args[0], attempts=list(attempts), maybe_applied=maybe_applied)
        error.maybe_applied = maybe_applied
        return error


def patience_within(timeout: float | None, patience: float = PATIENCE) -> float | None:
    """Return how long to wait for a connection of *timeout* seconds: half, *patience* at most; if it is little, all."""
    if timeout is None:
        return patience
    return min(patience, timeout / 2) if timeout > LITTLE else None


def attempt_deadline(deadline: float | None, now: float, *, repeatable: bool, untried: int) -> float | None:
    """
    Return when an attempt must be over: half of what is left while there are other endpoints to try.

    This is for what changes something, but may be repeated: so an endpoint that swallows everything costs a part of the
    time only. Other writes are never cut short, since they could not be repeated; nor are reads, which after a while
    are asked of another endpoint as well.
    """
    if deadline is None or untried <= 1 or not repeatable:
        return deadline
    return now + (deadline - now) / 2


def outcome_of(error: EtcdError | AttemptFailed) -> Outcome:
    """Return what the end of an attempt says about the request."""
    if isinstance(error, AttemptFailed):
        return _outcome_of_loss(error)
    if isinstance(error, DeadlineExceeded):
        return Outcome.LOST if error.maybe_applied else Outcome.NOT_SENT
    if isinstance(error, RpcError):
        return classify(error)
    return Outcome.FAILED if error.maybe_applied else Outcome.REFUSED


def _outcome_of_loss(error: AttemptFailed) -> Outcome:
    if error.sent:
        return Outcome.LOST
    if error.has_left:
        return Outcome.UNPROCESSED
    return Outcome.DOWN if error.is_down else Outcome.NOT_SENT


def reason_of(error: EtcdError | AttemptFailed) -> str:
    """Return why an attempt failed, in words for people."""
    if isinstance(error, AttemptFailed):
        return error.reason
    return str(error.args[0]) if isinstance(error, DeadlineExceeded) else str(error)


def _attempts_of(endpoint: Endpoint, error: EtcdError | AttemptFailed) -> list[Attempt]:
    known = error.attempts if isinstance(error, DeadlineExceeded) else ()
    return [*known, Attempt(endpoint.text, reason_of(error))]
