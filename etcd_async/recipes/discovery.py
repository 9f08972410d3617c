"""The instances of a service: who is there, and who comes and goes."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Literal, Self

from etcd_async.options import Timeout
from etcd_async.recipes._follow import Follow
from etcd_async.recipes._instances import check_metadata, from_json, matches, prefix_of
from etcd_async.services import Services
from etcd_async.types import Event, Service, ServiceChange

__all__ = ["ServiceWatch", "discover"]


async def discover(
    client: Services, name: str, *, metadata: Mapping[str, str] | None, healthy_only: bool, timeout: Timeout
) -> list[Service]:
    """Return the registered instances of a service, in the order of their ids."""
    check_metadata(metadata)
    found = await client.range(prefix=client._space.placed(prefix_of(name)), timeout=timeout)
    services = [service for kv in found if (service := from_json(kv)) is not None]
    return [each for each in services if matches(each, metadata) and (each.is_healthy or not healthy_only)]


class ServiceWatch:
    """
    The changes among a service's instances, as an async iterator: the present ones first, as added.

    Made by ``client.watch_service(name)``; use it as ``async with client.watch_service(name) as changes``. Snapshot and
    changes are joined at one revision, and again after compaction: no gap and no repeat. A value that does not
    describe a service (somebody else wrote there) is logged and left out.
    """

    def __init__(self, client: Services, name: str) -> None:
        self._follow = Follow(client, client._space.placed(prefix_of(name)))
        self._known: dict[bytes, Service] = {}
        self._changes: deque[ServiceChange] = deque()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ServiceChange:
        while not self._changes:
            batch = await self._follow.next()
            self._changes.extend(change for event in batch.events if (change := self._change(event)) is not None)
        return self._changes.popleft()

    async def present(self) -> list[ServiceChange]:
        """Return the instances that were there at the beginning, as added; to be asked once, and first."""
        batch = await self._follow.next()
        return [change for event in batch.events if (change := self._change(event)) is not None]

    async def __aenter__(self) -> Self:
        await self._follow.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._follow.__aexit__(exc_type, exc, traceback)

    def _change(self, event: Event) -> ServiceChange | None:
        before = self._known.pop(event.kv.key, None)
        after = from_json(event.kv) if event.type == "put" else None
        if after is None:
            return None if before is None else ServiceChange("removed", before)
        self._known[event.kv.key] = after
        kind: Literal["added", "modified"] = "added" if before is None else "modified"
        return None if after == before else ServiceChange(kind, after)
