"""Many keys at a time."""

import asyncio
import os

from etcd_async import Client

ENDPOINT = os.environ.get("ETCD_ENDPOINT", "http://localhost:2379")


# --8<-- [start:gather]
async def several(client: Client, keys: list[str]) -> list[str | None]:
    found = await asyncio.gather(*(client.get(key) for key in keys))
    return [kv.text() if kv else None for kv in found]


# --8<-- [end:gather]
async def main() -> None:
    async with Client(ENDPOINT, namespace="/examples/bulk") as client:
        await client.put_many({f"/{number}": str(number) for number in range(1000)}, atomic=False)
        print(await several(client, ["/1", "/2", "/none"]))


asyncio.run(main())
