"""What watches deliver."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from etcd_async.types._kv import KeyValue

EventType: TypeAlias = Literal["put", "delete"]


@dataclass(frozen=True, slots=True)
class Event:
    """
    One change of one key.

    Attributes:
        type: ``"put"`` or ``"delete"``.
        kv: The key after the change; after a delete only ``key`` and ``mod_revision`` are set.
        prev_kv: The key before the change, if the watch asked for it and it was not compacted away.
    """

    type: EventType
    kv: KeyValue
    prev_kv: KeyValue | None = None

    @property
    def revision(self) -> int:
        """The revision of the change."""
        return self.kv.mod_revision

    @property
    def is_create(self) -> bool:
        """True if a put created the key."""
        return self.type == "put" and self.kv.create_revision == self.kv.mod_revision

    @property
    def is_modify(self) -> bool:
        """True if a put changed a key that existed."""
        return self.type == "put" and self.kv.create_revision != self.kv.mod_revision


@dataclass(frozen=True, slots=True)
class Batch:
    """
    The events of one whole revision or more, or word that nothing happened up to a revision.

    Attributes:
        revision: Every event of the watch up to here has been delivered with this batch.
        events: In the order of their revisions; empty in a progress batch.
    """

    revision: int
    events: tuple[Event, ...] = ()

    @property
    def is_progress(self) -> bool:
        """True if the batch only reports how far the watch has come."""
        return not self.events
