"""What the worker asks of every client, so that each is measured doing the same."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol


class Client(Protocol):
    """One connected client; each method is written as a user of that client would write it."""

    async def get(self, key: bytes) -> int:
        """Read one key; return the length of its value."""
        ...

    async def put(self, key: bytes, value: bytes) -> None:
        """Write one key."""
        ...

    async def read_range(self, prefix: bytes, end: bytes) -> int:
        """Read all keys from *prefix* to *end* with all their fields; return how many."""
        ...

    async def watch(
        self, prefix: bytes, end: bytes, *, revision: int | None, events: int, registered: Callable[[], None]
    ) -> None:
        """Call *registered* once the watch exists, then take so many events and read their keys and values."""
        ...

    async def aclose(self) -> None:
        """Close it."""
        ...


class Writer(Client, Protocol):
    """The client that writes what others read."""

    async def write(self, pairs: Sequence[tuple[bytes, bytes]]) -> int:
        """Put all pairs in one transaction; return its revision."""
        ...


def touch(kv: Any) -> None:
    """Read every field: some clients parse when a message arrives, others when a field is read."""
    _ = (kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease)
