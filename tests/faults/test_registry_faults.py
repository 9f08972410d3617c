"""Registrations and those who watch them, through killed processes, silent networks and cut connections."""

import asyncio
import os
import random
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from etcd_async import Client, LeaseNotFound, Registration, Service, ServiceChange
from etcd_async.testing import EtcdServer, FaultProxy
from tests.faults.support import start
from tests.faults.witness import witnessing
from tests.support.live import take, until, within

pytestmark = [pytest.mark.faults, pytest.mark.spared, pytest.mark.timeout(180)]

REGISTERED = Path(__file__).with_name("registered.py")
ROOT = REGISTERED.parents[2]
TTL = 2


@asynccontextmanager
async def registered(endpoint: str, name: str, id: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a process that is registered when the body begins."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(REGISTERED), endpoint, name, id, str(TTL)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    try:
        assert await within(process.stdout.readline(), 30) == b"registered\n"
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def test_a_killed_process_is_removed_within_its_ttl_and_a_second(server: EtcdServer, client: Client) -> None:
    for number in range(3):
        id = f"i-{number}"
        async with (
            client.watch_service("billing") as changes,
            registered(server.endpoint, "billing", id) as process,
            client.watch(prefix="", filters=("no_put",)) as deletions,
            witnessing([server.endpoint]) as witness,
        ):
            assert [change.type for change in await take(changes, 1)] == ["added"]
            process.kill()
            await process.wait()
            # A lease of a second more, granted after the kill: the server's own clock judges, and the order of its
            # revisions; unless it stood still, for what it finds to have ended at one look it revokes in any order.
            granted = time.monotonic()
            later = await client.leases.grant(TTL + 1)
            await client.put("/later", "", lease=later.id)
            (first,) = await take(deletions, 1, TTL + 20)
            is_first = first.kv.key == f"services/billing/{id}".encode()
            assert is_first or witness.excuse(granted, time.monotonic()) > 0.3
            (removed,) = await take(changes, 1)
            assert (removed.type, removed.service.id) == ("removed", id)
            with suppress(LeaseNotFound):
                await client.leases.revoke(later.id)
    assert await client.discover("billing") == []
    assert await client.leases.list() == []


async def test_who_is_cut_off_is_removed_and_comes_back_by_itself(
    distant: Client, proxy: FaultProxy, client: Client
) -> None:
    service = Service("billing", "i-1", "10.0.0.1:80", {"zone": "a"})
    async with client.watch_service("billing") as changes, distant.register(service, ttl=TTL + 1) as registration:
        assert await take(changes, 1) == [ServiceChange("added", service)]
        for _ in range(2):
            proxy.blackhole()
            assert await take(changes, 1, 20) == [ServiceChange("removed", service)]
            proxy.heal()
            assert await take(changes, 1, 30) == [ServiceChange("added", service)]
            await within(registration.registered())
            assert await client.discover("billing") == [service]
    assert await client.discover("billing") == []
    assert await client.leases.list() == []


class Churn:
    """Registrations that come, change and go at random, and what watchers should be told of them, in order."""

    def __init__(self, client: Client, chooser: random.Random) -> None:
        self.told: list[tuple[str, str, str]] = []
        self._client = client
        self._chooser = chooser
        self._present: dict[str, Registration] = {}
        self._number = 0

    async def step(self) -> None:
        """Let one instance join, change or leave."""
        kind = self._chooser.choice(["join", "join", "leave", "change"])
        if not self._present or (kind == "join" and len(self._present) < 20):
            await self._join()
        elif kind == "change":
            await self._change()
        else:
            await self._leave(self._chooser.choice(sorted(self._present)))

    async def end(self) -> None:
        """Let all but one leave."""
        for id in sorted(self._present)[1:]:
            await self._leave(id)

    async def aclose(self) -> None:
        for registration in self._present.values():
            await registration.__aexit__(None, None, None)

    async def _join(self) -> None:
        id = self._chooser.choice([each for each in map(str, range(30)) if each not in self._present])
        service = Service("billing", id, self._next())
        self._present[id] = await self._client.register(service, ttl=60).__aenter__()
        self.told.append(("added", id, service.address))

    async def _change(self) -> None:
        id = self._chooser.choice(sorted(self._present))
        address = self._next()
        await self._present[id].update(address=address)
        self.told.append(("modified", id, address))

    async def _leave(self, id: str) -> None:
        address = self._present[id].service.address
        await self._present.pop(id).__aexit__(None, None, None)
        self.told.append(("removed", id, address))

    def _next(self) -> str:
        self._number += 1
        return f"10.0.0.1:{self._number}"


@pytest.mark.judged
@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_watch_of_a_service_that_is_cut_again_and_again_misses_and_repeats_nothing(
    distant: Client, proxy: FaultProxy, client: Client
) -> None:
    chooser = random.Random(1000)
    churn = Churn(client, chooser)
    heard: list[ServiceChange] = []

    async def listen() -> None:
        async with distant.watch_service("billing") as changes:
            async for change in changes:
                heard.append(change)
                if change.service.id == "the end":
                    return

    for _ in range(10):
        await churn.step()
    present = {(service.id, service.address) for service in await client.discover("billing")}
    before = len(churn.told)
    listening = start(listen())

    async def has_heard_all() -> bool:
        await client.get("/anything")
        return len(heard) == len(present) + len(churn.told) - before

    await until(has_heard_all)
    cuts = 0
    for _ in range(1000):
        if chooser.random() < 0.05:
            if cuts % 10 == 0:  # the others may come in quick succession, and meet no new connection
                await until(has_heard_all, 30)
            proxy.cut()
            cuts += 1
        await churn.step()
    await churn.end()
    left = await client.discover("billing")
    async with client.register(Service("billing", "the end", "10.0.0.2:1")):
        await within(listening, 60)
    assert {(change.service.id, change.service.address) for change in heard[: len(present)]} == present
    told = [(change.type, change.service.id, change.service.address) for change in heard[len(present) : -1]]
    assert told == churn.told[before:]
    known: dict[str, Service] = {}
    for change in heard[:-1]:
        assert (change.type == "added") is (change.service.id not in known)
        known[change.service.id] = change.service
        if change.type == "removed":
            del known[change.service.id]
    assert sorted(known.values(), key=lambda service: service.id) == left
    assert len(left) == 1
    assert cuts > 30
    assert proxy.accepted > 4
    await churn.aclose()
    assert await client.leases.list() == []
