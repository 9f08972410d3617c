"""aetcd, the fastest Python peer; runs in an environment of its own."""

from collections.abc import Callable

import aetcd  # type: ignore[import-not-found]  # never in the environment that is type-checked

from tests.benchmarks.clients.interface import touch


class Aetcd:
    """aetcd with its defaults, but for the limit of 4 MiB per answer, which the long history passes."""

    def __init__(self, endpoint: str) -> None:
        host, _, port = endpoint.removeprefix("http://").rpartition(":")
        self._client = aetcd.Client(host=host, port=int(port), options={"grpc.max_receive_message_length": -1})

    async def get(self, key: bytes) -> int:
        kv = await self._client.get(key)
        return 0 if kv is None else len(kv.value)

    async def put(self, key: bytes, value: bytes) -> None:
        await self._client.put(key, value)

    async def read_range(self, prefix: bytes, end: bytes) -> int:
        found = await self._client.get_range(prefix, end)
        for kv in found:
            touch(kv)
        return len(found)

    async def watch(
        self, prefix: bytes, end: bytes, *, revision: int | None, events: int, registered: Callable[[], None]
    ) -> None:
        watch = await self._client.watch(prefix, range_end=end, start_revision=revision)
        registered()
        async for event in watch:
            _ = (event.kv.key, event.kv.value, event.kv.mod_revision)
            events -= 1
            if not events:
                break
        await watch.cancel()

    async def aclose(self) -> None:
        await self._client.close()


connect = Aetcd
