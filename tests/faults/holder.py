"""
A process of its own that takes a lock: ``python holder.py endpoint name ttl [timeout]``.

Each line that it writes is an event, when it happened (CLOCK_MONOTONIC, which all processes of a machine share), the
fencing token, and when the term ends as far as it knows. It holds the lock until its standard input ends.
"""

import asyncio
import signal
import sys
import time

from etcd_async import Client, EtcdError, Lock, LockLost, LockTimeout


def say(event: str, lock: Lock | None = None) -> None:
    token, expires_at = (lock.fencing_token, lock._present.lease.expires_at) if lock else (0, 0.0)
    sys.stdout.write(f"{event} {time.monotonic()} {token} {expires_at}\n")
    sys.stdout.flush()


async def end_of_input() -> None:
    """Wait until nobody listens to us any more, or wants us to go on."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        await reader.read()
    finally:
        transport.close()


async def hold(client: Client, name: str, ttl: float, timeout: float | None) -> None:
    say("waiting")
    try:
        async with client.lock(name, ttl=ttl, timeout=timeout) as lock:
            say("entered", lock)
            try:
                await end_of_input()
            except asyncio.CancelledError:
                say("cancelled", lock)
                raise
    except LockLost:
        say("lost")
    except LockTimeout:
        say("timeout")
    except asyncio.CancelledError:
        say("interrupted")
        raise
    except EtcdError as error:
        say(f"failed:{type(error).__name__}")
    else:
        say("released")


async def main(endpoint: str, name: str, ttl: str, timeout: str = "") -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
    async with Client(endpoint) as client:
        await hold(client, name, float(ttl), float(timeout) if timeout else None)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
