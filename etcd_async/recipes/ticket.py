"""What outlasts a process of its place in an election."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Self

from etcd_async import ops

__all__ = ["Ticket"]


@dataclass(frozen=True, slots=True)
class Ticket:
    """
    What a candidate needs to keep its place in an election beyond its process: see `Leadership.ticket`.

    Attributes:
        key: The key that stands for the candidate.
        lease: The id of the lease that the key lives on.
        revision: The revision that created the key: the fencing token.
    """

    key: bytes
    lease: int
    revision: int

    def to_json(self) -> str:
        """Return it as a text to be stored."""
        return json.dumps({"key": self.key.hex(), "lease": self.lease, "revision": self.revision})

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """
        Return what `to_json` wrote.

        Raises:
            ValueError: *text* is something else.
        """
        try:
            fields = json.loads(text)
            key, lease, revision = bytes.fromhex(fields["key"]), fields["lease"], fields["revision"]
            return cls(key, ops.at_least(lease, "lease", 1), ops.at_least(revision, "revision", 1))
        except (ValueError, TypeError, LookupError) as error:
            raise ValueError(f"not a ticket: {error}") from error
