"""What the watch machine tells of its watches."""

from __future__ import annotations

from dataclasses import dataclass

from etcd_async.errors import EtcdError
from etcd_async.types import Event


@dataclass(frozen=True, slots=True)
class Created:
    """The server has begun this watch, or begun it again; *revision* is the store's at that time."""

    handle: int
    revision: int


@dataclass(frozen=True, slots=True)
class Batch:
    """The events of one whole revision or more, in order; *revision* is the last one's."""

    handle: int
    revision: int
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """Every event up to *revision* has been delivered; never less than said before."""

    handle: int
    revision: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The watch has ended for good."""

    handle: int
    error: EtcdError


Output = Created | Batch | Progress | Failed
