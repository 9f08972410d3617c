"""
Every call that etcd offers, as one table: its path, its messages, and what repeating it would do.

What is repeatable is etcd's own list (``client/v3/retry.go``), and two more that only read or only log in: AuthStatus
and Authenticate. A watch or keep-alive stream is never repeated as such: its machine knows what to ask again.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from etcd_async._pb import etcdserverpb as pb
from etcd_async._pb import v3electionpb as election
from etcd_async._pb import v3lockpb as lock


class Kind(enum.Enum):
    """Who may say more than one thing."""

    UNARY = "one request, one answer"
    SERVER_STREAM = "one request, many answers"
    DUPLEX = "many requests, many answers"


@dataclass(frozen=True, slots=True)
class Method:
    """
    One call that etcd offers.

    Attributes:
        path: As in the ``:path`` header.
        request: The class of its requests.
        response: The class of its answers.
        kind: Who may say more than one thing.
        repeatable: Carrying it out twice is harmless.
        writes: It changes something, so that it matters whether a failed call was carried out.
        needs_token: It is made as a user, if the client has one.
    """

    path: str
    request: type
    response: type
    kind: Kind
    repeatable: bool
    writes: bool
    needs_token: bool = True


class _Effect(enum.Enum):
    READ = enum.auto()
    REPEATABLE = enum.auto()  # writes, but twice does no more harm than once
    WRITE = enum.auto()


_TABLE: dict[str, Method] = {}

METHODS: Final[Mapping[str, Method]] = MappingProxyType(_TABLE)
"""All of them, by path."""


def _add(method: Method) -> Method:
    _TABLE[method.path] = method
    return method


def _unary(path: str, request: type, response: type, effect: _Effect, *, needs_token: bool = True) -> Method:
    repeatable, writes = effect is not _Effect.WRITE, effect is not _Effect.READ
    return _add(Method(path, request, response, Kind.UNARY, repeatable, writes, needs_token))


def _stream(path: str, request: type, response: type) -> Method:
    return _add(Method(path, request, response, Kind.SERVER_STREAM, repeatable=True, writes=False))


def _duplex(path: str, request: type, response: type) -> Method:
    return _add(Method(path, request, response, Kind.DUPLEX, repeatable=True, writes=False))


RANGE = _unary("/etcdserverpb.KV/Range", pb.RangeRequest, pb.RangeResponse, _Effect.READ)
RANGE_STREAM = _stream("/etcdserverpb.KV/RangeStream", pb.RangeRequest, pb.RangeStreamResponse)
PUT = _unary("/etcdserverpb.KV/Put", pb.PutRequest, pb.PutResponse, _Effect.WRITE)
DELETE_RANGE = _unary("/etcdserverpb.KV/DeleteRange", pb.DeleteRangeRequest, pb.DeleteRangeResponse, _Effect.WRITE)
TXN = _unary("/etcdserverpb.KV/Txn", pb.TxnRequest, pb.TxnResponse, _Effect.WRITE)
COMPACT = _unary("/etcdserverpb.KV/Compact", pb.CompactionRequest, pb.CompactionResponse, _Effect.WRITE)

WATCH = _duplex("/etcdserverpb.Watch/Watch", pb.WatchRequest, pb.WatchResponse)

LEASE_GRANT = _unary("/etcdserverpb.Lease/LeaseGrant", pb.LeaseGrantRequest, pb.LeaseGrantResponse, _Effect.REPEATABLE)
LEASE_REVOKE = _unary(
    "/etcdserverpb.Lease/LeaseRevoke", pb.LeaseRevokeRequest, pb.LeaseRevokeResponse, _Effect.REPEATABLE
)
LEASE_KEEP_ALIVE = _duplex("/etcdserverpb.Lease/LeaseKeepAlive", pb.LeaseKeepAliveRequest, pb.LeaseKeepAliveResponse)
LEASE_TIME_TO_LIVE = _unary(
    "/etcdserverpb.Lease/LeaseTimeToLive", pb.LeaseTimeToLiveRequest, pb.LeaseTimeToLiveResponse, _Effect.READ
)
LEASE_LEASES = _unary("/etcdserverpb.Lease/LeaseLeases", pb.LeaseLeasesRequest, pb.LeaseLeasesResponse, _Effect.READ)

MEMBER_ADD = _unary("/etcdserverpb.Cluster/MemberAdd", pb.MemberAddRequest, pb.MemberAddResponse, _Effect.WRITE)
MEMBER_REMOVE = _unary(
    "/etcdserverpb.Cluster/MemberRemove", pb.MemberRemoveRequest, pb.MemberRemoveResponse, _Effect.WRITE
)
MEMBER_UPDATE = _unary(
    "/etcdserverpb.Cluster/MemberUpdate", pb.MemberUpdateRequest, pb.MemberUpdateResponse, _Effect.WRITE
)
MEMBER_LIST = _unary("/etcdserverpb.Cluster/MemberList", pb.MemberListRequest, pb.MemberListResponse, _Effect.READ)
MEMBER_PROMOTE = _unary(
    "/etcdserverpb.Cluster/MemberPromote", pb.MemberPromoteRequest, pb.MemberPromoteResponse, _Effect.WRITE
)

ALARM = _unary("/etcdserverpb.Maintenance/Alarm", pb.AlarmRequest, pb.AlarmResponse, _Effect.REPEATABLE)
STATUS = _unary("/etcdserverpb.Maintenance/Status", pb.StatusRequest, pb.StatusResponse, _Effect.READ)
DEFRAGMENT = _unary("/etcdserverpb.Maintenance/Defragment", pb.DefragmentRequest, pb.DefragmentResponse, _Effect.WRITE)
HASH = _unary("/etcdserverpb.Maintenance/Hash", pb.HashRequest, pb.HashResponse, _Effect.READ)
HASH_KV = _unary("/etcdserverpb.Maintenance/HashKV", pb.HashKvRequest, pb.HashKvResponse, _Effect.READ)
SNAPSHOT = _stream("/etcdserverpb.Maintenance/Snapshot", pb.SnapshotRequest, pb.SnapshotResponse)
MOVE_LEADER = _unary(
    "/etcdserverpb.Maintenance/MoveLeader", pb.MoveLeaderRequest, pb.MoveLeaderResponse, _Effect.REPEATABLE
)
DOWNGRADE = _unary("/etcdserverpb.Maintenance/Downgrade", pb.DowngradeRequest, pb.DowngradeResponse, _Effect.WRITE)

AUTH_ENABLE = _unary("/etcdserverpb.Auth/AuthEnable", pb.AuthEnableRequest, pb.AuthEnableResponse, _Effect.WRITE)
AUTH_DISABLE = _unary("/etcdserverpb.Auth/AuthDisable", pb.AuthDisableRequest, pb.AuthDisableResponse, _Effect.WRITE)
AUTH_STATUS = _unary("/etcdserverpb.Auth/AuthStatus", pb.AuthStatusRequest, pb.AuthStatusResponse, _Effect.READ)
AUTHENTICATE = _unary(
    "/etcdserverpb.Auth/Authenticate", pb.AuthenticateRequest, pb.AuthenticateResponse, _Effect.READ, needs_token=False
)
USER_ADD = _unary("/etcdserverpb.Auth/UserAdd", pb.AuthUserAddRequest, pb.AuthUserAddResponse, _Effect.WRITE)
USER_GET = _unary("/etcdserverpb.Auth/UserGet", pb.AuthUserGetRequest, pb.AuthUserGetResponse, _Effect.READ)
USER_LIST = _unary("/etcdserverpb.Auth/UserList", pb.AuthUserListRequest, pb.AuthUserListResponse, _Effect.READ)
USER_DELETE = _unary(
    "/etcdserverpb.Auth/UserDelete", pb.AuthUserDeleteRequest, pb.AuthUserDeleteResponse, _Effect.WRITE
)
USER_CHANGE_PASSWORD = _unary(
    "/etcdserverpb.Auth/UserChangePassword",
    pb.AuthUserChangePasswordRequest,
    pb.AuthUserChangePasswordResponse,
    _Effect.WRITE,
)
USER_GRANT_ROLE = _unary(
    "/etcdserverpb.Auth/UserGrantRole", pb.AuthUserGrantRoleRequest, pb.AuthUserGrantRoleResponse, _Effect.WRITE
)
USER_REVOKE_ROLE = _unary(
    "/etcdserverpb.Auth/UserRevokeRole", pb.AuthUserRevokeRoleRequest, pb.AuthUserRevokeRoleResponse, _Effect.WRITE
)
ROLE_ADD = _unary("/etcdserverpb.Auth/RoleAdd", pb.AuthRoleAddRequest, pb.AuthRoleAddResponse, _Effect.WRITE)
ROLE_GET = _unary("/etcdserverpb.Auth/RoleGet", pb.AuthRoleGetRequest, pb.AuthRoleGetResponse, _Effect.READ)
ROLE_LIST = _unary("/etcdserverpb.Auth/RoleList", pb.AuthRoleListRequest, pb.AuthRoleListResponse, _Effect.READ)
ROLE_DELETE = _unary(
    "/etcdserverpb.Auth/RoleDelete", pb.AuthRoleDeleteRequest, pb.AuthRoleDeleteResponse, _Effect.WRITE
)
ROLE_GRANT_PERMISSION = _unary(
    "/etcdserverpb.Auth/RoleGrantPermission",
    pb.AuthRoleGrantPermissionRequest,
    pb.AuthRoleGrantPermissionResponse,
    _Effect.WRITE,
)
ROLE_REVOKE_PERMISSION = _unary(
    "/etcdserverpb.Auth/RoleRevokePermission",
    pb.AuthRoleRevokePermissionRequest,
    pb.AuthRoleRevokePermissionResponse,
    _Effect.WRITE,
)

ELECTION_CAMPAIGN = _unary(
    "/v3electionpb.Election/Campaign", election.CampaignRequest, election.CampaignResponse, _Effect.WRITE
)
ELECTION_PROCLAIM = _unary(
    "/v3electionpb.Election/Proclaim", election.ProclaimRequest, election.ProclaimResponse, _Effect.WRITE
)
ELECTION_LEADER = _unary("/v3electionpb.Election/Leader", election.LeaderRequest, election.LeaderResponse, _Effect.READ)
ELECTION_OBSERVE = _stream("/v3electionpb.Election/Observe", election.LeaderRequest, election.LeaderResponse)
ELECTION_RESIGN = _unary(
    "/v3electionpb.Election/Resign", election.ResignRequest, election.ResignResponse, _Effect.WRITE
)

LOCK_LOCK = _unary("/v3lockpb.Lock/Lock", lock.LockRequest, lock.LockResponse, _Effect.WRITE)
LOCK_UNLOCK = _unary("/v3lockpb.Lock/Unlock", lock.UnlockRequest, lock.UnlockResponse, _Effect.WRITE)
