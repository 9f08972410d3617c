"""Logins where one of three members takes everything and answers nothing, or lags behind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from etcd_async import Client, DeadlineExceeded, Unavailable
from etcd_async.testing import EtcdCluster, FaultProxy
from tests.faults.auth import ANN_PASSWORD, ROOT_PASSWORD, enable_auth
from tests.faults.support import QUICK, Stopwatch, outcome
from tests.support.live import within

pytestmark = [pytest.mark.faults, pytest.mark.slow]

PATIENCE = 2.0
"""Seconds that a hanging member may cost a call that must log in first: once for the login, and once for itself."""


@asynccontextmanager
async def guarded_cluster() -> AsyncIterator[tuple[EtcdCluster, list[FaultProxy]]]:
    """Three members with users, each behind a proxy."""
    async with AsyncExitStack() as stack:
        cluster = EtcdCluster(size=3, extra_args=(*QUICK, "--bcrypt-cost=4"))
        await stack.enter_async_context(cluster)
        async with Client(cluster.endpoints) as client:
            await enable_auth(client)
        yield cluster, [await stack.enter_async_context(FaultProxy(member.endpoint)) for member in cluster]


def ann(proxies: list[FaultProxy]) -> Client:
    return Client([proxy.endpoint for proxy in proxies], user="ann", password=ANN_PASSWORD)


async def test_a_login_is_not_held_up_by_one_member_that_hangs() -> None:
    async with guarded_cluster() as (_, proxies):
        proxies[0].blackhole()
        for _ in range(6):  # whichever member comes first
            async with ann(proxies) as client:
                watch = Stopwatch()
                await client.put("/ann/k", "v")
                assert watch.seconds < PATIENCE


async def test_a_new_login_is_not_held_up_by_a_member_that_hangs_since_the_last_one() -> None:
    async with (
        guarded_cluster() as (cluster, proxies),
        Client(cluster.endpoints, user="root", password=ROOT_PASSWORD) as admin,
    ):
        for proxy in proxies:
            async with ann(proxies) as client:
                await asyncio.gather(*(client.get("/ann/k") for _ in range(6)))
                await admin.auth.change_password("ann", ANN_PASSWORD)  # forgets the user's tokens
                proxy.blackhole()
                watch = Stopwatch()
                await client.get("/ann/k")
                assert watch.seconds < 2 * PATIENCE
                proxy.heal()


async def test_a_call_that_got_no_further_than_the_login_tells_what_is_wrong_everywhere() -> None:
    async with guarded_cluster() as (_, proxies):
        for proxy in proxies:
            proxy.blackhole()
        async with ann(proxies) as client:
            error = await within(outcome(client.put("/ann/k", "v", timeout=4)))
            assert isinstance(error, DeadlineExceeded | Unavailable)
            assert not error.maybe_applied
            assert {attempt.endpoint for attempt in error.attempts} == {proxy.endpoint for proxy in proxies}
            for proxy in proxies:
                proxy.heal()
            watch = Stopwatch()
            await client.put("/ann/k", "v")
            assert watch.seconds < 3


async def test_calls_on_every_member_follow_a_login_on_one_of_them() -> None:
    # A token of etcd's simple kind is known to a member only once it has applied the login.
    async with guarded_cluster() as (_, proxies):
        for round_number in range(20):
            async with ann(proxies) as client:
                await within(asyncio.gather(*(client.put(f"/ann/{round_number}/{n}", "v") for n in range(30))))
                assert {kv.version for kv in await client.range(prefix=f"/ann/{round_number}/")} == {1}
