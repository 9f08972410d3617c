"""Many move one value back and forth while others change it: it has exactly one of its two names, always."""

import asyncio
import random

import pytest

from etcd_async import Client, KeyExists, KeyNotFound, put, version
from tests.faults.judge import history
from tests.support.live import within

NAMES = (b"/m/here", b"/m/there")


class Traffic:
    """Movers and writers of the one value, until both have done enough."""

    def __init__(self, client: Client, writers: int) -> None:
        self.moved = 0
        self.refused = 0
        self.written: list[int] = []
        self._client = client
        self._writing = writers

    async def move(self, seed: int) -> None:
        chooser = random.Random(seed)
        while self._writing or self.moved < 100:
            old, new = chooser.sample(NAMES, 2)
            try:
                await self._client.move(old, new, overwrite=chooser.random() < 0.3)
                self.moved += 1
            except (KeyNotFound, KeyExists):
                self.refused += 1

    async def write(self, seed: int, number: int) -> None:
        """Change the value *number* times, wherever it is."""
        chooser = random.Random(seed)
        for _ in range(number):
            while True:
                name, content = chooser.choice(NAMES), chooser.getrandbits(60)
                result = await self._client.txn([version(name) > 0], [put(name, str(content), ignore_lease=True)])
                if result.succeeded:
                    self.written.append(result.revision)
                    break
        self._writing -= 1


@pytest.mark.judged
@pytest.mark.parametrize("has_lease", [False, True])
async def test_the_value_has_exactly_one_of_its_names_at_every_revision(client: Client, has_lease: bool) -> None:
    traffic = Traffic(client, writers=4)
    lease = (await client.leases.grant(600)).id if has_lease else 0
    first = await client.put(NAMES[0], "0", lease=lease or None)
    movers = [traffic.move(seed) for seed in range(8)]
    writers = [traffic.write(100 + seed, 60) for seed in range(4)]
    await within(asyncio.gather(*movers, *writers), 40)
    assert traffic.moved >= 100
    assert traffic.refused > 0
    state: dict[bytes, bytes] = {}
    seen = 0
    async for events in history(client, first.revision):
        before, revision = list(state.values()), events[0].revision
        for event in sorted(events, key=lambda event: event.type):  # deletions first
            assert state.pop(event.kv.key, None) is not None or event.type == "put"
            if event.type == "put":
                assert event.kv.lease == lease
                state[event.kv.key] = event.kv.value
        assert len(state) == 1, f"at revision {revision} it is under {sorted(state)}"
        if revision not in traffic.written and before:  # a move, which changes nothing else
            assert list(state.values()) == before
            assert len(events) == 2
        seen += 1
    assert seen == 1 + len(traffic.written) + traffic.moved
    assert len(traffic.written) == 240
