"""Register an instance of a service, and find the instances that there are."""

import asyncio
import os

from etcd_async import Client, Service

ENDPOINT = os.environ.get("ETCD_ENDPOINT", "http://localhost:2379")


# --8<-- [start:register]
async def serve(client: Client) -> None:
    service = Service(name="billing", id="billing-1", address="10.0.0.5:8080", metadata={"zone": "a"})
    async with client.register(service, ttl=15) as registration:
        await registration.update(metadata={"zone": "b"})
        await find(client)


# --8<-- [end:register]
# --8<-- [start:discover]
async def find(client: Client) -> None:
    for service in await client.discover("billing"):
        print(service.id, "at", service.address, dict(service.metadata))


# --8<-- [end:discover]
# --8<-- [start:watch]
async def follow(client: Client) -> None:
    async with client.watch_service("billing") as changes:
        async for change in changes:
            print(change.type, change.service.id, dict(change.service.metadata))
            if change.type == "removed":
                break  # a client would go on


# --8<-- [end:watch]
async def main() -> None:
    async with Client(ENDPOINT, namespace="/examples/discovery/") as client:
        await asyncio.gather(follow(client), serve(client))


asyncio.run(main())
