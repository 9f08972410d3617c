"""Keys, leases and watches as one view of one client: what recipes are built on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from etcd_async import ops
from etcd_async._core import Core
from etcd_async._keys import to_range
from etcd_async._keyspace import Keyspace
from etcd_async._loss import OnLoss
from etcd_async._pb.etcdserverpb import WatchCreateRequest
from etcd_async._transport.tasks import Background
from etcd_async.compound import CompoundKV
from etcd_async.lease import Lease, Leases
from etcd_async.options import CLIENT_DEFAULT, DEFAULT_LEASE_TTL, WATCH_BUFFER_BATCHES, Timeout
from etcd_async.watch import Filter, Watch, check_filters, check_request

__all__ = ["Services"]


class Services(CompoundKV):
    """
    Keys, leases and watches under one namespace.

    Attributes:
        leases: Grant, revoke and ask about leases by their ids.
    """

    def __init__(self, core: Core, space: Keyspace) -> None:
        super().__init__(core, space)
        self.leases: Leases = Leases(core, space)

    def lease(
        self, ttl: float = DEFAULT_LEASE_TTL, *, on_loss: OnLoss = "cancel", timeout: Timeout = CLIENT_DEFAULT
    ) -> Lease:
        """
        Hold a lease: ``async with client.lease(10) as lease`` grants it, keeps it alive and revokes it at the end.

        Args:
            ttl: Seconds that its keys outlive this process; rounded up to whole seconds. etcd's minimum is about 2.
            on_loss: If the lease ends early, ``"cancel"`` the body and raise `LeaseLost`, or only ``"signal"`` it.
            timeout: Seconds for granting it; None for no limit.
        """
        return Lease(self._core, self.leases, ttl, on_loss=on_loss, timeout=self._core.seconds(timeout))

    def keep_lease(self, id: ops.LeaseLike, *, on_loss: OnLoss = "cancel", timeout: Timeout = CLIENT_DEFAULT) -> Lease:
        """
        Hold a lease that was granted before, by this process or another: renewed, kept alive, and revoked at the end.

        Entering raises `LeaseNotFound` if it has ended. Arguments are those of `lease`. It is for whoever granted it to
        renew it no longer (`Lease.leave_standing`): each of two who keep a lease alive believes that it is its own.
        """
        existing = ops.at_least(ops.lease_id(id), "id", 1)
        seconds = self._core.seconds(timeout)
        return Lease(self._core, self.leases, DEFAULT_LEASE_TTL, on_loss=on_loss, timeout=seconds, existing=existing)

    def watch(
        self,
        key: str | bytes | None = None,
        *,
        prefix: str | bytes | None = None,
        start: str | bytes | None = None,
        end: str | bytes | None = None,
        from_key: bool = False,
        start_revision: int | None = None,
        prev_kv: bool = False,
        filters: Sequence[Filter] = (),
        progress: bool = False,
        buffer: int = WATCH_BUFFER_BATCHES,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> Watch:
        """
        Watch one key, a prefix or a range: ``async with client.watch(prefix="/a/") as watch``; see `Watch`.

        Args:
            key: The one key to watch; or
            prefix: every key that starts with this; or
            start: a range of keys, with *end* (excluded) or *from_key*.
            end: See *start*.
            from_key: See *start*.
            start_revision: The first revision to tell of, past or future; None for what comes from now on.
            prev_kv: Tell what keys were before, too.
            filters: ``"no_put"`` and ``"no_delete"`` leave out these events.
            progress: Have the server tell in idle times how far it has come (every ten minutes unless configured).
            buffer: How many batches to hold for a slow consumer (or 16 MiB of events, whatever their number; one batch
                may go beyond either) before the watch is stopped on the server, until the consumer has caught up.
            timeout: Seconds for registering the watch; None for no limit.
        """
        first, last = to_range(key, prefix=prefix, start=start, end=end, from_key=from_key)
        key_on_server, end_on_server = self._space.span(first, last)
        request = WatchCreateRequest(
            key=key_on_server,
            range_end=end_on_server,
            start_revision=ops.optional(start_revision, "start_revision", 1),
            progress_notify=progress,
            filters=check_filters(filters),
            prev_kv=prev_kv,
        )
        check_request(request, self._core.caller.max_send_bytes)
        seconds = self._core.seconds(timeout)
        # A linearizable read of the first key: all that is written after it will be seen, and whoever may watch the
        # range may read that key.
        now = ops.Range(first, keys_only=True)

        async def revision() -> int:
            return (await self.do(now, timeout=seconds)).revision

        return Watch(
            self._core.watcher,
            request,
            space=self._space,
            now=revision,
            buffer=ops.at_least(buffer, "buffer", 1),
            timeout=seconds,
        )

    def background(self, name: str, work: Callable[[], Awaitable[None]]) -> Background[None]:
        """Run *work* as one of the client's own tasks until it ends, is cancelled, or the client is closed."""
        return self._core.tasks.start(name, work)
