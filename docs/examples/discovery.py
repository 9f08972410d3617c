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
        await report(client)
        await call(client)


# --8<-- [end:register]
# --8<-- [start:discover]
async def find(client: Client) -> None:
    for service in await client.discover("billing"):
        print(service.id, "at", service.address, dict(service.metadata))


# --8<-- [end:discover]
# --8<-- [start:health]
async def report(client: Client) -> None:
    service = Service(name="billing", id="billing-2", address="10.0.0.6:8080")
    async with client.register(service) as registration:
        await registration.set_health(False, "the disk is full")
        print("healthy:", [each.id for each in await client.discover("billing", healthy_only=True)])
        await registration.set_health(True)


# --8<-- [end:health]
# --8<-- [start:resolver]
async def call(client: Client) -> None:
    async with client.resolver("billing", policy="round_robin") as resolver:
        await resolver.ready(timeout=10)
        service = resolver.pick()
        try:
            print("calling", service.address)  # here goes the call
        except ConnectionError:
            resolver.failed(service)


# --8<-- [end:resolver]
# --8<-- [start:watch]
async def follow(client: Client, follows: asyncio.Event) -> None:
    async with client.watch_service("billing") as changes:
        follows.set()  # from here on nothing is missed
        async for change in changes:
            print(change.type, change.service.id, dict(change.service.metadata))
            if change.type == "removed" and change.service.id == "billing-1":
                break  # a client would go on


# --8<-- [end:watch]
async def main() -> None:
    async with Client(ENDPOINT, namespace="/examples/discovery/") as client:
        follows = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(follow(client, follows))
            await follows.wait()
            await serve(client)


asyncio.run(main())
