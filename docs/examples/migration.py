"""What programs for other clients look like here, and how to share a lock with those that are still to be moved."""

import asyncio
import os
import uuid

from etcd_async import Client, put, value

ENDPOINT = os.environ.get("ETCD_ENDPOINT", "http://localhost:2379")


# --8<-- [start:new]
async def the_same_here(client: Client) -> None:
    await client.put("/a", "1")
    found = await client.get("/a")  # a KeyValue, or None
    if found is not None:
        print(found.value, found.text(), found.mod_revision)

    for kv in await client.range(prefix="/"):
        print(kv.key, kv.value)

    done = await client.txn(when=[value("/a") == "1"], then=[put("/a", "2")], otherwise=[])
    print(done.succeeded, done.results)

    async with client.lease(ttl=10) as lease:  # renewed by itself, revoked at the end
        await client.put("/ephemeral", "here", lease=lease)

    async with client.watch(prefix="/") as watch:
        await client.put("/b", "1")
        async for event in watch:
            print(event.type, event.kv.key, event.kv.value)
            break

    async with client.lock("cleanup", ttl=10, timeout=10):  # raises LockTimeout; is never entered without the lock
        print("alone")


# --8<-- [end:new]
# --8<-- [start:old-lock]
async def hold_the_old_lock(client: Client, key: str) -> None:
    """Take a lock as etcd3 and etcd3gw (key "/locks/<name>") and aetcd (key "<name>") do."""
    async with client.lease(ttl=10) as lease:
        while not await client.put_if_absent(key, str(uuid.uuid4()), lease=lease):
            async with client.watch(key, filters=("no_put",)) as gone:
                if await client.exists(key):
                    await anext(aiter(gone))
        async with client.lock("cleanup", ttl=10):
            print("neither an old program nor a new one does it now")


# --8<-- [end:old-lock]
async def main() -> None:
    async with Client(ENDPOINT, namespace="/examples/migration") as client:
        await the_same_here(client)
        held = await client.leases.grant(ttl=10)
        await client.put("/locks/cleanup", "an old program", lease=held.id)
        waiting = asyncio.create_task(hold_the_old_lock(client, "/locks/cleanup"))
        await client.leases.revoke(held.id)
        await waiting


asyncio.run(main())
