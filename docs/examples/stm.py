"""Read, compute and write as one step, whatever others do meanwhile."""

import asyncio
import os

from etcd_async import Client, EtcdError, TooManyConflicts, Transaction

ENDPOINT = os.environ.get("ETCD_ENDPOINT", "http://localhost:2379")


# --8<-- [start:transfer]
async def balance(t: Transaction, account: str) -> int:
    kv = await t.get(account)
    return int(kv.value) if kv is not None else 0


async def transfer(client: Client, source: str, target: str, amount: int) -> None:
    async def move(t: Transaction) -> int:
        have = await balance(t, source)
        if have < amount:
            raise ValueError(f"{source} has only {have}")  # ends the transaction; nothing is written
        t.put(source, str(have - amount))
        t.put(target, str(await balance(t, target) + amount))
        return have - amount

    result = await client.stm(move)
    print(f"{source} has {result.value} left, as of revision {result.revision}")


# --8<-- [end:transfer]
# --8<-- [start:unknown]
async def transfer_once(client: Client, order: str, source: str, target: str, amount: int) -> bool:
    async def move(t: Transaction) -> None:
        if await t.get(f"done/{order}") is None:  # says whether an earlier try was carried out
            t.put(f"done/{order}", "")
            t.put(source, str(await balance(t, source) - amount))
            t.put(target, str(await balance(t, target) + amount))

    for _ in range(3):
        try:
            await client.stm(move, prefetch=[f"done/{order}", source, target], max_attempts=20)
            return True
        except TooManyConflicts:
            return False
        except EtcdError as error:
            if not error.maybe_applied:
                raise
    return False


# --8<-- [end:unknown]
async def main() -> None:
    async with Client(ENDPOINT, namespace="/examples/stm/") as client:
        await client.put_many({"alice": "100", "bob": "0"})
        await asyncio.gather(*(transfer(client, "alice", "bob", 10) for _ in range(3)))
        try:
            await transfer(client, "alice", "bob", 1000)
        except ValueError as refusal:
            print("refused:", refusal)
        for _ in range(2):
            await transfer_once(client, "order-7", "bob", "alice", 5)
        for account in await client.range(prefix=""):
            print(account.key.decode(), account.text())
        await client.delete(prefix="")


asyncio.run(main())
