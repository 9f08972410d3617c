"""Operations as values, alone and in transactions."""

import asyncio
import os

from etcd_async import Client, delete, get, put, txn, value, version

ENDPOINT = os.environ.get("ETCD_ENDPOINT", "http://localhost:2379")


# --8<-- [start:do]
async def run_prebuilt(client: Client) -> None:
    print("put at revision", (await client.do(put("/op/key", "123"))).revision)
    found = await client.do(get("/op/key"))
    print("got", found.text() if found else None)
    print("deleted", (await client.do(delete("/op/key"))).deleted)


# --8<-- [end:do]
# --8<-- [start:txn]
async def decide(client: Client) -> None:
    await client.put("/guard", "v1")

    result = await client.txn(
        when=[value("/guard") > "u0", version("/guard") == 1],
        then=[put("/result", "then"), put("/extra", "ok")],
        otherwise=[put("/result", "otherwise"), delete("/extra")],
    )
    print("then" if result.succeeded else "otherwise", "ran at revision", result.revision)


# --8<-- [end:txn]
# --8<-- [start:nested]
async def decide_twice(client: Client) -> None:
    claim = txn(
        when=[version("/owner") == 0],
        then=[put("/owner", "me"), get("/guard")],
        otherwise=[get("/owner")],
    )
    result = await client.txn(when=[version("/guard") > 0], then=[claim])
    print("the inner transaction:", result.results[0])


# --8<-- [end:nested]
# --8<-- [start:shortcuts]
async def common_decisions(client: Client) -> None:
    print("created:", await client.put_if_absent("/counter", "1"))
    print("swapped:", await client.compare_and_swap("/counter", expected="1", new="2"))

    found = await client.get("/counter")
    if found is not None:
        unchanged = await client.replace("/counter", "3", mod_revision=found.mod_revision)
        print("written, as nobody else had:", unchanged)
    await client.move("/counter", "/total", overwrite=True)


# --8<-- [end:shortcuts]
async def main() -> None:
    async with Client(ENDPOINT, namespace="/examples/transactions") as client:
        await client.delete(prefix="")
        await run_prebuilt(client)
        await decide(client)
        await decide_twice(client)
        await common_decisions(client)


asyncio.run(main())
