"""
A process of several contenders: ``python contender.py endpoint ttl seed name...``.

Each contender, one for each *name*, takes the lock ``lock`` and then leads in the election ``election``, again and
again. What it does inside it writes to ``said/lock/<name>`` or ``said/election/<name>``, guarded by ``owned``, with its
fencing token. It goes on until the standard input of the process ends.
"""

import asyncio
import random
import sys

from etcd_async import Client, Leadership, LeaseLost, Lock, put
from tests.faults.ending import work_until_input_ends


async def speak(client: Client, held: Lock | Leadership, key: str, times: int) -> None:
    """Write the token so many times, for as long as it is ours."""
    for _ in range(times):
        written = await client.txn([held.owned], [put(key, str(held.fencing_token))])
        if not written.succeeded:
            return


async def contend(client: Client, name: str, ttl: float, chooser: random.Random) -> None:
    election = client.election("election", identity=name, ttl=ttl)
    while True:
        try:
            async with client.lock("lock", ttl=ttl) as lock:
                await speak(client, lock, f"said/lock/{name}", chooser.randint(1, 5))
            async with election.campaign() as leadership:
                await leadership.proclaim(f"{name} leads")
                await speak(client, leadership, f"said/election/{name}", chooser.randint(1, 5))
        except LeaseLost as lost:  # the machine was too busy for a whole term; the judge needs no more than to know
            await client.put(f"lost/{name}", str(lost))


async def main(endpoint: str, ttl: str, seed: str, *names: str) -> None:
    async with Client(endpoint) as client:
        chooser = random.Random(seed)
        await work_until_input_ends(*(contend(client, name, float(ttl), chooser) for name in names))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
