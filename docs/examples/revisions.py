"""What revisions are good for: reading the past, and not losing somebody else's change."""

import asyncio
import os

from etcd_async import Client

ENDPOINT = os.environ.get("ETCD_ENDPOINT", "http://localhost:2379")


# --8<-- [start:past]
async def read_the_past(client: Client) -> None:
    first = await client.put("/page", "draft")
    await client.put("/page", "final")
    was = await client.get("/page", revision=first.revision)
    print("it was", was.text() if was else None)


# --8<-- [end:past]
# --8<-- [start:change]
async def append(client: Client, line: str) -> None:
    """Add a line to a page that others change, too."""
    while True:
        page = await client.get("/page")
        if page is None:
            written = await client.put_if_absent("/page", line)
        else:
            written = await client.replace("/page", f"{page.text()}\n{line}", mod_revision=page.mod_revision)
        if written:
            return


# --8<-- [end:change]
async def main() -> None:
    async with Client(ENDPOINT, namespace="/examples/revisions") as client:
        await read_the_past(client)
        await asyncio.gather(*(append(client, f"line {number}") for number in range(8)))
        page = await client.get("/page")
        print("lines:", len(page.text().splitlines()) if page else 0)


asyncio.run(main())
