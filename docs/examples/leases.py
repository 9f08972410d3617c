"""Keys that live only while somebody renews their lease."""

import asyncio
import os

from etcd_async import Client, LeaseLost

ENDPOINT = os.environ.get("ETCD_ENDPOINT", "http://localhost:2379")


# --8<-- [start:scope]
async def while_it_runs(client: Client) -> None:
    async with client.lease(ttl=10) as lease:  # renewed in the background
        await client.put("/ephemeral", "here", lease=lease)
        print("there:", await client.exists("/ephemeral"))
    print("there:", await client.exists("/ephemeral"))


# --8<-- [end:scope]
# --8<-- [start:by-hand]
async def by_hand(client: Client) -> None:
    granted = await client.leases.grant(ttl=10)
    await client.put("/ephemeral", "gone soon", lease=granted.id)
    renewed = await client.leases.keep_alive_once(granted.id)
    print("renewed for", renewed.ttl, "seconds")

    left = await client.leases.time_to_live(granted.id, keys=True)
    print("its keys:", left.keys)
    await client.leases.revoke(granted.id)


# --8<-- [end:by-hand]
# --8<-- [start:loss]
async def work_until_it_is_lost(client: Client) -> None:
    try:
        async with client.lease(ttl=10) as lease:
            await client.leases.revoke(lease)  # somebody ends the lease
            await asyncio.Event().wait()  # work that would go on for ever is cancelled
    except LeaseLost as loss:
        print("stopped:", loss.__cause__)


# --8<-- [end:loss]
async def main() -> None:
    async with Client(ENDPOINT, namespace="/examples/leases") as client:
        await while_it_runs(client)
        await by_hand(client)
        await work_until_it_is_lost(client)


asyncio.run(main())
