"""etcd_async."""

from collections.abc import Callable

import etcd_async
from tests.benchmarks.clients.interface import touch


class Ours:
    """etcd_async, as its users get it."""

    def __init__(self, endpoint: str) -> None:
        self._client = etcd_async.Client(endpoint)

    async def get(self, key: bytes) -> int:
        kv = await self._client.get(key)
        return 0 if kv is None else len(kv.value)

    async def put(self, key: bytes, value: bytes) -> None:
        await self._client.put(key, value)

    async def read_range(self, prefix: bytes, end: bytes) -> int:
        found = await self._client.range(start=prefix, end=end)
        for kv in found:
            touch(kv)
        return len(found)

    async def watch(
        self, prefix: bytes, end: bytes, *, revision: int | None, events: int, registered: Callable[[], None]
    ) -> None:
        async with self._client.watch(start=prefix, end=end, start_revision=revision) as watch:
            registered()
            async for event in watch:
                _ = (event.kv.key, event.kv.value, event.kv.mod_revision)
                events -= 1
                if not events:
                    return

    async def aclose(self) -> None:
        await self._client.aclose()


connect = Ours
