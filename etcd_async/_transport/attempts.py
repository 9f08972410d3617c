"""What one call has been through on its endpoints, and the error that sums it up."""

from __future__ import annotations

from random import Random

from etcd_async._protocol.endpoints import Endpoint
from etcd_async._protocol.retry import Decision, Outcome, Retries, classify
from etcd_async._transport.failure import AttemptFailed
from etcd_async._transport.methods import Method
from etcd_async.errors import Attempt, DeadlineExceeded, EtcdError, RpcError, Unavailable
from etcd_async.options import Backoff


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
    """

    __slots__ = ("_attempts", "_endpoints", "_is_writing", "_retries", "deadline", "method", "only", "tried")

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
        self._retries = Retries(repeatable, endpoints, has_user and method.needs_token, backoff, random)
        self._attempts: dict[Attempt, None] = {}  # without repeats, in order

    def until(self, now: float) -> float | None:
        """Return when the next attempt must be over."""
        untried = self._endpoints - len(self.tried)
        return attempt_deadline(self.deadline, now, repeatable=self._retries.repeatable, untried=untried)

    def remaining(self, now: float) -> float | None:
        """Return the seconds that are left, or None for no limit."""
        return None if self.deadline is None else self.deadline - now

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
            return DeadlineExceeded(error.args[0], attempts=list(self._attempts), maybe_applied=maybe_applied)
        error.maybe_applied = maybe_applied
        return error


def attempt_deadline(deadline: float | None, now: float, *, repeatable: bool, untried: int) -> float | None:
    """
    Return when an attempt must be over: half of what is left while there are other endpoints to try.

    So one that swallows everything costs a part of the time only. A write is never cut short: it could not be repeated.
    """
    if deadline is None or untried <= 1 or not repeatable:
        return deadline
    return now + (deadline - now) / 2


def outcome_of(error: EtcdError | AttemptFailed) -> Outcome:
    """Return what the end of an attempt says about the request."""
    if isinstance(error, AttemptFailed):
        return Outcome.LOST if error.sent else Outcome.DOWN if error.is_down else Outcome.NOT_SENT
    if isinstance(error, DeadlineExceeded):
        return Outcome.LOST if error.maybe_applied else Outcome.NOT_SENT
    if isinstance(error, RpcError):
        return classify(error)
    return Outcome.FAILED if error.maybe_applied else Outcome.REFUSED


def reason_of(error: EtcdError | AttemptFailed) -> str:
    """Return why an attempt failed, in words for people."""
    if isinstance(error, AttemptFailed):
        return error.reason
    return str(error.args[0]) if isinstance(error, DeadlineExceeded) else str(error)


def _attempts_of(endpoint: Endpoint, error: EtcdError | AttemptFailed) -> list[Attempt]:
    known = error.attempts if isinstance(error, DeadlineExceeded) else ()
    return [*known, Attempt(endpoint.text, reason_of(error))]
