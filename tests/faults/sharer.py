"""
A process of its own that contends: ``python sharer.py endpoint recipe name seed``.

``rwlock`` and ``semaphore`` take it again and again, and note in the journal that they are in; ``bank`` moves money
from account to account. It goes on until its standard input ends, and may be killed at any time.
"""

import asyncio
import random
import sys
from contextlib import suppress

from etcd_async import Client, LockLost, Transaction
from tests.faults.holder import end_of_input
from tests.faults.sharing import holdings, note

TTL = 1.0
CONTENDERS = 3


async def contend(client: Client, recipe: str, name: bytes, chance: random.Random) -> None:
    while True:
        holding = chance.choice(holdings(client, name, recipe, ttl=TTL))
        with suppress(LockLost):  # on a machine that is busy enough
            async with holding:
                for _ in range(chance.randint(1, 3)):
                    await note(client, holding, name)


async def bank(client: Client, name: bytes, chance: random.Random) -> None:
    accounts = [name + b"/%d" % each for each in range(5)]

    async def move(t: Transaction) -> None:
        source, target = chance.sample(accounts, 2)
        have = [int(kv.value) for account in (source, target) if (kv := await t.get(account))]
        amount = chance.randint(0, have[0])
        t.put(source, str(have[0] - amount))
        t.put(target, str(have[1] + amount))

    while True:
        await client.stm(move)


async def main(endpoint: str, recipe: str, name: str, seed: str) -> None:
    chance = random.Random(int(seed))
    async with Client(endpoint) as client:
        works = [bank(client, name.encode(), chance)] if recipe == "bank" else []
        works += [contend(client, recipe, name.encode(), chance) for _ in range(0 if works else CONTENDERS)]
        tasks = [asyncio.create_task(each) for each in works]
        await asyncio.wait([asyncio.create_task(end_of_input()), *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(ended, asyncio.CancelledError):
                raise ended or AssertionError("it goes on until it is told to end")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
