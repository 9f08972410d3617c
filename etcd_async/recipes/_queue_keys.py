"""
The keys of a queue, and what can be told from them; no I/O.

- ``<name>/items/<priority>/<place>``: an item. In the order of keys, lower priorities come first, and among them what
  was put earlier: a place begins with a revision that was read before the item was put, so it is higher than that of
  every item whose put had ended by then.
- ``<name>/claims/<priority>/<place>/<lease id>``: the claim on that item, on its consumer's lease.
- ``<name>/line/<lease id>``: a consumer for whom there was no item.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from itertools import count

from etcd_async.types import Batch, KeyValue

__all__ = ["LOWEST", "QueueKeys", "priority_of"]

LOWEST = -(2**63)  # priorities are written as 16 digits, counted from here
_serial = count()  # orders what one process puts while the revision stays the same


class QueueKeys:
    """
    The keys of one queue.

    Attributes:
        items: What the keys of items start with.
        claims: What the keys of claims start with.
        line: What the keys of waiting consumers start with.
    """

    def __init__(self, name: bytes) -> None:
        self.items: bytes = name + b"/items/"
        self.claims: bytes = name + b"/claims/"
        self.line: bytes = name + b"/line/"

    @property
    def watched(self) -> tuple[bytes, bytes]:
        """The range of all claims and items, which lie side by side."""
        return self.claims, self.items[:-1] + b"0"  # the character after the slash

    def new_item(self, priority: int, revision: int) -> bytes:
        """Return a key for an item that is to come after all that were there at *revision*."""
        serial = next(_serial) % 2**32
        place = f"{priority - LOWEST:016x}/{revision:016x}-{serial:08x}-{secrets.token_hex(8)}"
        return self.items + place.encode()

    def claims_on(self, item: bytes) -> bytes:
        """Return what the keys of claims on an item start with."""
        return self.claims + item.removeprefix(self.items) + b"/"

    def claimed_by(self, claim: bytes) -> bytes:
        """Return the item that is claimed by the key of a claim."""
        return self.items + claim.removeprefix(self.claims).rpartition(b"/")[0]

    def unclaimed(self, found: Iterable[KeyValue]) -> list[KeyValue]:
        """Return the items among *found* that none of the claims among them is on; in their order."""
        claimed: set[bytes] = set()
        items: list[KeyValue] = []
        for kv in found:
            if kv.key.startswith(self.claims):
                claimed.add(self.claimed_by(kv.key))
            else:
                items.append(kv)
        return [item for item in items if item.key not in claimed]

    def frees(self, batch: Batch) -> bool:
        """Return whether there may be an item to claim after *batch* that there was not before it."""
        deleted = {event.kv.key for event in batch.events if event.type == "delete"}
        put = (event.kv.key for event in batch.events if event.type == "put")
        returned = (self.claimed_by(key) for key in deleted if key.startswith(self.claims))
        return any(key.startswith(self.items) for key in put) or any(item not in deleted for item in returned)


def priority_of(item: bytes) -> int:
    """Return the priority that is part of an item's key."""
    return int(item.rsplit(b"/", 2)[1], 16) + LOWEST
