"""Logins where one of three members takes everything and answers nothing, or lags behind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from etcd_async import Client, DeadlineExceeded, Unavailable
from etcd_async.testing import EtcdCluster, FaultProxy
from tests.faults.auth import ANN_PASSWORD, ROOT_PASSWORD, enable_auth
from tests.faults.support import STEADY, outcome
from tests.faults.witness import FairStopwatch, Witness, witnessing
from tests.support.live import within

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(120)]

PATIENCE = 2.0
"""Seconds that a hanging member may cost a call that must log in first: once for the login, and once for itself."""


@dataclass(frozen=True)
class Guarded:
    """Three members with users, each behind a proxy, and a witness who asks them directly."""

    cluster: EtcdCluster
    proxies: list[FaultProxy]
    witness: Witness

    @property
    def endpoints(self) -> list[str]:
        return [proxy.endpoint for proxy in self.proxies]

    def ann(self) -> Client:
        return Client(self.endpoints, user="ann", password=ANN_PASSWORD)


@pytest.fixture
async def guarded() -> AsyncIterator[Guarded]:
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(EtcdCluster(size=3, extra_args=(*STEADY, "--bcrypt-cost=4")))
        async with Client(cluster.endpoints) as client:
            await enable_auth(client)
        proxies = [await stack.enter_async_context(FaultProxy(member.endpoint)) for member in cluster]
        asking = witnessing(cluster.endpoints, "/ann/witness", user="ann", password=ANN_PASSWORD)
        yield Guarded(cluster, proxies, await stack.enter_async_context(asking))


async def test_a_login_is_not_held_up_by_one_member_that_hangs(guarded: Guarded) -> None:
    guarded.proxies[0].blackhole()
    for _ in range(6):  # whichever member comes first
        async with guarded.ann() as client:
            watch = FairStopwatch(guarded.witness)
            await client.put("/ann/k", "v")
            assert watch.seconds < PATIENCE


async def test_a_new_login_is_not_held_up_by_a_member_that_hangs_since_the_last_one(guarded: Guarded) -> None:
    async with Client(guarded.cluster.endpoints, user="root", password=ROOT_PASSWORD) as admin:
        for proxy in guarded.proxies:
            async with guarded.ann() as client:
                await asyncio.gather(*(client.get("/ann/k") for _ in range(6)))
                await admin.auth.change_password("ann", ANN_PASSWORD)  # forgets the user's tokens
                proxy.blackhole()
                watch = FairStopwatch(guarded.witness)
                await client.get("/ann/k")
                assert watch.seconds < 2 * PATIENCE
                proxy.heal()


async def test_a_call_that_got_no_further_than_the_login_tells_what_is_wrong_everywhere(guarded: Guarded) -> None:
    for proxy in guarded.proxies:
        proxy.blackhole()
    async with guarded.ann() as client:
        error = await within(outcome(client.put("/ann/k", "v", timeout=6)), 20)
        assert isinstance(error, DeadlineExceeded | Unavailable)
        assert not error.maybe_applied
        assert {attempt.endpoint for attempt in error.attempts} == {*guarded.endpoints}
        for proxy in guarded.proxies:
            proxy.heal()
        watch = FairStopwatch(guarded.witness)
        await client.put("/ann/k", "v")
        assert watch.seconds < 3


async def test_calls_on_every_member_follow_a_login_on_one_of_them(guarded: Guarded) -> None:
    # A token of etcd's simple kind is known to a member only once it has applied the login.
    for round_number in range(20):
        async with guarded.ann() as client:
            await within(asyncio.gather(*(client.put(f"/ann/{round_number}/{n}", "v") for n in range(30))), 20)
            assert {kv.version for kv in await client.range(prefix=f"/ann/{round_number}/")} == {1}
