"""
A process that is registered as a service: ``python registered.py endpoint name id ttl``.

It says ``registered`` once it is, and stays so until its standard input ends.
"""

import asyncio
import sys

from etcd_async import Client, Service
from tests.faults.ending import until_input_ends


async def main(endpoint: str, name: str, id: str, ttl: str) -> None:
    async with Client(endpoint) as client, client.register(Service(name, id, "10.0.0.1:80"), ttl=float(ttl)):
        sys.stdout.write("registered\n")
        sys.stdout.flush()
        await until_input_ends()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
