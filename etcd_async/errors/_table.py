"""Which of etcd's texts arrives as which class, and what becomes of those that are not in the table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from etcd_async.errors._base import EtcdError
from etcd_async.errors._client import WatchCanceled
from etcd_async.errors._server import (
    AuthError,
    AuthFailed,
    AuthNotEnabled,
    AuthOldRevision,
    ClusterIdMismatch,
    Compacted,
    Corrupt,
    DowngradeError,
    DuplicateKey,
    EmptyKey,
    FutureRevision,
    InvalidAuthToken,
    KeyNotFound,
    LeaderChanged,
    LearnerNotReady,
    LeaseExists,
    LeaseNotFound,
    LeaseTtlTooLarge,
    MemberError,
    MemberExists,
    MemberNotFound,
    NoLeader,
    NoSpace,
    NotLeader,
    NotSupportedForLearner,
    PermissionDenied,
    RequestError,
    RequestTooLarge,
    RoleExists,
    RoleNotFound,
    RpcError,
    ServerError,
    ServerStopped,
    ServerTimeout,
    StatusCode,
    TooManyOps,
    TooManyRequests,
    UserExists,
    UserNotFound,
)

# etcd's own names of these are in ``api/v3rpc/rpctypes/error.go``.
TEXTS: Mapping[type[RpcError], Iterable[str]] = {
    RequestError: [
        "etcdserver: value is provided",
        "etcdserver: lease is provided",
        "etcdserver: invalid client api version",
        "etcdserver: invalid sort option",
        "etcdserver: not capable",
        "etcdserver: watch canceled",
        "etcdserver: request canceled",
    ],
    EmptyKey: ["etcdserver: key is not provided"],
    KeyNotFound: ["etcdserver: key not found"],
    DuplicateKey: ["etcdserver: duplicate key given in txn request"],
    NoSpace: ["etcdserver: mvcc: database space exceeded"],
    RequestTooLarge: ["etcdserver: request is too large"],
    TooManyOps: ["etcdserver: too many operations in txn request"],
    TooManyRequests: ["etcdserver: too many requests"],
    Compacted: ["etcdserver: mvcc: required revision has been compacted"],
    FutureRevision: ["etcdserver: mvcc: required revision is a future revision"],
    LeaseNotFound: ["etcdserver: requested lease not found"],
    LeaseExists: ["etcdserver: lease already exists"],
    LeaseTtlTooLarge: ["etcdserver: too large lease TTL"],
    AuthError: [
        "etcdserver: root user does not exist",
        "etcdserver: root user does not have root role",
        "etcdserver: user name is empty",
        "etcdserver: role name is empty",
        "etcdserver: permission not given",
        "etcdserver: role is not granted to the user",
        "etcdserver: permission is not granted to the role",
        "etcdserver: invalid auth management",
    ],
    AuthFailed: ["etcdserver: authentication failed, invalid user ID or password"],
    AuthNotEnabled: ["etcdserver: authentication is not enabled"],
    InvalidAuthToken: ["etcdserver: invalid auth token"],
    AuthOldRevision: ["etcdserver: revision of auth store is old"],
    PermissionDenied: ["etcdserver: permission denied"],
    UserNotFound: ["etcdserver: user name not found"],
    UserExists: ["etcdserver: user name already exists"],
    RoleNotFound: ["etcdserver: role name not found"],
    RoleExists: ["etcdserver: role name already exists"],
    MemberError: [
        "etcdserver: re-configuration failed due to not enough started members",
        "etcdserver: given member URLs are invalid",
        "etcdserver: can only promote a learner member",
        "etcdserver: too many learner members in cluster",
        "etcdserver: bad leader transferee",
    ],
    MemberNotFound: ["etcdserver: member not found"],
    MemberExists: ["etcdserver: member ID already exist", "etcdserver: Peer URLs already exists"],
    LearnerNotReady: ["etcdserver: can only promote a learner member which is in sync with leader"],
    NotSupportedForLearner: ["etcdserver: rpc not supported for learner"],
    ClusterIdMismatch: ["etcdserver: cluster ID mismatch"],
    NoLeader: ["etcdserver: no leader"],
    NotLeader: ["etcdserver: not leader"],
    LeaderChanged: ["etcdserver: leader changed"],
    ServerError: ["etcdserver: unhealthy cluster", "etcdserver: context deadline exceeded"],
    ServerTimeout: [
        "etcdserver: request timed out",
        "etcdserver: request timed out, possibly due to previous leader failure",
        "etcdserver: request timed out, possibly due to connection lost",
        "etcdserver: request timed out, waiting for the applied index took too long",
        "etcdserver: request timed out, leader transfer took too long",  # with the code UNKNOWN
    ],
    ServerStopped: ["etcdserver: server stopped"],
    Corrupt: ["etcdserver: corrupt cluster"],
    DowngradeError: [
        "etcdserver: wrong downgrade target version format",
        "etcdserver: invalid downgrade target version",
        "etcdserver: cluster version not found during downgrade",
        "etcdserver: cluster has a downgrade job in progress",
        "etcdserver: no inflight downgrade job",
    ],
}

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


def by_text(texts: Mapping[type[RpcError], Iterable[str]]) -> dict[str, type[RpcError]]:
    """Turn the table around; a text that stands in two rows is a TypeError."""
    classes: dict[str, type[RpcError]] = {}
    for cls, its_texts in texts.items():
        for text in its_texts:
            if text in classes:
                raise TypeError(f"two classes claim the message {text!r}")
            classes[text] = cls
    return classes


_CLASSES = by_text(TEXTS)


def error_for(code: int, message: str) -> RpcError:
    """Return the error for a status that is not OK; codes that gRPC does not know count as UNKNOWN."""
    status = StatusCode(code) if code in StatusCode.__members__.values() else StatusCode.UNKNOWN
    if status is StatusCode.UNKNOWN:
        status, message = _UNTRANSLATED.get(message, (status, message))
    cls = _CLASSES.get(message)
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
    if message in _CLASSES:
        return error_for(code, message)
    return RpcError(code, message) if match else WatchCanceled(reason)


def _go_code(name: str) -> StatusCode:
    upper = re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper()
    return StatusCode.__members__.get(upper, StatusCode.UNKNOWN)
