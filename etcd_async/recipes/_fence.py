"""The fence before writes that come late."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from etcd_async import ops
from etcd_async.options import CLIENT_DEFAULT, Timeout
from etcd_async.services import Services
from etcd_async.types import KeyValue

__all__ = ["Fence"]


class Fence:
    """
    A key that all transactions of one writer write, on condition that it is as the one before has left it.

    So one that seemed lost, and is carried out late all the same, does nothing.

    Args:
        client: The client.
        key: The key.
        is_own: Tells whether the key is this writer's still, as it was found (None if there is none): then it was one
            of its own whose answer was lost, or somebody's who doesn't matter, that has changed it.
        seen: The key's mod_revision, as it is to be; 0 if there is none.
    """

    def __init__(
        self, client: Services, key: bytes, is_own: Callable[[KeyValue | None], bool], *, seen: int = 0
    ) -> None:
        self.key: bytes = key
        self.seen: int = seen
        self._client = client
        self._is_own = is_own

    async def write(self, writes: Sequence[ops.Op], *, timeout: Timeout = CLIENT_DEFAULT) -> bool:
        """Carry out *writes*, one of them that of the key; False, and nothing was written, if it is own no more."""
        while True:
            as_left = ops.mod_revision(self.key) == self.seen
            result = await self._client.txn([as_left], writes, [ops.get(self.key)], timeout=timeout)
            if result.succeeded:
                self.seen = result.revision
                return True
            [found] = result.results
            assert found is None or isinstance(found, KeyValue)
            if not self._is_own(found):
                return False
            self.seen = 0 if found is None else found.mod_revision
