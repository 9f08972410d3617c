"""How long a call takes where the machine stands still now and then: what slows others down, too, doesn't count."""

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from etcd_async import Client
from tests.faults.support import outcome
from tests.support.live import running, within

USUAL: Final = 0.05
"""Seconds that an answer may take of a server that is well, on any machine."""


class Witness:
    """Asks servers that are well, one question after the other, and notes when they, or this process, stand still."""

    def __init__(self) -> None:
        self._pauses: list[tuple[float, float]] = []
        self._asked: dict[Client, float] = {}

    async def ask(self, client: Client, key: str) -> None:
        """Ask for *key*, again and again; fail if an answer takes so long that nothing could be told any more."""
        while True:
            self._asked[client] = time.monotonic()
            await within(outcome(client.get(key)), 10)
            if (now := time.monotonic()) > self._asked[client] + USUAL:
                self._pauses.append((self._asked[client] + USUAL, now))

    def excuse(self, began: float, ended: float) -> float:
        """Return for how many of the seconds between two moments one of the servers that are well said nothing."""
        pending = [(asked + USUAL, time.monotonic()) for asked in self._asked.values()]
        excused, counted = 0.0, began
        for start, end in sorted([*self._pauses, *pending]):
            start, end = max(start, counted), min(end, ended)
            if start < end:
                excused, counted = excused + end - start, end
        return excused


class FairStopwatch:
    """Seconds since it was made, without those in which a witness got no answer either."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        now = time.monotonic()
        return now - self._start - self._witness.excuse(self._start, now)


@asynccontextmanager
async def witnessing(
    endpoints: Iterable[str], key: str = "/k", *, user: str | None = None, password: str | None = None
) -> AsyncIterator[Witness]:
    """Have a witness ask servers that are well while the body runs, each by a client of its own."""
    witness = Witness()
    async with AsyncExitStack() as stack:
        asking = []
        for endpoint in endpoints:
            client = await stack.enter_async_context(Client(endpoint, user=user, password=password))
            asking.append(await stack.enter_async_context(running(witness.ask(client, key))))
        yield witness
        assert not any(task.done() for task in asking)
