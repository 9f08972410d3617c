"""
A process that puts items into a queue, or works them off: ``python worker.py endpoint name ttl put|work seed``.

What is put says a number of its producer. Who works off an item writes that to ``done/<item>`` in the transaction that
takes the item out of the queue; now and then it fails at it first. It goes on until its standard input ends.
"""

import asyncio
import random
import sys

from etcd_async import Claim, ClaimLost, Client, PriorityQueue, delete, put
from tests.faults.ending import work_until_input_ends

ENOUGH = 60  # items that wait


class Failed(Exception):
    """The work could not be done."""


async def produce(queue: PriorityQueue, chooser: random.Random, producer: str) -> None:
    number = 0
    while True:
        await queue.put(f"{producer}/{number}", priority=chooser.randint(-1, 1))
        number += 1
        while await queue.size() > ENOUGH:
            pass


async def work(client: Client, item: Claim, chooser: random.Random) -> None:
    if chooser.random() < 0.1:
        raise Failed
    if chooser.random() < 0.5:  # the result and the end of the item at once, or the result alone
        done = await client.txn([item.owned], [put(f"done/{item.value.decode()}", ""), delete(item.key)])
        if not done.succeeded:
            raise ClaimLost("found on writing")


async def consume(client: Client, queue: PriorityQueue, chooser: random.Random) -> None:
    while True:
        try:
            async with queue.claim() as item:
                await work(client, item, chooser)
        except (Failed, ClaimLost):
            continue


async def main(endpoint: str, name: str, ttl: str, role: str, seed: str) -> None:
    async with Client(endpoint) as client:
        queue = client.priority_queue(name, ttl=float(ttl))
        chooser = random.Random(seed)
        if role == "put":
            await work_until_input_ends(produce(queue, chooser, seed))
        else:
            await work_until_input_ends(*(consume(client, queue, chooser) for _ in range(4)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
