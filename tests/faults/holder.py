"""
A process of its own that takes a lock: ``python holder.py endpoint name ttl [timeout]``.

Each line that it writes is an event, when it happened (CLOCK_MONOTONIC, which all processes of a machine share), the
fencing token, when the term ends as far as it knows, and for how long it held the lock beyond that. It holds the lock
until its standard input ends.
"""

import asyncio
import signal
import sys
import time

from etcd_async import Client, EtcdError, Lock, LockLost, LockTimeout
from tests.support.live import running


class Stay:
    """
    The time in a lock.

    Attributes:
        overdue: Seconds beyond the term, in hundredths that this process has seen pass: where the machine has no time
            for it, it can't leave either.
    """

    def __init__(self, lock: Lock) -> None:
        self.token = lock.fencing_token
        self.overdue = 0.0
        self._lease = lock._present.lease

    @property
    def expires_at(self) -> float:
        return self._lease.expires_at

    async def go(self) -> None:
        while True:
            await asyncio.sleep(0.01)
            if time.monotonic() > self.expires_at:
                self.overdue += 0.01


def say(event: str, stay: Stay | None = None) -> None:
    token, expires_at, overdue = (stay.token, stay.expires_at, stay.overdue) if stay else (0, 0.0, 0.0)
    sys.stdout.write(f"{event} {time.monotonic()} {token} {expires_at} {overdue}\n")
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
            stay = Stay(lock)
            say("entered", stay)
            try:
                async with running(stay.go()):
                    await end_of_input()
            except asyncio.CancelledError:
                say("cancelled", stay)
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
