"""A fair, fenced lock whose holder knows when it is lost."""

from __future__ import annotations

from etcd_async._keys import to_key
from etcd_async._loss import OnLoss
from etcd_async.errors import LockLost
from etcd_async.lease import check_ttl
from etcd_async.recipes._contest import Contender
from etcd_async.recipes.holding import Holding
from etcd_async.services import Services

__all__ = ["Lock"]


class Lock(Holding):
    """
    At most one holder at a time, first come, first served; made by ``client.lock(name)``. See `Holding`.

    Args:
        client: The client.
        name: The lock's name: its contenders' keys are ``<name>/<lease id>``, as those of etcd's own ``Mutex``.
            All keys under ``<name>/`` count as contenders: keep others, and locks named ``<name>/...``, out of there.
        ttl: Seconds after which others may enter when the holder has died; etcd's minimum is about 2.
        timeout: Seconds to wait for the lock at most; None for no limit, 0 takes it only if nobody has or wants it.
        on_loss: ``"cancel"`` or ``"signal"``.
    """

    def __init__(
        self,
        client: Services,
        name: str | bytes,
        *,
        ttl: float,
        timeout: float | None = None,
        on_loss: OnLoss = "cancel",
    ) -> None:
        self.name: bytes = to_key(name, "name")
        self._client = client
        self._ttl = check_ttl(ttl)
        super().__init__(f"lock {self.name!r}", self._enlist, timeout=timeout, on_loss=on_loss)

    def _enlist(self) -> Contender[LockLost]:
        return Contender(self._client, self.name + b"/", self._ttl, LockLost)
