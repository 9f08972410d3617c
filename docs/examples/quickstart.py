"""Write, read, and see a change as it happens."""

import asyncio
import os

from etcd_async import Client

ENDPOINT = os.environ.get("ETCD_ENDPOINT", "http://localhost:2379")


async def main() -> None:
    async with Client(ENDPOINT, namespace="/quickstart") as client:
        await client.put("/greeting", "hello")
        found = await client.get("/greeting")
        print("read:", found.text() if found else "no such key")

        async with client.watch("/greeting") as watch:
            await client.put("/greeting", "hello again")
            async for event in watch:
                print("seen:", event.type, event.kv.text(), "at revision", event.revision)
                break

        async with client.lock("greeting", ttl=10) as lock:
            print("locked with fencing token", lock.fencing_token)
            await client.delete("/greeting")


asyncio.run(main())
