"""Hear of changes as they happen."""

import asyncio
import json
import os
from collections.abc import Callable

from etcd_async import Batch, Client, Compacted

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
# --8<-- [start:follow]
async def follow_from_the_present(client: Client, apply: Callable[[dict[bytes, bytes]], bool]) -> None:
    """Give *apply* all settings at first, and after each change, until it returns False."""
    while True:
        present = await client.range(prefix="/settings/")
        settings = {kv.key: kv.value for kv in present}
        if not apply(settings):
            return
        try:
            async with client.watch(prefix="/settings/", start_revision=present.revision + 1) as watch:
                async for batch in watch.batches():  # what was written in one step is applied in one
                    bring_up_to(settings, batch)
                    if not apply(settings):
                        return
        except Compacted:
            print("cut off for so long that the history is gone: reading everything again")


def bring_up_to(settings: dict[bytes, bytes], batch: Batch) -> None:
    for event in batch.events:
        if event.type == "put":
            settings[event.kv.key] = event.kv.value
        else:
            settings.pop(event.kv.key, None)


# --8<-- [end:follow]
# --8<-- [start:resume]
async def go_on_where_it_stopped(client: Client, done: int) -> int:
    """Work off changes from the revision after *done*, and return the last one that was worked off."""
    async with client.watch(prefix="/orders/", start_revision=done + 1) as watch:
        async for batch in watch.batches():
            for event in batch.events:
                print("order", event.kv.key, event.type)
            done = batch.revision  # store it with the results, in one step with them where that can be
            break  # a service would go on
    return done


# --8<-- [end:resume]
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
async def settle_and_change(client: Client) -> None:
    heard = asyncio.Event()

    def apply(settings: dict[bytes, bytes]) -> bool:
        print("in force:", settings)
        heard.set()
        return settings.get(b"/settings/rate") != b"20"

    await client.put("/settings/rate", "10")
    following = asyncio.create_task(follow_from_the_present(client, apply))
    await heard.wait()
    await client.put("/settings/rate", "20")
    await following


async def order_twice(client: Client) -> None:
    before = await client.put("/orders/1", "an apple")
    await client.put("/orders/2", "a pear")
    done = await go_on_where_it_stopped(client, before.revision)
    await client.put("/orders/3", "a plum")
    await go_on_where_it_stopped(client, done)


async def main() -> None:
    async with Client(ENDPOINT, namespace="/examples/watches") as client:
        await follow_settings(client)
        await follow_a_tree(client)
        await list_then_watch(client)
        await settle_and_change(client)
        await order_twice(client)
        await ask_for_lost_history(client)


asyncio.run(main())
