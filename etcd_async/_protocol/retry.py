"""
May a call be tried again, and after how long? Pure: the caller says what happened, the answer is a `Decision`.

What each end of an attempt says about the request (etcd ``server/etcdserver/v3_server.go``, ``v3rpc/interceptor.go``):

    ============ ============================================== ============= =============== =============
    outcome      for instance                                   repeatable    other           maybe applied
    ============ ============================================== ============= =============== =============
    NOT_SENT     connection refused, cut before it was written  again         again           no
    UNPROCESSED  REFUSED_STREAM, above GOAWAY's last stream     again         again           no
    DOWN         refused for longer than a restart takes        once more     once more       no
    NOT_SERVED   no leader                                      again         again           no
    WRONG_MEMBER a learner                                      elsewhere     elsewhere       no
    STALE_TOKEN  invalid auth token, users or roles changed     new token     new token       no
    LOST         connection cut after the bytes had left        again         give up         yes
    UNSURE       timed out in the server, server stopped        again         give up         yes
    FAILED       internal error, unknown error, no space        give up       give up         yes
    REFUSED      any clear "no": not found, compacted ...       give up       give up         no
    ============ ============================================== ============= =============== =============

"Maybe applied" is of writes only; a call that was unsure once stays so, whatever its later attempts say.

Whatever reaches a server once more is paid for from one `Budget` of the whole client, so that a failure that lasts is
not multiplied by repeating.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from random import Random

from etcd_async.errors import (
    AuthOldRevision,
    Corrupt,
    InvalidAuthToken,
    NoLeader,
    NoSpace,
    NotSupportedForLearner,
    RpcError,
    StatusCode,
)
from etcd_async.options import Backoff

MAX_ATTEMPTS = 100  # as etcd's own client: client/v3/options.go defaultUnaryMaxRetries
MAX_STALE = 6
"""
Attempts of one call that may be refused for their token, or for having none. Each but the first has a new one, if there
is a user; where authentication is switched on and off all the time, one in twenty of those is refused again.
"""
MAX_DOWN_ROUNDS = 2
"""How often every endpoint may prove down before a call gives up."""

_USER_EMPTY = "etcdserver: user name is empty"  # the server wants a token and got none
_DROPPED = "raft proposal dropped"  # raft.ErrProposalDropped: without a leader, a member forwards nothing
_UNHEALTHY = "etcdserver: unhealthy cluster"  # refuses a change of members before it begins


class Outcome(enum.Enum):
    """What the end of one attempt says about the request; the table is in the module's docstring."""

    NOT_SENT = "not sent"
    UNPROCESSED = "unprocessed"
    DOWN = "down"
    NOT_SERVED = "not served"
    WRONG_MEMBER = "wrong member"
    STALE_TOKEN = "stale token"
    LOST = "lost"
    UNSURE = "unsure"
    FAILED = "failed"
    REFUSED = "refused"

    @property
    def is_ambiguous(self) -> bool:
        """True if a write that ended so may have been applied."""
        return self in _AMBIGUOUS

    @property
    def has_cost(self) -> bool:
        """True if the attempt has reached a server, so that to repeat it means more work there."""
        return self not in _COSTLESS


_AMBIGUOUS = frozenset({Outcome.LOST, Outcome.UNSURE, Outcome.FAILED})
_COSTLESS = frozenset({Outcome.NOT_SENT, Outcome.DOWN})
_ANY_CALL = frozenset({Outcome.NOT_SENT, Outcome.UNPROCESSED, Outcome.DOWN, Outcome.NOT_SERVED})
_REPEATABLE_CALL = _ANY_CALL | {Outcome.LOST, Outcome.UNSURE}

_BY_CODE = {
    StatusCode.CANCELED: Outcome.UNSURE,
    StatusCode.DEADLINE_EXCEEDED: Outcome.UNSURE,
    StatusCode.UNAVAILABLE: Outcome.UNSURE,
    StatusCode.UNKNOWN: Outcome.FAILED,
    StatusCode.ABORTED: Outcome.FAILED,
    StatusCode.INTERNAL: Outcome.FAILED,
    StatusCode.DATA_LOSS: Outcome.FAILED,
}


def classify(error: RpcError) -> Outcome:
    """Return what a server's error says about the request it answers."""
    if isinstance(error, InvalidAuthToken | AuthOldRevision) or error.message == _USER_EMPTY:
        return Outcome.STALE_TOKEN
    if isinstance(error, NoLeader) or error.message == _DROPPED:
        return Outcome.NOT_SERVED
    if isinstance(error, NotSupportedForLearner):
        return Outcome.WRONG_MEMBER
    if isinstance(error, NoSpace):  # a write that reaches the quota is applied (server ``apply.go`` quotaApplierV3)
        return Outcome.FAILED
    if isinstance(error, Corrupt) or error.message == _UNHEALTHY:  # a corrupt member applies nothing
        return Outcome.REFUSED
    return _BY_CODE.get(error.code, Outcome.REFUSED)


class Action(enum.Enum):
    """What to do after a failed attempt."""

    RETRY = "retry"
    REFRESH_TOKEN = "refresh the token, then retry"
    GIVE_UP = "give up"


@dataclass(frozen=True, slots=True)
class Decision:
    """
    What to do after a failed attempt.

    Attributes:
        action: That.
        delay: After how many seconds.
        has_cost: Whether the budget must pay for it.
    """

    action: Action
    delay: float = 0.0
    has_cost: bool = False


_GIVE_UP = Decision(Action.GIVE_UP)


@dataclass(slots=True)
class Retries:
    """
    What one call has been through; `decide` after each failed attempt says what is next.

    Attributes:
        repeatable: Carrying the call out twice is harmless.
        endpoints: How many there are to go to.
        has_credentials: A new token can be had.
        maybe_applied: One of the attempts may have been carried out.
    """

    repeatable: bool
    endpoints: int
    has_credentials: bool
    backoff: Backoff
    random: Random
    maybe_applied: bool = False
    _attempts: int = 0
    _down: int = 0
    _stale: int = 0

    @property
    def rounds(self) -> int:
        """How often there was an attempt for every endpoint."""
        return self._attempts // self.endpoints

    def decide(self, outcome: Outcome) -> Decision:
        """Count one failed attempt and return what to do next."""
        self._attempts += 1
        self._down += outcome is Outcome.DOWN
        self.maybe_applied |= outcome.is_ambiguous
        if outcome is Outcome.STALE_TOKEN:
            return self._refresh()
        if not self._may_repeat(outcome):
            return _GIVE_UP
        return Decision(Action.RETRY, self._delay(), has_cost=outcome.has_cost)

    def _refresh(self) -> Decision:
        """
        Have the token replaced and try again, a few times: users or roles may change as often.

        Who has nothing to replace tries again with what it has: a member may lag behind, and one that knows its clients
        by their certificates refuses what arrived just before a change of users or roles.
        """
        self._stale += 1
        if self._stale >= MAX_STALE:
            return _GIVE_UP
        if not self.has_credentials:
            return Decision(Action.RETRY, wait(self.backoff, self._stale - 1, self.random))
        delay = wait(self.backoff, self._stale - 2, self.random) if self._stale > 1 else 0.0
        return Decision(Action.REFRESH_TOKEN, delay)

    def _may_repeat(self, outcome: Outcome) -> bool:
        if outcome is Outcome.WRONG_MEMBER:
            return self._attempts < self.endpoints
        if self._attempts >= MAX_ATTEMPTS or self._down >= MAX_DOWN_ROUNDS * self.endpoints:
            return False
        return outcome in (_REPEATABLE_CALL if self.repeatable else _ANY_CALL)

    def _delay(self) -> float:
        rounds, rest = divmod(self._attempts, self.endpoints)
        return 0.0 if rest else wait(self.backoff, rounds - 1, self.random)


def wait(backoff: Backoff, failures: int, random: Random) -> float:
    """Return the seconds to wait after *failures* earlier failures in a row (0 at the first), jitter included."""
    steps = min(failures, 64)  # far past any maximum; keeps the power finite
    plain = min(backoff.initial * backoff.factor**steps, backoff.maximum)
    return plain * (1 + backoff.jitter * random.uniform(-1, 1))


class Budget:
    """
    What the calls of one client may spend together on attempts beyond their first.

    It is full at first, for the calls in flight that a member takes with it. An attempt costs 1, and gets it back if it
    was worth it. Every other answer adds a little, and so does time. With nothing left, calls wait for their turn: so
    under a failure that lasts, servers see the clients' calls and a bounded number beside, but as soon as repeating
    helps again it pays for itself.

    Args:
        size: What there is at most.
        rate: What each second adds.
        share: What each answer adds, if something is missing.

    Attributes:
        is_short: Whether anything is missing.
    """

    def __init__(self, *, size: float = 1000.0, rate: float = 50.0, share: float = 0.1) -> None:
        self.is_short = False
        self._size = self._left = size
        self._rate = rate
        self._share = share
        self._counted_at = 0.0

    def spend(self, now: float) -> bool:
        """Take 1; False if it is not there."""
        if self.is_short:
            self._add((now - self._counted_at) * self._rate)
        self._counted_at = now
        if self._left < 1:
            return False
        self._left -= 1
        self.is_short = True
        return True

    def earn(self) -> None:
        """Count an answer."""
        self._add(self._share)

    def refund(self) -> None:
        """Give back what an attempt has cost that was worth it."""
        self._add(1.0)

    def pause(self, random: Random) -> float:
        """Return after how many seconds to ask again."""
        return 5 / self._rate * (1 + random.random())

    def _add(self, amount: float) -> None:
        self._left = min(self._size, self._left + amount)
        self.is_short = self._left < self._size
