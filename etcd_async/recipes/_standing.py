"""What those who stand for something tell of their place: its key, its token, and whether it is lost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic

from etcd_async import ops
from etcd_async.recipes._contest import Contender, Lost

__all__ = ["Losable", "Standing"]


class Losable(ABC, Generic[Lost]):
    """Whoever relies on a contender, and hears of its loss."""

    _contender: Contender[Lost] | None

    @property
    @abstractmethod
    def _present(self) -> Contender[Lost]:
        """The contender while it has its place, or a RuntimeError."""

    @property
    def is_lost(self) -> bool:
        """True once the lease or the key is lost, other than by leaving."""
        return self._contender is not None and self._contender.is_lost

    async def lost(self) -> Lost:
        """Wait until the lease or the key is lost and return why."""
        return await (self._contender or self._present).lost()


class Standing(Losable[Lost]):
    """Whoever relies on a contender's key, and can show it."""

    @property
    def key(self) -> bytes:
        """The key that stands for it among its contenders."""
        return self._present.key

    @property
    def fencing_token(self) -> int:
        """A number that is higher for whoever came later: the revision that created the key that stands for it."""
        return self._present.revision

    @property
    def owned(self) -> ops.Compare:
        """Holds in a transaction only while that key stands: ``client.txn(when=[lock.owned], then=[...])``."""
        return self._present.owned
