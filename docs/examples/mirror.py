"""Copy a prefix to another place, and keep the copy equal."""

import asyncio
import os

from etcd_async import Client

ENDPOINT = os.environ.get("ETCD_ENDPOINT", "http://localhost:2379")


async def main() -> None:
    # Two clients, as for two clusters; here both are the same one.
    async with Client(ENDPOINT) as client, Client(ENDPOINT) as backup:
        await client.put("/examples/mirror/live/a", "1")
        # --8<-- [start:use]
        async with client.mirror(
            "/examples/mirror/live/", backup, "/examples/mirror/copy/", checkpoint="/examples/mirror/checkpoint"
        ) as mirror:
            await mirror.wait_for(1)  # the first copy is complete
            put = await client.put("/examples/mirror/live/b", "2")
            await mirror.wait_for(put.revision)
        # --8<-- [end:use]
        print([(kv.key, kv.text()) for kv in await backup.range(prefix="/examples/mirror/copy/")])


asyncio.run(main())
