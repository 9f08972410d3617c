"""Leases, locks, elections, registrations and watches, while their server is killed or cut off and comes back."""

import time

import pytest

from etcd_async import Client, LeaseLost, LeaseNotFound, Service, TransportOptions
from etcd_async.options import CLEANUP_TIMEOUT
from etcd_async.testing import EtcdServer, FaultProxy
from tests.faults.support import Stopwatch, until_renewed
from tests.support.live import forever, running, take, turns, until, watchers, within

pytestmark = pytest.mark.faults


async def killed_and_restarted(server: EtcdServer) -> None:
    await server.kill()
    await server.start()


async def test_a_lease_outlives_a_restart_of_its_server(server: EtcdServer, client: Client) -> None:
    async with client.lease(ttl=10) as lease:
        await client.put("/leased", "v", lease=lease)
        await killed_and_restarted(server)
        await until_renewed(lease, client, seconds=30)
        assert await client.exists("/leased")
        assert not lease.is_lost
        assert (await client.leases.time_to_live(lease)).ttl >= 2
    assert not await client.exists("/leased")


async def test_a_lease_on_a_server_that_stays_down_is_lost_in_its_term(server: EtcdServer, client: Client) -> None:
    lease = client.lease(ttl=2)

    async def hold() -> None:
        async with lease:
            await server.kill()
            await forever()

    with pytest.raises(LeaseLost) as caught:
        await within(hold())
    assert 0 <= time.monotonic() - lease.expires_at < CLEANUP_TIMEOUT
    assert caught.value.__cause__ is not None
    await server.start()
    assert await client.get("/k", timeout=10) is None


async def test_a_loss_is_told_without_waiting_for_a_server_that_does_not_answer(server: EtcdServer) -> None:
    async with FaultProxy(server.endpoint) as proxy, Client(proxy.endpoint) as client:
        async with client.lock("x", ttl=3, on_loss="signal") as lock:
            proxy.blackhole()
            await within(lock.lost())
            watch = Stopwatch()
        assert watch.seconds < CLEANUP_TIMEOUT


async def test_a_watch_brings_what_came_before_during_and_after_the_restart(server: EtcdServer, client: Client) -> None:
    async with client.watch(prefix="/w/") as watch, Client(server.endpoint) as other:
        await other.put("/w/1", "before")
        await server.kill()
        await server.start()
        await other.put("/w/2", "perhaps before the watch is back", timeout=10)
        seen = await take(watch, 2)
        await other.put("/w/3", "after")
        seen += await take(watch, 1)
    assert [event.kv.key for event in seen] == [b"/w/1", b"/w/2", b"/w/3"]


async def test_a_lock_is_kept_and_awaited_through_a_restart(server: EtcdServer, client: Client) -> None:
    async with Client(server.endpoint) as other:
        lock = client.lock("job", ttl=30)
        await lock.acquire()

        async def enter() -> int:
            async with other.lock("job", ttl=30) as mine:
                return mine.fencing_token

        async with running(enter()) as waiter:

            async def is_waiting() -> bool:
                return await watchers(server) == 3  # of both keys, and of the first one by the second

            await until(is_waiting)
            await killed_and_restarted(server)
            assert await client.keys(prefix="job/", timeout=10)
            assert not lock.is_lost
            assert not waiter.done()
            token = lock.fencing_token
            await lock.release()
            assert await within(waiter) > token


async def test_an_observer_and_a_leader_go_on_after_a_restart(server: EtcdServer, client: Client) -> None:
    async with Client(server.endpoint) as other:
        words = other.election("leader").observe()
        async with client.election("leader", identity="first", ttl=30).campaign() as leadership:
            assert await within(anext(words)) == b"first"
            await killed_and_restarted(server)
            assert await client.get("/warm", timeout=10) is None
            await leadership.proclaim("second")
            assert await within(anext(words)) == b"second"
        async with other.election("leader", identity="third", ttl=30).campaign():
            assert await within(anext(words)) == b"third"
        await words.aclose()


async def test_a_registration_cut_off_for_longer_than_its_term_comes_back(
    server: EtcdServer, proxy: FaultProxy, client: Client
) -> None:
    options = TransportOptions(connect_timeout=1)
    service = Service("billing", "1", "localhost:1")
    async with Client(proxy.endpoint, transport=options) as distant, client.watch_service("billing") as changes:
        async with distant.register(service, ttl=5) as registration:
            assert [each.type for each in await take(changes, 1)] == ["added"]
            first = registration.lease_id
            proxy.blackhole()
            assert [each.type for each in await take(changes, 1, 20)] == ["removed"]
            with pytest.raises(LeaseNotFound):
                await client.leases.revoke(first)
            proxy.heal()
            [back] = await take(changes, 1, 20)
            assert (back.type, back.service) == ("added", service)
            await within(registration.registered())
            assert registration.lease_id not in (0, first)
        assert [each.type for each in await take(changes, 1)] == ["removed"]
    assert await client.leases.list() == []


async def test_a_registration_of_a_server_that_was_down_for_longer_than_its_term_is_there_again(
    server: EtcdServer, client: Client
) -> None:
    async with client.register(Service("billing", "1", "localhost:1"), ttl=2) as registration:
        first = registration.lease_id
        await server.kill()

        async def is_unregistered() -> bool:
            await turns(100)
            return not registration.is_registered

        await until(is_unregistered)
        await server.start()
        await within(registration.registered())

        async def is_discovered() -> bool:
            return [each.id for each in await client.discover("billing")] == ["1"]

        await until(is_discovered)
        assert registration.lease_id != first
    assert await client.discover("billing") == []


async def test_a_revoked_lease_ends_its_scope_before_its_term(server: EtcdServer, client: Client) -> None:
    lease = client.lease(ttl=6)

    async def hold() -> None:
        async with lease:
            await client.leases.revoke(lease.id)
            await forever()

    with pytest.raises(LeaseLost) as caught:
        await within(hold())
    assert time.monotonic() < lease.expires_at  # at the next renewal
    assert isinstance(caught.value.__cause__, LeaseNotFound)
