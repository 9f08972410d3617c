"""
What a snapshot is made of, and whether it arrived whole. No I/O here.

A snapshot is etcd's database file, whole pages of 512 bytes and more, and behind it the SHA-256 of all that
(server ``v3rpc/maintenance.go``); etcd's own tools check it when they restore.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from etcd_async.errors import SnapshotCorrupt

__all__ = ["Digest", "Snapshot", "SnapshotChunk"]

_DIGEST_SIZE: Final = hashlib.sha256().digest_size
_PAGE: Final = 512


@dataclass(frozen=True, slots=True)
class SnapshotChunk:
    """
    A piece of a snapshot, as it arrives.

    Attributes:
        data: The bytes that follow those of the chunk before; the last 32 of all are the SHA-256 of the others.
        remaining: How many bytes of the database are still to come, as the server counts them.
        version: The storage version of the database (``"3.6.0"``), from etcd 3.6 on; else "".
        endpoint: Which endpoint sends it.
    """

    data: bytes
    remaining: int = 0
    version: str = ""
    endpoint: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    A snapshot on disk.

    Attributes:
        path: The file.
        endpoint: Which endpoint it came from.
        size: Its bytes: those of the database and the 32 of its digest.
        sha256: The digest of the database, as 64 hexadecimal digits.
        version: The storage version of the database (``"3.6.0"``), from etcd 3.6 on; else "".
    """

    path: Path
    endpoint: str
    size: int
    sha256: str
    version: str = ""


class Digest:
    """
    Takes a snapshot piece by piece, and says at its end whether it is what the server sent.

    Attributes:
        size: The bytes taken so far.
    """

    def __init__(self) -> None:
        self.size = 0
        self._hash = hashlib.sha256()
        self._last = b""  # may turn out to be the digest itself

    def update(self, data: bytes) -> None:
        """Take the next bytes."""
        self.size += len(data)
        held = self._last + data
        self._hash.update(memoryview(held)[:-_DIGEST_SIZE])
        self._last = held[-_DIGEST_SIZE:]

    def check(self) -> str:
        """
        Return the digest of the database, in hexadecimal, after the last byte.

        Raises:
            SnapshotCorrupt: Bytes are missing, or are not those that were sent.
        """
        if self.size <= _DIGEST_SIZE or self.size % _PAGE != _DIGEST_SIZE:
            raise SnapshotCorrupt(f"the snapshot has {self.size} bytes, not those of whole pages and their digest")
        if self._hash.digest() != self._last:
            raise SnapshotCorrupt(f"the snapshot's digest is {self._hash.hexdigest()}, the server's {self._last.hex()}")
        return self._hash.hexdigest()
