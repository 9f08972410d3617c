"""Keeping servers in order: status, alarms, defragmentation, hashes, leadership, downgrades and snapshots."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from typing import Any, Literal, TypeAlias, get_args

from etcd_async import _leader, _snapshot_stream, ops
from etcd_async._call import call
from etcd_async._core import Core
from etcd_async._pb import etcdserverpb as pb
from etcd_async._protocol.endpoints import Endpoint
from etcd_async._snapshot import Snapshot, SnapshotChunk
from etcd_async._snapshot_file import Progress, save
from etcd_async._status import Alarm, HashKV, MemberStatus, alarm_of, status_of
from etcd_async._transport import methods
from etcd_async.options import CLIENT_DEFAULT, DEFAULT_DEFRAGMENT_TIMEOUT, Timeout

__all__ = [
    "Alarm",
    "AlarmType",
    "DowngradeAction",
    "HashKV",
    "Maintenance",
    "MemberStatus",
    "Progress",
    "Snapshot",
    "SnapshotChunk",
]

AlarmType: TypeAlias = Literal["nospace", "corrupt"]
"""The database of a member has reached its quota; or it differs from the others'."""

DowngradeAction: TypeAlias = Literal["validate", "enable", "cancel"]
"""What may be asked of a downgrade."""

_GET, _DEACTIVATE = pb.AlarmRequestAlarmAction.GET, pb.AlarmRequestAlarmAction.DEACTIVATE


class Maintenance:
    """
    Work on the servers themselves; ``client.maintenance``. With authentication on, most of it needs the root role.

    Where an *endpoint* may be named it is spelled as for `Client`, and that server alone is asked; it may be one of the
    client's own or any other, such as one of `Member.client_urls`.
    """

    def __init__(self, core: Core) -> None:
        self._core = core

    async def status(self, endpoint: str | None = None, *, timeout: Timeout = CLIENT_DEFAULT) -> MemberStatus:
        """Tell how the member at *endpoint* stands, or one of the client's: its ``member_id`` says which."""
        answer = await self._call(methods.STATUS, pb.StatusRequest(), timeout, self._named(endpoint))
        return status_of(answer)

    async def alarms(self, *, timeout: Timeout = CLIENT_DEFAULT) -> list[Alarm]:
        """Return the alarms of all members that have not been disarmed."""
        return [alarm_of(each) for each in await self._alarms(self._core.seconds(timeout))]

    async def disarm(
        self,
        member_id: int | None = None,
        alarm: AlarmType | None = None,
        *,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> list[Alarm]:
        """
        Disarm alarms, once their cause is gone, and return those that were.

        Args:
            member_id: Only alarms of this member; None for those of any.
            alarm: Only alarms of this type; None for both.
            timeout: Seconds for each call, one to list them and one for each alarm; None for no limit.
        """
        ops.optional(member_id, "member_id", 1)
        if alarm is not None and alarm not in get_args(AlarmType):
            raise ValueError(f"alarm must be one of {', '.join(get_args(AlarmType))}, not {alarm!r}")
        seconds = self._core.seconds(timeout)
        disarmed = []
        for raised in await self._alarms(seconds):
            known = alarm_of(raised)
            if member_id in (None, known.member_id) and alarm in (None, known.type):
                request = pb.AlarmRequest(action=_DEACTIVATE, member_id=raised.member_id, alarm=raised.alarm)
                await call(self._core, methods.ALARM, request, seconds=seconds)
                disarmed.append(known)
        return disarmed

    async def defragment(self, endpoint: str | None = None, *, timeout: Timeout = DEFAULT_DEFRAGMENT_TIMEOUT) -> None:
        """
        Give the space of deleted and compacted data back to one member's disk.

        **The member answers nobody meanwhile**, for some seconds per gigabyte: take the members one by one, the leader
        last. It goes on to the end even if *timeout* passes or the call is cancelled.

        Args:
            endpoint: Where the member is; None only for a client of one endpoint.
            timeout: Seconds, by default 300, whatever the client's own timeout; None for no limit.
        """
        await self._call(methods.DEFRAGMENT, pb.DefragmentRequest(), timeout, self._one(endpoint))

    async def hash_kv(
        self, endpoint: str | None = None, revision: int | None = None, *, timeout: Timeout = CLIENT_DEFAULT
    ) -> HashKV:
        """
        Return the hash of one member's keys, to compare with those of others at the same revision.

        Args:
            endpoint: Where the member is; None only for a client of one endpoint.
            revision: Up to which revision; None (or 0) for the newest that it has.
            timeout: Seconds; None for no limit.

        Raises:
            Compacted: *revision* is no longer kept.
            FutureRevision: The member does not have *revision* yet.
        """
        request = pb.HashKvRequest(revision=ops.optional(revision, "revision", 0))
        answer: pb.HashKvResponse = await self._call(methods.HASH_KV, request, timeout, self._one(endpoint))
        newest = answer.header.revision if answer.header else 0
        return HashKV(answer.hash, answer.compact_revision, answer.hash_revision, newest)

    async def move_leader(self, target_id: int, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """
        Make another member the leader; returns when it is, at once if it is already.

        The leader is found by asking the client's endpoints; if it is none of them, at the address it advertises.

        Args:
            target_id: The id of a member with a vote: `Member.id`.
            timeout: Seconds for everything; None for no limit.

        Raises:
            MemberError: *target_id* is no member that could lead ("bad leader transferee").
            NoLeader: There is no leader just now.
            ServerTimeout: The member did not take over in the server's own time; it may be down.
        """
        await _leader.move(self._core, ops.at_least(target_id, "target_id", 1), self._core.seconds(timeout))

    async def downgrade(self, action: DowngradeAction, version: str = "", *, timeout: Timeout = CLIENT_DEFAULT) -> str:
        """
        Prepare the cluster for servers of the minor version before its own. From etcd 3.6 on.

        (3.5 can only validate: it answers the others when it is too late. Before, the call is not known.)

        Args:
            action: ``"validate"`` only asks whether *version* would do; ``"enable"`` begins: the members may then be
                replaced one by one; ``"cancel"`` ends that.
            version: Such as ``"3.5"``; not for ``"cancel"``.
            timeout: Seconds; None for no limit.

        Returns:
            The present version of the cluster.

        Raises:
            DowngradeError: *version* is not the one before, or a downgrade is under way, or (``"cancel"``) none is.
        """
        if action not in get_args(DowngradeAction):
            raise ValueError(f"action must be one of {', '.join(get_args(DowngradeAction))}, not {action!r}")
        if not isinstance(version, str):
            raise TypeError(f"version must be str, not {type(version).__name__}")
        if (action == "cancel") is bool(version):
            raise ValueError("version must be given to validate and enable, and only to them")
        request = pb.DowngradeRequest(action=pb.DowngradeRequestDowngradeAction[action.upper()], version=version)
        answer: pb.DowngradeResponse = await self._call(methods.DOWNGRADE, request, timeout)
        return answer.version

    async def snapshot(
        self,
        path: str | os.PathLike[str],
        *,
        endpoint: str | None = None,
        progress: Progress | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> Snapshot:
        """
        Copy one member's database to the file *path*, for ``etcdutl snapshot restore``; etcd serves on meanwhile.

        It is written to ``<path>.part``, readable by its owner only, checked against the server's digest, and put in
        place of whatever is at *path* only then. If anything goes wrong before, or the call is cancelled, *path* is as
        it was and the ``.part`` is gone; one that a killed process left behind is removed by the next call.

        Args:
            path: Where to; its directory must exist.
            endpoint: Which member; None for whichever answers, and the result says which.
            progress: Called about once per MiB with the bytes that are written, and those of the database that the
                server has still to send; awaited, if it returns an awaitable.
            timeout: Seconds until the server begins, and seconds that it may be silent after that; None for no limit.

        Raises:
            SnapshotCorrupt: It did not arrive as it was sent, or not whole.
            Unavailable: The connection was lost. It is tried again only as long as nothing has arrived.
            DeadlineExceeded: The server was silent for *timeout*.
            FileExistsError: Another snapshot is being written to *path*; or it is a device, say.
            OSError: The file can't be written.
        """
        chunks = _snapshot_stream.receive(self._core, self._named(endpoint), self._core.seconds(timeout))
        return await save(chunks, path, progress)

    def snapshot_stream(
        self, *, endpoint: str | None = None, timeout: Timeout = CLIENT_DEFAULT
    ) -> AsyncGenerator[SnapshotChunk, None]:
        """
        Iterate over a snapshot as it arrives, to send it elsewhere; for files see `snapshot`, also for the arguments.

        What was yielded counts only once the iterator has ended without an error. Close it (`contextlib.aclosing`) to
        give it up early.

        Raises:
            SnapshotCorrupt: After the last chunk: all of them together are not what was sent.
        """
        return _snapshot_stream.checked(self._core, self._named(endpoint), self._core.seconds(timeout))

    async def _alarms(self, seconds: float | None) -> list[pb.AlarmMember]:
        answer: pb.AlarmResponse = await call(self._core, methods.ALARM, pb.AlarmRequest(action=_GET), seconds=seconds)
        return answer.alarms

    async def _call(
        self, method: methods.Method, request: object, timeout: Timeout, endpoint: Endpoint | None = None
    ) -> Any:
        return await call(self._core, method, request, seconds=self._core.seconds(timeout), endpoint=endpoint)

    def _named(self, endpoint: str | None) -> Endpoint | None:
        return None if endpoint is None else self._core.caller.endpoint(endpoint)

    def _one(self, endpoint: str | None) -> Endpoint:
        """Return the endpoint that is meant, where it would be wrong to take just any."""
        if endpoint is not None:
            return self._core.caller.endpoint(endpoint)
        addresses = self._core.caller.addresses()
        if len(addresses) > 1:
            raise ValueError("endpoint must be given: the client has several")
        return addresses[0]
