"""Leases at their edges: not entered, never granted, cancelled before the answer, and a loop that stood still."""

import asyncio
import time

import pytest

from etcd_async import Client
from etcd_async.testing import EtcdServer, FaultProxy
from tests.support.live import turns, until, within


async def test_a_lease_that_was_not_entered_is_no_lease_to_put_with(client: Client) -> None:
    lease = client.lease(10)
    with pytest.raises(RuntimeError, match="enter the lease first"):
        await client.put("/ephemeral", "v", lease=lease)
    assert not await client.exists("/ephemeral")


@pytest.mark.parametrize("ttl", [1e300, 2**63 + 1])
async def test_a_term_beyond_all_bounds_is_refused_and_hurts_nobody(client: Client, ttl: float) -> None:
    with pytest.raises(ValueError, match="ttl must be less than"):
        client.lease(ttl)
    with pytest.raises(ValueError, match="ttl must be less than"):
        client.lock("x", ttl=ttl)
    async with client.lease(10):
        assert len(await client.leases.list()) == 1


async def test_a_lease_granted_after_its_scope_was_cancelled_is_revoked(
    client: Client, etcd_server: EtcdServer
) -> None:
    async def is_over(client: Client) -> bool:
        await client.get("/x")
        return not {"etcd_async.grant", "etcd_async.revoke"} & {task.get_name() for task in asyncio.all_tasks()}

    async with FaultProxy(etcd_server.endpoint) as proxy, Client(proxy.endpoint, timeout=60) as other:
        await other.get("/x")
        proxy.hold()
        entering = asyncio.create_task(other.lease(3600).__aenter__())
        await turns(20)  # the request leaves, and gets no further than the proxy
        entering.cancel()
        await within(asyncio.wait([entering]))
        assert entering.cancelled()
        assert not await is_over(client)
        proxy.heal()
        await until(lambda: is_over(other))
    assert await client.leases.list() == []


async def test_who_held_up_the_loop_beyond_the_term_sees_that_the_lock_may_be_lost(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    election = client.election("e", ttl=10)
    async with client.lease(10) as lease, client.lock("x", ttl=10) as lock, election.campaign() as term:
        assert [held.is_lost for held in (lease, lock, term)] == [False, False, False]
        monkeypatch.setattr(client._core, "clock", lambda: time.monotonic() + 11)
        assert [held.is_lost for held in (lease, lock, term)] == [True, True, True]
        monkeypatch.undo()
    assert not lease.is_lost
