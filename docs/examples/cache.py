"""Hold a prefix in memory, up to date."""

import asyncio
import os

from etcd_async import Client

ENDPOINT = os.environ.get("ETCD_ENDPOINT", "http://localhost:2379")


async def main() -> None:
    async with Client(ENDPOINT, namespace="/examples/cache/") as client:
        await client.put_many({"flags/dark-mode": "on", "flags/beta": "off"})
        # --8<-- [start:use]
        async with client.cache(prefix="flags/") as cache:
            for key, kv in cache.items():
                print(key.decode(), "is", kv.text())

            put = await client.put("flags/beta", "on")
            await cache.wait_for(put.revision)  # read your own write
            print("beta is", cache["flags/beta"].text())

            await cache.sync()  # as fresh as a read of the store
            print("dark mode:", "flags/dark-mode" in cache, "as of revision", cache.revision > 0)
        # --8<-- [end:use]


asyncio.run(main())
