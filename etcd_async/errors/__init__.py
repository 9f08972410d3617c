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
    ├── LimitMismatch                   a semaphore or double barrier is in use with another number
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

A table says which class stands for which text of etcd's (``api/v3rpc/rpctypes/error.go``); a text that is not in it
becomes a plain `RpcError` with its code, so nothing the server says is ever dropped.
"""

from etcd_async._home import adopt
from etcd_async.errors._base import EtcdError
from etcd_async.errors._client import (
    Attempt,
    BarrierFull,
    BarrierLost,
    BarrierTimeout,
    ClaimLost,
    ClientClosed,
    ConfigConflict,
    ConfigError,
    DeadlineExceeded,
    DecryptionFailed,
    ElectionTimeout,
    KeyExists,
    KeyWornOut,
    LeadershipLost,
    LeaseLost,
    LimitMismatch,
    LockLost,
    LockTimeout,
    NoInstance,
    ProtocolError,
    QueueTimeout,
    ResponseTooLarge,
    SnapshotCorrupt,
    TooManyConflicts,
    Unavailable,
    WatchCanceled,
)
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
    LeaderError,
    LearnerNotReady,
    LeaseError,
    LeaseExists,
    LeaseNotFound,
    LeaseTtlTooLarge,
    LimitError,
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
    RevisionError,
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
from etcd_async.errors._table import error_for, error_for_cancel_reason

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

adopt(__name__)
