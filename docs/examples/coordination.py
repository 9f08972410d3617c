"""Several at a time: readers and a writer, a few workers, members of a step."""

import asyncio
import os

from etcd_async import BarrierFull, BarrierTimeout, Client, LockTimeout, put

ENDPOINT = os.environ.get("ETCD_ENDPOINT", "http://localhost:2379")


# --8<-- [start:rwlock]
async def look_up(client: Client) -> None:
    async with client.rwlock("catalogue", ttl=10).read():
        print("reading, perhaps with others")


async def rebuild(client: Client) -> None:
    async with client.rwlock("catalogue", ttl=10).write() as lock:
        await client.txn(when=[lock.owned], then=[put("catalogue-state", "rebuilt")])
        print("writing, alone")


# --8<-- [end:rwlock]
# --8<-- [start:semaphore]
async def download(client: Client, number: int) -> None:
    try:
        async with client.semaphore("downloads", limit=3, ttl=10, timeout=30):
            print("downloading", number)
    except LockTimeout:
        print("the others took too long for", number)


# --8<-- [end:semaphore]
# --8<-- [start:barrier]
async def migrate(client: Client) -> None:
    async with client.lease(ttl=30) as lease:
        barrier = client.barrier("migration")
        await barrier.hold(lease=lease)  # opens by itself if this process dies
        print("migrating")
        await barrier.release()


async def serve(client: Client) -> None:
    try:
        await client.barrier("migration").wait(timeout=60)
    except BarrierTimeout:
        print("still migrating")
    else:
        print("serving")


# --8<-- [end:barrier]
# --8<-- [start:double]
async def take_part(client: Client, node: str) -> None:
    try:
        async with client.double_barrier("step-1", 3, ttl=10, timeout=30):
            print(node, "works: all three are here")
        print(node, "is done, and so are the others")
    except BarrierFull:
        print("three are there already")


# --8<-- [end:double]
async def main() -> None:
    async with Client(ENDPOINT, namespace="/examples/coordination/") as client:
        await asyncio.gather(look_up(client), rebuild(client), look_up(client))
        await asyncio.gather(*(download(client, number) for number in range(6)))
        async with client.watch("migration") as held:
            migrating = asyncio.create_task(migrate(client))
            await anext(aiter(held))
            await asyncio.gather(migrating, serve(client))
        await asyncio.gather(*(take_part(client, node) for node in ("n1", "n2", "n3")))
        await client.delete(prefix="")


asyncio.run(main())
