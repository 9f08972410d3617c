"""Several endpoints, and what the client sees of them."""

import asyncio
import os

from etcd_async import Client
from etcd_async.testing import EtcdServer, FaultProxy

ENDPOINT = os.environ.get("ETCD_ENDPOINT", "http://localhost:2379")


# --8<-- [start:endpoints]
async def use(first: str, second: str) -> None:
    async with Client([first, second]) as client:
        await client.put("/a", "1")
        print("in use:", client.endpoints)


# --8<-- [end:endpoints]
# --8<-- [start:state]
async def report(client: Client) -> None:
    async for state in client.state_changes():
        for endpoint in state.endpoints:
            if not endpoint.is_healthy:
                print(endpoint.endpoint, "fails since", endpoint.failing_since, "because:", endpoint.last_error)
        if all(endpoint.is_connected and endpoint.is_healthy for endpoint in state.endpoints):
            print("all is well")


# --8<-- [end:state]
async def main() -> None:
    await use(ENDPOINT, ENDPOINT.replace("127.0.0.1", "localhost"))
    async with EtcdServer() as server, FaultProxy(server.endpoint) as proxy, Client(proxy.endpoint) as client:
        reporting = asyncio.create_task(report(client))
        await client.put("/a", "1")
        await server.kill()
        await server.start()
        await client.put("/a", "2", timeout=10)
        reporting.cancel()
        await asyncio.wait([reporting])


asyncio.run(main())
