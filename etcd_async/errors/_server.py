"""The errors that the server answers with; which of its texts become which class is said in `_table`."""

import enum
from typing import ClassVar

from etcd_async.errors._base import EtcdError, caution


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


class RpcError(EtcdError):
    """
    The server's answer "no".

    Attributes:
        code: The gRPC status.
        message: The server's exact words.
    """

    advice: ClassVar[str] = ""

    def __init__(self, code: StatusCode, message: str) -> None:
        self.code: StatusCode = code
        self.message: str = message
        super().__init__(code, message)

    def __str__(self) -> str:
        said = f"{self.message or 'no message'} [{self.code.name}]"
        return f"{said}{f' ({self.advice})' if self.advice else ''}{caution(self)}"


class RequestError(RpcError):
    """The request itself was not acceptable."""


class EmptyKey(RequestError):
    """Raised when a request named no key."""


class KeyNotFound(RequestError):
    """Raised where a key must exist: a put that keeps its value or lease, a move."""


class DuplicateKey(RequestError):
    """Raised when one transaction would write a key twice."""


class LimitError(RpcError):
    """A limit of the server, or of the client's own settings, was passed."""


class NoSpace(LimitError):
    """Raised when etcd's database has reached its quota, perhaps by this very write; reads and deletes still work."""

    advice = "compact and defragment, then disarm the NOSPACE alarm; or raise etcd's --quota-backend-bytes"


class RequestTooLarge(LimitError):
    """Raised when a request is larger than the server or the client allows; nothing was applied."""

    advice = "the server's limit is --max-request-bytes, the client's max_send_bytes"


class TooManyOps(LimitError):
    """Raised when a transaction has more operations than the server allows (128 unless configured)."""

    advice = "the server's limit is --max-txn-ops; split the work, or pass atomic=False where offered"


class TooManyRequests(LimitError):
    """Raised when the server's backlog is full; nothing was applied."""

    advice = "the server is overloaded: slow down and try later"


class RevisionError(RpcError):
    """The revision asked for is not to be had."""


class Compacted(RevisionError):
    """
    Raised when a revision asked for has been compacted away.

    Attributes:
        compact_revision: The oldest revision still there, where the server told it (it does for watches); else None.
    """

    compact_revision: int | None = None

    @classmethod
    def at(cls, revision: int) -> "Compacted":
        """Return the error of a watch whose history before *revision* is gone."""
        error = cls(StatusCode.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted")
        error.compact_revision = revision
        return error


class FutureRevision(RevisionError):
    """Raised when a revision asked for does not exist yet."""


class LeaseError(RpcError):
    """A lease request could not be met."""


class LeaseNotFound(LeaseError):
    """Raised when a lease does not exist: it expired or was revoked."""


class LeaseExists(LeaseError):
    """Raised when a lease is to be granted under an id that is taken."""


class LeaseTtlTooLarge(LeaseError):
    """Raised when a lease is asked for more than 9,000,000,000 seconds."""


class AuthError(RpcError):
    """Authentication or authorisation stood in the way."""


class AuthFailed(AuthError):
    """Raised when user and password are not accepted."""


class AuthNotEnabled(AuthError):
    """Raised when a login was tried on a cluster without authentication."""


class InvalidAuthToken(AuthError):
    """Raised when a token has expired or is unknown to the member."""


class AuthOldRevision(AuthError):
    """Raised when users or roles changed after the token was issued."""


class PermissionDenied(AuthError):
    """Raised when the user's roles do not cover the request."""


class UserNotFound(AuthError):
    """Raised when a user does not exist."""


class UserExists(AuthError):
    """Raised when a user to be added is already there."""


class RoleNotFound(AuthError):
    """Raised when a role does not exist."""


class RoleExists(AuthError):
    """Raised when a role to be added is already there."""


class MemberError(RpcError):
    """A change of the cluster's members was refused."""


class MemberNotFound(MemberError):
    """Raised when no member has the id."""


class MemberExists(MemberError):
    """Raised when a member with the id or peer URLs is already there."""


class LearnerNotReady(MemberError):
    """Raised when a learner is to be promoted before it has caught up."""


class NotSupportedForLearner(MemberError):
    """Raised by a learner, which serves little more than serializable reads."""


class ClusterIdMismatch(MemberError):
    """Raised when members of different clusters met."""


class LeaderError(RpcError):
    """The cluster's leadership stood in the way."""


class NoLeader(LeaderError):
    """Raised when the member sees no leader: it is cut off, or an election is going on."""


class NotLeader(LeaderError):
    """Raised when a request that only the leader serves reached another member."""


class LeaderChanged(LeaderError):
    """Raised when the leader changed during a read."""


class ServerError(RpcError):
    """The server could not do its work."""


class ServerTimeout(ServerError):
    """Raised when the cluster did not agree in the server's own time (5 s + 2 election timeouts)."""


class ServerStopped(ServerError):
    """Raised when the member was shutting down."""


class Corrupt(ServerError):
    """Raised when members disagree about their data: stop writing and repair the cluster."""


class DowngradeError(RpcError):
    """A downgrade request was refused."""
