"""Write keys, read them back, list them."""

import asyncio
import os

from etcd_async import Client

ENDPOINT = os.environ.get("ETCD_ENDPOINT", "http://localhost:2379")


# --8<-- [start:put]
async def write(client: Client) -> None:
    written = await client.put("/demo/k1", "hello etcd")
    print("written at revision", written.revision)

    replaced = await client.put("/demo/k1", "new value", prev_kv=True)
    if replaced.prev_kv is not None:
        print("replaced", replaced.prev_kv.text())


# --8<-- [end:put]
# --8<-- [start:get]
async def read(client: Client) -> None:
    found = await client.get("/demo/k1")
    if found is None:
        print("/demo/k1 does not exist")
    else:
        print(found.key, found.text(), "version", found.version)


# --8<-- [end:get]
# --8<-- [start:range]
async def list_some(client: Client) -> None:
    await client.put_many({"/demo/dir/a": "A", "/demo/dir/b": "B", "/demo_dir_noise": "noise"})

    for kv in await client.range(prefix="/demo/dir/"):
        print(kv.key, "=>", kv.text())

    newest = await client.range(prefix="/demo/", sort_by="mod_revision", descending=True, limit=2)
    print(len(newest), "of", newest.count, "keys, at revision", newest.revision)

    async for kv in client.scan(prefix="/demo/"):  # any number of keys, a page at a time, all of one revision
        print("scanned", kv.key)


# --8<-- [end:range]
# --8<-- [start:delete]
async def clean_up(client: Client) -> None:
    print("there are", await client.count(prefix="/demo/"), "keys")
    deleted = await client.delete(prefix="/demo")
    print(deleted.deleted, "deleted")


# --8<-- [end:delete]
async def main() -> None:
    async with Client(ENDPOINT, namespace="/examples/keys", timeout=5) as client:
        await write(client)
        await read(client)
        await list_some(client)
        await clean_up(client)


asyncio.run(main())
