"""Many transactions of functions at once are as if they had come one after the other."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etcd_async import (
    Client,
    Isolation,
    Transaction,
)
from etcd_async.testing import EtcdServer
from tests.integration.interference import GUARDING_READS, number
from tests.support.live import within

numbers = itertools.count()


@pytest.mark.judged
async def test_a_bank_with_many_clients_at_once_keeps_its_sum_at_every_revision(
    client: Client, etcd_server: EtcdServer
) -> None:
    accounts = [f"account/{each}" for each in range(4)]
    begin = (await client.put_many(dict.fromkeys(accounts, "100"))).revision

    def transfer(source: str, target: str) -> Callable[[Transaction], Awaitable[None]]:
        async def move(t: Transaction) -> None:
            have = await number(t, source)
            amount = have // 3
            t.put(source, str(have - amount))
            t.put(target, str(await number(t, target) + amount))

        return move

    async def audit(t: Transaction) -> int:
        return sum([await number(t, account) for account in accounts])

    async def clerk(seed: int) -> None:
        async with Client(etcd_server.endpoint) as own:
            for each in range(10):
                source, target = accounts[(seed + each) % 4], accounts[(seed * 3 + each + 1) % 4]
                if source != target:
                    await own.stm(transfer(source, target))
                assert (await own.stm(audit)).value == 400

    await within(asyncio.gather(*(clerk(seed) for seed in range(8))), 40)
    end = (await client.put("end", "")).revision
    for revision in range(begin, end):
        found = await client.range(prefix="account/", revision=revision)
        assert sum(int(kv.value) for kv in found) == 400


KEYS = ["a", "b", "c", "d"]


@dataclass
class Program:
    """A transaction that reads some keys, then writes its name into some and deletes others."""

    isolation: Isolation
    reads: list[str]
    puts: set[str]
    deletes: set[str]
    prefetch: set[str]
    name: str = field(default_factory=lambda: str(next(numbers)))

    async def __call__(self, t: Transaction) -> dict[str, str | None]:
        seen = {}
        for key in self.reads:
            kv = await t.get(key)
            seen[key] = kv.text() if kv else None
        for key in self.puts:
            t.put(key, self.name)
        for key in self.deletes - self.puts if self.puts else ():
            t.delete(key)
        return seen


programs = st.builds(
    Program,
    isolation=st.sampled_from(GUARDING_READS),
    reads=st.lists(st.sampled_from(KEYS), unique=True),
    puts=st.sets(st.sampled_from(KEYS), max_size=2),
    deletes=st.sets(st.sampled_from(KEYS), max_size=1),
    prefetch=st.sets(st.sampled_from(KEYS), max_size=2),
    name=st.builds(lambda: str(next(numbers))),
)


@pytest.mark.judged
@pytest.mark.timeout(300)
@given(st.lists(st.lists(programs, min_size=1, max_size=4), min_size=2, max_size=6))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_random_transactions_are_as_if_one_after_the_other(client: Client, tasks: list[list[Program]]) -> None:
    """The order is that of their revisions; each has seen exactly what those before it left."""
    own = client.namespaced(f"/{next(numbers)}/")
    done: list[tuple[int, bool, Program, dict[str, str | None]]] = []

    async def run(several: list[Program]) -> None:
        for program in several:
            result = await own.stm(program, isolation=program.isolation, prefetch=program.prefetch)
            done.append((result.revision, not program.puts, program, result.value))

    await within(asyncio.gather(*(run(several) for several in tasks)), 30)
    state: dict[str, str] = {}
    for _, only_read, program, seen in sorted(done, key=lambda each: each[:2]):
        if program.reads:
            assert seen == {key: state.get(key) for key in program.reads}
        if not only_read:
            state = {key: value for key, value in state.items() if key not in program.deletes}
            state |= dict.fromkeys(program.puts, program.name)
    assert {kv.key.decode(): kv.text() for kv in await own.range(prefix="")} == state
