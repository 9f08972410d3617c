"""Hand work to whoever is free, so that none is lost when a worker dies."""

import asyncio
import os

from etcd_async import Claim, Client, QueueTimeout, delete, put

ENDPOINT = os.environ.get("ETCD_ENDPOINT", "http://localhost:2379")


class MailServerDown(Exception):
    pass


# --8<-- [start:put]
async def hand_in(client: Client) -> None:
    queue = client.queue("mails")
    for address in ("ann@example.org", "bob@example.org", "eve@example.org"):
        await queue.put(address)
    print(await queue.size(), "mails to send")


# --8<-- [end:put]
# --8<-- [start:claim]
async def work(client: Client, name: str) -> None:
    queue = client.queue("mails", ttl=10)
    while True:
        try:
            async with queue.claim(timeout=0.5) as item:  # the first item that nobody has
                await send(name, item)
        except QueueTimeout:
            break
        except MailServerDown:
            print(name, "failed: the item is back in its place")


# --8<-- [end:claim]
attempts: set[bytes] = set()


async def send(name: str, item: Claim) -> None:
    if item.value.startswith(b"bob") and item.key not in attempts:
        attempts.add(item.key)
        raise MailServerDown
    print(name, "sends a mail to", item.kv.text())


# --8<-- [start:result]
async def compute(client: Client) -> None:
    queue = client.queue("numbers")
    await queue.put("21")
    async with queue.claim() as item:
        answer = str(2 * int(item.value))
        done = await client.txn(when=[item.owned], then=[put("answer", answer), delete(item.key)])
        print("written once and for all:", done.succeeded)


# --8<-- [end:result]
# --8<-- [start:priority]
async def triage(client: Client) -> None:
    queue = client.priority_queue("patients")
    await queue.put("a cold", priority=5)
    await queue.put("a broken leg", priority=1)
    async with queue.claim() as item:
        print("first:", item.kv.text())


# --8<-- [end:priority]
async def main() -> None:
    async with Client(ENDPOINT, namespace="/examples/queues/") as client:
        await hand_in(client)
        await asyncio.gather(work(client, "worker-1"), work(client, "worker-2"))
        await compute(client)
        await triage(client)
        await client.delete(prefix="patients/")


asyncio.run(main())
