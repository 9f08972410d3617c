"""A fair read-write lock: many readers together, or one writer alone, in the order in which they came."""

from __future__ import annotations

from etcd_async._keys import check_patience, to_key
from etcd_async._loss import OnLoss, check_on_loss
from etcd_async.errors import LockLost
from etcd_async.lease import check_ttl
from etcd_async.recipes._contest import Contender
from etcd_async.recipes.holding import Holding
from etcd_async.services import Services

__all__ = ["RWLock"]


class RWLock:
    """
    Read with others or write alone; made by ``client.rwlock(name)``.

    ``async with client.rwlock("table").read()`` enters as soon as no writer that came before is left, and ``.write()``
    as soon as nobody is left who came before. So a writer that waits holds up the readers after it, and starves of
    neither readers nor writers. Each call makes a new `Holding`.

    A reader can't become a writer: let go first. Waiting for one inside the other deadlocks.

    Args:
        client: The client.
        name: The lock's name: its contenders' keys are ``<name>/read/<lease id>`` and ``<name>/write/<lease id>``, laid
            out as those of etcd's own ``RWMutex``. Keep other keys out of ``<name>/``.
        ttl: Seconds after which others may enter when a holder has died; etcd's minimum is about 2.
        timeout: Seconds to wait at most; None for no limit, 0 to enter only if that needs no waiting.
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
        check_on_loss(on_loss)
        check_patience(timeout)
        self.name: bytes = to_key(name, "name")
        self._client = client
        self._ttl = check_ttl(ttl)
        self._timeout = timeout
        self._on_loss = on_loss

    def read(self) -> Holding:
        """Hold the lock together with other readers."""
        return self._holding("for reading", b"/read/", ahead=b"/write/")

    def write(self) -> Holding:
        """Hold the lock alone."""
        return self._holding("for writing", b"/write/", ahead=b"/")

    def _holding(self, purpose: str, place: bytes, *, ahead: bytes) -> Holding:
        def enlist() -> Contender[LockLost]:
            return Contender(self._client, self.name + place, self._ttl, LockLost, ahead=self.name + ahead)

        label = f"lock {self.name!r} {purpose}"
        return Holding(label, enlist, timeout=self._timeout, on_loss=self._on_loss)
