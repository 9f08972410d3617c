"""What tests of transactions of functions share: the levels, and others who interfere."""

from collections.abc import Awaitable, Callable

from etcd_async import (
    Client,
    Isolation,
    Namespace,
    Transaction,
)

LEVELS: list[Isolation] = ["serializable_snapshot", "serializable", "repeatable_reads", "read_committed"]
ONE_REVISION = LEVELS[:2]
GUARDING_READS = LEVELS[:3]


async def number(client: Client | Namespace | Transaction, key: str) -> int:
    kv = await client.get(key)
    return 0 if kv is None else int(kv.value)


class Interfering:
    """A function of a transaction that has others do something in the middle of its first attempts."""

    def __init__(self, others: Callable[[], Awaitable[object]], times: int = 1) -> None:
        self.attempts = 0
        self._others = others
        self._times = times

    async def interfere(self) -> None:
        self.attempts += 1
        if self.attempts <= self._times:
            await self._others()
