"""How far a mirror has come, written on the target with every step; and the fence before steps that come late."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Sequence
from typing import Final

from etcd_async import ops
from etcd_async.errors import DecryptionFailed, EtcdError
from etcd_async.recipes._fence import Fence
from etcd_async.services import Services
from etcd_async.types import KeyValue

__all__ = ["Checkpoint"]

_log = logging.getLogger("etcd_async.mirror")

_WORD: Final = re.compile(rb"(\d{1,19})(?: ([0-9a-f]{16}))?")


class Checkpoint:
    """
    A key on the target that is a mirror's memory, and its fence.

    It holds the revision of the source that the copy is of (0 before the first one is complete), and the mirror's id.
    Of two mirrors only the one that took the key later goes on.
    """

    def __init__(self, target: Services, key: bytes) -> None:
        self.key: bytes = key
        self._target = target
        self._id = secrets.token_hex(8)
        self._fence = Fence(target, key, self._is_own)

    async def read(self, newest: int) -> int:
        """Return the revision that it holds; 0 if there is none, or none of this source, which is at *newest*."""
        found = await self._target.do(ops.Range(self.key))
        self._fence.seen = found[0].mod_revision if found else 0
        if not found:
            return 0
        word = _word(found[0])
        if word is not None and int(word[1]) <= newest:
            return int(word[1])
        _log.warning("the checkpoint %r is not of a mirror of this source: comparing everything", self.key)
        return 0

    async def take(self, revision: int) -> bool:
        """Make it this mirror's; False if it has changed since it was read."""
        return await self._written([], revision)

    async def write(self, writes: Sequence[ops.Op], revision: int) -> None:
        """
        Carry out *writes* in one transaction, after which the copy is that of *revision*.

        Raises:
            EtcdError: The key is not as this mirror left it; nothing was written.
        """
        if not await self._written(writes, revision):
            raise EtcdError(f"another mirror has taken the checkpoint {self.key!r} since, or somebody has changed it")

    async def _written(self, writes: Sequence[ops.Op], revision: int) -> bool:
        return await self._fence.write([*writes, ops.put(self.key, f"{revision} {self._id}")])

    def _is_own(self, kv: KeyValue | None) -> bool:
        word = None if kv is None else _word(kv)
        return word is not None and word[2] == self._id.encode()


def _word(kv: KeyValue) -> re.Match[bytes] | None:
    try:
        return _WORD.fullmatch(kv.value)
    except DecryptionFailed:
        return None
