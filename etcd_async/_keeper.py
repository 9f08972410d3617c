"""All leases that one client keeps alive, joined to the machine that decides what their common stream says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from etcd_async import _codec
from etcd_async._protocol import keepalive as machine
from etcd_async._transport import methods
from etcd_async._transport.caller import Caller
from etcd_async._transport.duplex import Duplex
from etcd_async._transport.tasks import Tasks
from etcd_async.errors import EtcdError

__all__ = ["Keeper", "Kept"]


class Kept(Protocol):
    """Somebody whose lease is kept alive."""

    def renewed(self, ttl: float, expires_at: float) -> None:
        """Hear that the lease goes on."""
        ...

    def ended(self, reason: EtcdError) -> None:
        """Hear that the lease is gone; nothing more is heard after that."""
        ...


class Keeper:
    """Renews leases on one stream; each at a third of its term."""

    def __init__(self, caller: Caller, tasks: Tasks, clock: Callable[[], float]) -> None:
        self.clock: Callable[[], float] = clock
        self._machine = machine.KeepAlive(has_user=caller.has_user)
        self._kept: dict[int, Kept] = {}
        self._duplex = Duplex(
            self._machine,
            methods.LEASE_KEEP_ALIVE,
            caller,
            tasks,
            encode=_codec.encode,
            decode=_codec.decode_keep_alive_response,
            deliver=self._deliver,
            clock=clock,
        )

    def keep(self, lease_id: int, kept: Kept, *, ttl: float, granted_at: float) -> None:
        """Renew a lease of *ttl* seconds until `forget`; its term began no earlier than *granted_at*."""
        self._kept[lease_id] = kept
        self._machine.add(lease_id, ttl=ttl, granted_at=granted_at)
        self._duplex.wake()

    def forget(self, lease_id: int) -> None:
        """Renew a lease no longer."""
        if self._kept.pop(lease_id, None) is not None:
            self._machine.remove(lease_id)
            self._duplex.wake()

    def close(self, error: EtcdError) -> None:
        """Tell everybody that their lease is renewed no longer, because of *error*."""
        for output in self._machine.fail_all(error):
            self._deliver(output)

    def _deliver(self, output: machine.Renewed | machine.Lost) -> None:
        kept = self._kept.get(output.lease_id)
        if kept is None:
            return
        if isinstance(output, machine.Renewed):
            kept.renewed(output.ttl, output.expires_at)
        else:
            del self._kept[output.lease_id]
            kept.ended(output.reason)
