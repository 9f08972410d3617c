"""What the state machines of streams are told: answers that users never see themselves."""

from __future__ import annotations

from dataclasses import dataclass

from etcd_async.types import Event


@dataclass(frozen=True, slots=True)
class WatchResponse:
    """
    One answer of a watch stream.

    Attributes:
        revision: The store's revision, from the header.
        watch_id: Which watch it is about; -1 for a refused create and for progress of the whole stream.
        created: True if it confirms or refuses a create.
        canceled: True if the watch has ended or was refused.
        compact_revision: Where history begins, if the watch began before it; else 0.
        cancel_reason: Why it has ended.
        fragment: True if more of the same revision follows.
        events: In the order of their revisions.
    """

    revision: int = 0
    watch_id: int = 0
    created: bool = False
    canceled: bool = False
    compact_revision: int = 0
    cancel_reason: str = ""
    fragment: bool = False
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class KeepAliveResponse:
    """
    One answer of a keep-alive stream.

    Attributes:
        id: The lease's id.
        ttl: Its new term in seconds; 0 if the lease does not exist.
    """

    id: int = 0
    ttl: int = 0
