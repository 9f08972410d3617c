"""Cut, freeze and kill what your code talks to."""

import asyncio

from etcd_async import Client, DeadlineExceeded
from etcd_async.testing import EtcdServer, FaultProxy


# --8<-- [start:server]
async def kill_and_restart() -> None:
    async with EtcdServer() as server, Client(server.endpoint, timeout=10) as client:
        await client.put("/a", "1")
        await server.kill()  # as a crash would
        await server.start()  # with the same data and port
        print("after the crash:", await client.get("/a"))


# --8<-- [end:server]
# --8<-- [start:proxy]
async def freeze_the_network() -> None:
    async with EtcdServer() as server, FaultProxy(server.endpoint) as proxy, Client(proxy.endpoint) as client:
        await client.put("/a", "1")
        proxy.blackhole("to_client")
        try:
            await client.get("/a", timeout=0.5)
        except DeadlineExceeded as error:
            print("no answer:", error)
        proxy.heal()
        print("healed:", await client.get("/a"))


# --8<-- [end:proxy]
async def main() -> None:
    await kill_and_restart()
    await freeze_the_network()


asyncio.run(main())
