"""Hear of changes as they happen."""

import asyncio
import json
import os

from etcd_async import Client, Compacted

ENDPOINT = os.environ.get("ETCD_ENDPOINT", "http://localhost:2379")


# --8<-- [start:one]
async def follow_settings(client: Client) -> None:
    async with client.watch("/cfg/runtime") as watch:
        await client.put("/cfg/runtime", json.dumps({"feature": "beta", "rate": 10}))
        async for event in watch:
            print("the settings are now", event.kv.json())
            break  # a service would go on


# --8<-- [end:one]
# --8<-- [start:prefix]
async def follow_a_tree(client: Client) -> None:
    async with client.watch(prefix="/dir/", prev_kv=True) as watch:
        await client.put("/dir/a", "A")
        await client.put("/dir/a", "B")
        await client.delete("/dir/a")
        async for event in watch:
            before = event.prev_kv.text() if event.prev_kv else None
            print(event.type, event.kv.key, before, "->", event.kv.text())
            if event.type == "delete":
                break


# --8<-- [end:prefix]
# --8<-- [start:join]
async def list_then_watch(client: Client) -> None:
    present = await client.range(prefix="/nodes/")
    print("at first:", [kv.key for kv in present])

    await client.put("/nodes/late", "up")  # what is written in between is not missed
    async with client.watch(prefix="/nodes/", start_revision=present.revision + 1) as watch:
        async for batch in watch.batches():
            print("up to revision", batch.revision, [event.kv.key for event in batch.events])
            break


# --8<-- [end:join]
# --8<-- [start:compacted]
async def ask_for_lost_history(client: Client) -> None:
    newest = await client.put("/dir/a", "C")
    await client.compact(newest.revision)
    try:
        async with client.watch("/dir/a", start_revision=1) as watch:
            async for event in watch:
                print(event.revision)
    except Compacted as gone:
        print("history begins at", gone.compact_revision, "- list again and go on from there")


# --8<-- [end:compacted]
async def main() -> None:
    async with Client(ENDPOINT, namespace="/examples/watches") as client:
        await follow_settings(client)
        await follow_a_tree(client)
        await list_then_watch(client)
        await ask_for_lost_history(client)


asyncio.run(main())
