"""
The second process of the lock's step: takes a lock and keeps it until its standard input ends, or it is killed.

    python -m etcd_async._demo.holder PREFIX LOCK TTL ENDPOINT...

On entering it prints one line of JSON: the lock's ``key`` and fencing ``token``. The pipe to its input ends with the
process that started it, so it does not outlive the tour.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

import anyio

from etcd_async import Client, EtcdError

__all__ = ["hold", "main"]


async def hold(prefix: str, name: str, ttl: float, endpoints: Sequence[str]) -> None:
    """Take the lock, say so, and keep it until the input ends."""
    async with Client(endpoints, namespace=prefix) as client, client.lock(name, ttl=ttl) as lock:
        entered = json.dumps({"key": lock.key.decode(), "token": lock.fencing_token})
        os.write(sys.stdout.fileno(), f"{entered}\n".encode())
        await anyio.wait_readable(sys.stdin.fileno())


def main() -> int:
    """Run the process; the exit status is 1 if etcd stood in the way."""
    prefix, name, ttl, *endpoints = sys.argv[1:]
    try:
        anyio.run(hold, prefix, name, float(ttl), endpoints)
    except BrokenPipeError:  # the tour ended before this process had the lock
        return 0
    except EtcdError as error:
        sys.stderr.write(f"the second process failed: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
