"""
Every exception this package raises, and the table from etcd's words to them.

    EtcdError
    ├── ClientClosed                    the client was closed before or during the call
    ├── Unavailable (attempts)          no endpoint answered
    ├── DeadlineExceeded                (also a TimeoutError) the call's own time ran out
    ├── ProtocolError                   the peer broke the rules of HTTP/2, gRPC or protobuf
    ├── ResponseTooLarge                the answer passed the client's own receive limit
    ├── WatchCanceled (reason)          the server ended a watch for a reason that has no class here
    ├── LockTimeout                     (also a TimeoutError) the lock stayed held by others
    ├── ElectionTimeout                 (also a TimeoutError) others stayed ahead in the election
    ├── SnapshotCorrupt                 a snapshot did not arrive as it was sent
    ├── QueueTimeout                    (also a TimeoutError) there was nothing to claim in a queue
    ├── BarrierTimeout                  (also a TimeoutError) a barrier stayed closed
    ├── BarrierFull                     a double barrier has all its members
    ├── LimitMismatch                   a semaphore is in use with another limit
    ├── TooManyConflicts                others kept changing what an STM transaction relied on
    ├── KeyExists                       the name is taken: a move's target, a barrier that is held
    ├── DecryptionFailed (key, reason)  a value could not be opened
    ├── NoInstance                      no instance of a service can be called
    ├── ConfigError                     a configuration that can't be used
    │   └── ConfigConflict              it was changed by somebody else since
    ├── KeyWornOut                      an encryption key has sealed as many values as is safe
    ├── LeaseLost                       a lease ended while it was being kept alive
    │   ├── LockLost
    │   ├── LeadershipLost
    │   ├── ClaimLost
    │   └── BarrierLost
    └── RpcError (code, message)        the server answered "no"
        ├── RequestError                KeyNotFound DuplicateKey ...
        ├── LimitError                  NoSpace RequestTooLarge TooManyOps TooManyRequests
        ├── RevisionError               Compacted FutureRevision
        ├── LeaseError                  LeaseNotFound LeaseExists LeaseTtlTooLarge
        ├── AuthError                   PermissionDenied AuthFailed InvalidAuthToken ...
        ├── MemberError                 MemberNotFound LearnerNotReady ...
        ├── LeaderError                 NoLeader NotLeader LeaderChanged
        ├── ServerError                 ServerTimeout ServerStopped Corrupt ...
        └── DowngradeError

A class registers the exact texts that etcd sends for it (``api/v3rpc/rpctypes/error.go``); a text that is not
registered becomes a plain `RpcError` with its code, so nothing the server says is ever dropped.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

__all__ = [
    "Attempt",
    "AuthError",
    "AuthFailed",
    "AuthNotEnabled",
    "AuthOldRevision",
    "BarrierFull",
    "BarrierLost",
    "BarrierTimeout",
    "ClaimLost",
    "ClientClosed",
    "ClusterIdMismatch",
    "Compacted",
    "ConfigConflict",
    "ConfigError",
    "Corrupt",
    "DeadlineExceeded",
    "DecryptionFailed",
    "DowngradeError",
    "DuplicateKey",
    "ElectionTimeout",
    "EmptyKey",
    "EtcdError",
    "FutureRevision",
    "InvalidAuthToken",
    "KeyExists",
    "KeyNotFound",
    "KeyWornOut",
    "LeaderChanged",
    "LeaderError",
    "LeadershipLost",
    "LearnerNotReady",
    "LeaseError",
    "LeaseExists",
    "LeaseLost",
    "LeaseNotFound",
    "LeaseTtlTooLarge",
    "LimitError",
    "LimitMismatch",
    "LockLost",
    "LockTimeout",
    "MemberError",
    "MemberExists",
    "MemberNotFound",
    "NoInstance",
    "NoLeader",
    "NoSpace",
    "NotLeader",
    "NotSupportedForLearner",
    "PermissionDenied",
    "ProtocolError",
    "QueueTimeout",
    "RequestError",
    "RequestTooLarge",
    "ResponseTooLarge",
    "RevisionError",
    "RoleExists",
    "RoleNotFound",
    "RpcError",
    "ServerError",
    "ServerStopped",
    "ServerTimeout",
    "SnapshotCorrupt",
    "StatusCode",
    "TooManyConflicts",
    "TooManyOps",
    "TooManyRequests",
    "Unavailable",
    "UserExists",
    "UserNotFound",
    "WatchCanceled",
    "error_for",
    "error_for_cancel_reason",
]


class StatusCode(enum.IntEnum):
    """The status codes of gRPC (``grpc/status.h``)."""

    OK = 0
    CANCELED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a call: the endpoint it went to and why it failed there."""

    endpoint: str
    reason: str


class EtcdError(Exception):
    """
    The root of every error of this package.

    Attributes:
        maybe_applied: True if the call was a write and etcd may have carried it out although it failed.
            Repeating it blindly could apply it twice: read first, or make it conditional.
    """

    maybe_applied: bool = False


class ClientClosed(EtcdError):
    """Raised when the client was closed before the call, or while it was under way."""

    def __init__(self, message: str = "the client is closed") -> None:
        super().__init__(message)


class Unavailable(EtcdError):
    """
    Raised when no endpoint gave an answer.

    Attributes:
        attempts: Every endpoint that was tried and why it failed, in order.
    """

    def __init__(self, attempts: Sequence[Attempt], *, maybe_applied: bool = False) -> None:
        self.attempts: tuple[Attempt, ...] = tuple(attempts)
        self.maybe_applied = maybe_applied
        super().__init__(self.attempts)

    def __str__(self) -> str:
        tried = "; ".join(f"{attempt.endpoint}: {attempt.reason}" for attempt in self.attempts)
        return f"no endpoint answered ({tried or 'none could be tried'}){_caution(self)}"


class DeadlineExceeded(EtcdError, TimeoutError):
    """
    Raised when a call's timeout passed before its answer came.

    Attributes:
        attempts: What had failed until then, if anything.
    """

    def __init__(
        self, message: str = "the deadline passed", *, attempts: Sequence[Attempt] = (), maybe_applied: bool = False
    ) -> None:
        self.attempts: tuple[Attempt, ...] = tuple(attempts)
        self.maybe_applied = maybe_applied
        super().__init__(message)

    def __str__(self) -> str:
        tried = "; ".join(f"{attempt.endpoint}: {attempt.reason}" for attempt in self.attempts)
        return f"{self.args[0]}{f' ({tried})' if tried else ''}{_caution(self)}"


class ProtocolError(EtcdError):
    """Raised when the peer broke the rules of HTTP/2, gRPC or protobuf: is it etcd at all?"""


class ResponseTooLarge(EtcdError):
    """Raised when an answer is larger than the client's ``max_receive_bytes``: ask for less, or raise the limit."""


class WatchCanceled(EtcdError):
    """
    Raised from a watch that the server ended.

    Attributes:
        reason: The server's own words; may be empty.
    """

    def __init__(self, reason: str) -> None:
        self.reason: str = reason
        super().__init__(reason)

    def __str__(self) -> str:
        return f"the server canceled the watch: {self.reason or 'no reason given'}"


class LockTimeout(EtcdError, TimeoutError):
    """Raised when a lock or semaphore could not be had within its timeout; nothing of the attempt stays behind."""


class ElectionTimeout(EtcdError, TimeoutError):
    """Raised when a candidate did not win within its timeout; nothing of the attempt stays behind."""


class QueueTimeout(EtcdError, TimeoutError):
    """Raised when there was nothing to claim in a queue for the timeout; nothing of the attempt stays behind."""


class BarrierTimeout(EtcdError, TimeoutError):
    """Raised when a barrier stayed closed for the timeout; nothing of the attempt stays behind."""


class BarrierFull(EtcdError):
    """Raised when a double barrier has all its members, and until the last of them has left."""


class LimitMismatch(EtcdError):
    """Raised when a semaphore is in use with another limit than the one given."""


class TooManyConflicts(EtcdError):
    """Raised when others changed what an STM transaction relied on at each of its attempts; it changed nothing."""


class KeyExists(EtcdError):
    """Raised when a name is taken: that which a key was to be moved to, or that of a barrier; nothing was changed."""


class NoInstance(EtcdError):
    """Raised when a resolver has no instance of its service to pick; the message says how many are not healthy."""


class ConfigError(EtcdError):
    """Raised when a configuration can't be read as one; the message names the key."""


class ConfigConflict(ConfigError):
    """Raised instead of overwriting what somebody else has written since; nothing was changed."""


class DecryptionFailed(EtcdError):
    """
    Raised when an encrypted value can't be opened: no key for it, changed, moved from another key, or not encrypted.

    Attributes:
        key: The key's full name, namespace included.
        reason: What is wrong with the value; nothing of its content.
    """

    def __init__(self, key: bytes, reason: str) -> None:
        super().__init__(key, reason)
        self.key: bytes = key
        self.reason: str = reason

    def __str__(self) -> str:
        return f"the value of {self.key!r} can't be decrypted: {self.reason}"


class KeyWornOut(EtcdError):
    """Raised instead of sealing more values with one encryption key than is safe: rotate it."""


class SnapshotCorrupt(EtcdError):
    """Raised when a snapshot did not arrive whole and as the server sent it: nothing of it is kept; take another."""


class LeaseLost(EtcdError):
    """Raised when a lease ended (expired or revoked) while this client was keeping it alive."""


class LockLost(LeaseLost):
    """Raised when a lock's (or semaphore's) lease or key was lost while it was held or waited for."""


class LeadershipLost(LeaseLost):
    """Raised when a leader's lease or key was lost during its term."""


class ClaimLost(LeaseLost):
    """Raised when the claim on a queue's item was lost before it was acknowledged: the item is handed out again."""


class BarrierLost(LeaseLost):
    """Raised when a double barrier's member lost its lease or key while it waited or was inside."""


class RpcError(EtcdError):
    """
    The server's answer "no".

    Attributes:
        code: The gRPC status.
        message: The server's exact words.
    """

    advice: ClassVar[str] = ""
    _by_message: ClassVar[dict[str, type[RpcError]]] = {}

    def __init__(self, code: StatusCode, message: str) -> None:
        self.code: StatusCode = code
        self.message: str = message
        super().__init__(code, message)

    def __init_subclass__(cls, *, messages: Sequence[str] = (), advice: str = "") -> None:
        super().__init_subclass__()
        cls.advice = advice or cls.advice
        for message in messages:
            if message in RpcError._by_message:
                raise TypeError(f"two classes claim the message {message!r}")
            RpcError._by_message[message] = cls

    def __str__(self) -> str:
        said = f"{self.message or 'no message'} [{self.code.name}]"
        return f"{said}{f' ({self.advice})' if self.advice else ''}{_caution(self)}"


class RequestError(
    RpcError,
    messages=(
        "etcdserver: value is provided",
        "etcdserver: lease is provided",
        "etcdserver: invalid client api version",
        "etcdserver: invalid sort option",
        "etcdserver: not capable",
        "etcdserver: watch canceled",
        "etcdserver: request canceled",
    ),
):
    """The request itself was not acceptable."""


class EmptyKey(RequestError, messages=["etcdserver: key is not provided"]):
    """Raised when a request named no key."""


class KeyNotFound(RequestError, messages=["etcdserver: key not found"]):
    """Raised where a key must exist: a put that keeps its value or lease, a move."""


class DuplicateKey(RequestError, messages=["etcdserver: duplicate key given in txn request"]):
    """Raised when one transaction would write a key twice."""


class LimitError(RpcError):
    """A limit of the server, or of the client's own settings, was passed."""


class NoSpace(
    LimitError,
    messages=["etcdserver: mvcc: database space exceeded"],
    advice="compact and defragment, then disarm the NOSPACE alarm; or raise etcd's --quota-backend-bytes",
):
    """Raised when etcd's database has reached its quota; reads and deletes still work."""


class RequestTooLarge(
    LimitError,
    messages=["etcdserver: request is too large"],
    advice="the server's limit is --max-request-bytes, the client's max_send_bytes",
):
    """Raised when a request is larger than the server or the client allows; nothing was applied."""


class TooManyOps(
    LimitError,
    messages=["etcdserver: too many operations in txn request"],
    advice="the server's limit is --max-txn-ops; split the work, or pass atomic=False where offered",
):
    """Raised when a transaction has more operations than the server allows (128 unless configured)."""


class TooManyRequests(
    LimitError, messages=["etcdserver: too many requests"], advice="the server is overloaded: slow down and try later"
):
    """Raised when the server's backlog is full; nothing was applied."""


class RevisionError(RpcError):
    """The revision asked for is not to be had."""


class Compacted(RevisionError, messages=["etcdserver: mvcc: required revision has been compacted"]):
    """
    Raised when a revision asked for has been compacted away.

    Attributes:
        compact_revision: The oldest revision still there, where the server told it (it does for watches); else None.
    """

    compact_revision: int | None = None

    @classmethod
    def at(cls, revision: int) -> Compacted:
        """Return the error of a watch whose history before *revision* is gone."""
        error = cls(StatusCode.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted")
        error.compact_revision = revision
        return error


class FutureRevision(RevisionError, messages=["etcdserver: mvcc: required revision is a future revision"]):
    """Raised when a revision asked for does not exist yet."""


class LeaseError(RpcError):
    """A lease request could not be met."""


class LeaseNotFound(LeaseError, messages=["etcdserver: requested lease not found"]):
    """Raised when a lease does not exist: it expired or was revoked."""


class LeaseExists(LeaseError, messages=["etcdserver: lease already exists"]):
    """Raised when a lease is to be granted under an id that is taken."""


class LeaseTtlTooLarge(LeaseError, messages=["etcdserver: too large lease TTL"]):
    """Raised when a lease is asked for more than 9,000,000,000 seconds."""


class AuthError(
    RpcError,
    messages=(
        "etcdserver: root user does not exist",
        "etcdserver: root user does not have root role",
        "etcdserver: user name is empty",
        "etcdserver: role name is empty",
        "etcdserver: permission not given",
        "etcdserver: role is not granted to the user",
        "etcdserver: permission is not granted to the role",
        "etcdserver: invalid auth management",
    ),
):
    """Authentication or authorisation stood in the way."""


class AuthFailed(AuthError, messages=["etcdserver: authentication failed, invalid user ID or password"]):
    """Raised when user and password are not accepted."""


class AuthNotEnabled(AuthError, messages=["etcdserver: authentication is not enabled"]):
    """Raised when a login was tried on a cluster without authentication."""


class InvalidAuthToken(AuthError, messages=["etcdserver: invalid auth token"]):
    """Raised when a token has expired or is unknown to the member."""


class AuthOldRevision(AuthError, messages=["etcdserver: revision of auth store is old"]):
    """Raised when users or roles changed after the token was issued."""


class PermissionDenied(AuthError, messages=["etcdserver: permission denied"]):
    """Raised when the user's roles do not cover the request."""


class UserNotFound(AuthError, messages=["etcdserver: user name not found"]):
    """Raised when a user does not exist."""


class UserExists(AuthError, messages=["etcdserver: user name already exists"]):
    """Raised when a user to be added is already there."""


class RoleNotFound(AuthError, messages=["etcdserver: role name not found"]):
    """Raised when a role does not exist."""


class RoleExists(AuthError, messages=["etcdserver: role name already exists"]):
    """Raised when a role to be added is already there."""


class MemberError(
    RpcError,
    messages=(
        "etcdserver: re-configuration failed due to not enough started members",
        "etcdserver: given member URLs are invalid",
        "etcdserver: can only promote a learner member",
        "etcdserver: too many learner members in cluster",
        "etcdserver: bad leader transferee",
    ),
):
    """A change of the cluster's members was refused."""


class MemberNotFound(MemberError, messages=["etcdserver: member not found"]):
    """Raised when no member has the id."""


class MemberExists(
    MemberError, messages=["etcdserver: member ID already exist", "etcdserver: Peer URLs already exists"]
):
    """Raised when a member with the id or peer URLs is already there."""


class LearnerNotReady(
    MemberError, messages=["etcdserver: can only promote a learner member which is in sync with leader"]
):
    """Raised when a learner is to be promoted before it has caught up."""


class NotSupportedForLearner(MemberError, messages=["etcdserver: rpc not supported for learner"]):
    """Raised by a learner, which serves little more than serializable reads."""


class ClusterIdMismatch(MemberError, messages=["etcdserver: cluster ID mismatch"]):
    """Raised when members of different clusters met."""


class LeaderError(RpcError):
    """The cluster's leadership stood in the way."""


class NoLeader(LeaderError, messages=["etcdserver: no leader"]):
    """Raised when the member sees no leader: it is cut off, or an election is going on."""


class NotLeader(LeaderError, messages=["etcdserver: not leader"]):
    """Raised when a request that only the leader serves reached another member."""


class LeaderChanged(LeaderError, messages=["etcdserver: leader changed"]):
    """Raised when the leader changed during a read."""


class ServerError(RpcError, messages=("etcdserver: unhealthy cluster", "etcdserver: context deadline exceeded")):
    """The server could not do its work."""


class ServerTimeout(
    ServerError,
    messages=(
        "etcdserver: request timed out",
        "etcdserver: request timed out, possibly due to previous leader failure",
        "etcdserver: request timed out, possibly due to connection lost",
        "etcdserver: request timed out, waiting for the applied index took too long",
        "etcdserver: request timed out, leader transfer took too long",  # with the code UNKNOWN
    ),
):
    """Raised when the cluster did not agree in the server's own time (5 s + 2 election timeouts)."""


class ServerStopped(ServerError, messages=["etcdserver: server stopped"]):
    """Raised when the member was shutting down."""


class Corrupt(ServerError, messages=["etcdserver: corrupt cluster"]):
    """Raised when members disagree about their data: stop writing and repair the cluster."""


class DowngradeError(
    RpcError,
    messages=(
        "etcdserver: wrong downgrade target version format",
        "etcdserver: invalid downgrade target version",
        "etcdserver: cluster version not found during downgrade",
        "etcdserver: cluster has a downgrade job in progress",
        "etcdserver: no inflight downgrade job",
    ),
):
    """A downgrade request was refused."""


# grpc-go's own words where a message passes a size limit: rpc_util.go ("received"), and its sending twin.
_TOO_LARGE = re.compile(r"grpc: (received message|trying to send message|message) larger than max")
_NOT_ENOUGH_STARTED = "etcdserver: re-configuration failed due to not enough started members"
# What etcd sends with the code UNKNOWN, and what it sends elsewhere, or ought to. The first four come from the
# maintenance service before 3.6 (server v3rpc/maintenance.go hands the errors of server/auth/store.go on as they are),
# the last is missing in the table of v3rpc/util.go: all are said before anything is done.
_UNTRANSLATED = {
    "auth: user name is empty": (StatusCode.INVALID_ARGUMENT, "etcdserver: user name is empty"),
    "auth: permission denied": (StatusCode.PERMISSION_DENIED, "etcdserver: permission denied"),
    "auth: invalid auth token": (StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token"),
    "auth: revision in header is old": (StatusCode.INVALID_ARGUMENT, "etcdserver: revision of auth store is old"),
    _NOT_ENOUGH_STARTED: (StatusCode.FAILED_PRECONDITION, _NOT_ENOUGH_STARTED),
}
_REASON = re.compile(r"rpc error: code = (\w+) desc = (.*)", re.DOTALL)


def error_for(code: int, message: str) -> RpcError:
    """Return the error for a status that is not OK; codes that gRPC does not know count as UNKNOWN."""
    status = StatusCode(code) if code in StatusCode.__members__.values() else StatusCode.UNKNOWN
    if status is StatusCode.UNKNOWN:
        status, message = _UNTRANSLATED.get(message, (status, message))
    cls = RpcError._by_message.get(message)
    if cls is None:
        cls = RequestTooLarge if _TOO_LARGE.match(message) else RpcError
    return cls(status, message)


def error_for_cancel_reason(reason: str, compact_revision: int = 0) -> EtcdError:
    """
    Return the error of a watch that the server canceled.

    The reason is free text; for refusals it is a whole gRPC error printed by Go:
    ``rpc error: code = PermissionDenied desc = etcdserver: permission denied`` (server ``v3rpc/watch.go``).
    """
    if compact_revision:
        return Compacted.at(compact_revision)
    match = _REASON.fullmatch(reason)
    code, message = (_go_code(match[1]), match[2]) if match else (StatusCode.UNKNOWN, reason)
    if message in RpcError._by_message:
        return error_for(code, message)
    return RpcError(code, message) if match else WatchCanceled(reason)


def _go_code(name: str) -> StatusCode:
    upper = re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper()
    return StatusCode.__members__.get(upper, StatusCode.UNKNOWN)


def _caution(error: EtcdError) -> str:
    return "; the write may have been applied" if error.maybe_applied else ""
