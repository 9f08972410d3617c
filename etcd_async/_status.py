"""How members stand: what `Maintenance` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from etcd_async._pb import etcdserverpb as pb

__all__ = ["Alarm", "HashKV", "MemberStatus", "alarm_of", "status_of"]

_ALARMS: Final[dict[int, str]] = {pb.AlarmType.NOSPACE: "nospace", pb.AlarmType.CORRUPT: "corrupt"}


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """
    How one member stands, by its own account. What an older etcd does not tell is 0, "" or False.

    Attributes:
        member_id: Its id.
        cluster_id: The id of its cluster.
        version: Of its etcd: ``"3.5.1"``.
        revision: The newest revision that it has.
        leader: The id of the member that it takes for the leader; 0 if it knows none.
        is_learner: It has no vote.
        db_size: Bytes of its database file.
        db_size_in_use: Bytes of them that hold something; `Maintenance.defragment` gives back the others.
        db_size_quota: The size at which it refuses writes; from etcd 3.6 on.
        raft_index: The last entry of its raft log.
        raft_term: Its raft term.
        raft_applied_index: The last entry that it has applied; behind *raft_index* it is catching up.
        storage_version: The version of its database: ``"3.6.0"``; from etcd 3.6 on.
        downgrade_version: The version that the cluster is being downgraded to; "" if it is not. From etcd 3.6 on.
        errors: What it has to complain of: alarms, and that there is no leader.
    """

    member_id: int
    cluster_id: int
    version: str
    revision: int = 0
    leader: int = 0
    is_learner: bool = False
    db_size: int = 0
    db_size_in_use: int = 0
    db_size_quota: int = 0
    raft_index: int = 0
    raft_term: int = 0
    raft_applied_index: int = 0
    storage_version: str = ""
    downgrade_version: str = ""
    errors: tuple[str, ...] = ()

    @property
    def is_leader(self) -> bool:
        """True if it takes itself for the leader."""
        return self.member_id == self.leader


@dataclass(frozen=True, slots=True)
class Alarm:
    """
    An alarm that was raised and not disarmed yet.

    Attributes:
        member_id: Whose it is.
        type: ``"nospace"`` or ``"corrupt"``; of a kind that this client does not know, its number.
    """

    member_id: int
    type: str


@dataclass(frozen=True, slots=True)
class HashKV:
    """
    The hash of one member's keys; members that agree have the same at the same revisions.

    Attributes:
        hash: The hash, of all revisions after *compact_revision* up to *hash_revision*.
        compact_revision: What has been compacted, -1 if nothing; hashes with different ones can't be compared.
        hash_revision: The revision it was asked for, or the newest; from etcd 3.6 on, else 0.
        revision: The newest revision that the member has.
    """

    hash: int
    compact_revision: int = 0
    hash_revision: int = 0
    revision: int = 0


def status_of(wire: pb.StatusResponse) -> MemberStatus:
    """Return what a Status call said."""
    header = wire.header or pb.ResponseHeader()
    downgrade = wire.downgrade_info
    return MemberStatus(
        member_id=header.member_id,
        cluster_id=header.cluster_id,
        version=wire.version,
        revision=header.revision,
        leader=wire.leader,
        is_learner=wire.is_learner,
        db_size=wire.db_size,
        db_size_in_use=wire.db_size_in_use,
        db_size_quota=wire.db_size_quota,
        raft_index=wire.raft_index,
        raft_term=wire.raft_term,
        raft_applied_index=wire.raft_applied_index,
        storage_version=wire.storage_version,
        downgrade_version=downgrade.target_version if downgrade and downgrade.enabled else "",
        errors=tuple(wire.errors),
    )


def alarm_of(wire: pb.AlarmMember) -> Alarm:
    """Return an alarm of the wire."""
    return Alarm(wire.member_id, _ALARMS.get(wire.alarm, str(int(wire.alarm))))
