"""A live pick among the healthy instances of a service."""

import asyncio

import pytest

from etcd_async import Client, ClientClosed, NoInstance, Service
from etcd_async.testing import EtcdServer, FaultProxy
from tests.support.live import until, within

ONE = Service("billing", "1", "10.0.0.1:80", {"zone": "a"})
TWO = Service("billing", "2", "10.0.0.2:80", {"zone": "b"})


async def test_it_picks_in_turn_from_the_first_moment(client: Client) -> None:
    async with client.register(ONE), client.register(TWO), client.resolver("billing") as resolver:
        assert [resolver.pick().id for _ in range(4)] == ["1", "2", "1", "2"]
        assert resolver.instances == [ONE, TWO]


async def test_it_follows_who_comes_and_goes(client: Client) -> None:
    async with client.resolver("billing") as resolver:
        with pytest.raises(NoInstance, match=r"'billing' has no healthy instance \(of 0\)"):
            resolver.pick()
        waiting = asyncio.ensure_future(resolver.ready())
        async with client.register(ONE):
            await within(waiting)
            assert resolver.pick() == ONE

        async def gone() -> bool:
            await asyncio.sleep(0)
            return resolver.instances == []

        await until(gone)
        with pytest.raises(NoInstance, match=r"within 0\.1 s"):
            await resolver.ready(timeout=0.1)


async def test_who_is_not_healthy_is_not_picked(client: Client) -> None:
    async with (
        client.register(ONE) as registration,
        client.register(TWO),
        client.resolver("billing") as resolver,
        client.watch_service("billing") as changes,
    ):
        await registration.set_health(False, "disk full")
        while (await within(anext(changes))).service.is_healthy:
            pass
        sick = Service("billing", "1", "10.0.0.1:80", {"zone": "a"}, is_healthy=False, note="disk full")
        assert await client.discover("billing") == [sick, TWO]
        assert await client.discover("billing", healthy_only=True) == [TWO]

        async def known() -> bool:
            await asyncio.sleep(0)
            return resolver.instances == [sick, TWO]

        await until(known)
        assert {resolver.pick().id for _ in range(4)} == {"2"}
        await registration.update(metadata={"zone": "c"})
        assert not registration.service.is_healthy
        await registration.set_health(True)
        assert (await client.discover("billing", healthy_only=True))[0].metadata == {"zone": "c"}


async def test_who_failed_is_spared(client: Client) -> None:
    async with client.register(ONE), client.register(TWO), client.resolver("billing") as resolver:
        resolver.failed(ONE)
        assert {resolver.pick().id for _ in range(4)} == {"2"}
        resolver.succeeded(ONE)
        assert {resolver.pick().id for _ in range(4)} == {"1", "2"}


async def test_metadata_restrict_the_choice(client: Client) -> None:
    async with client.register(ONE) as registration, client.register(TWO):
        assert await client.discover("billing", metadata={"zone": "a"}) == [ONE]
        assert await client.discover("billing", metadata={"zone": "c"}) == []
        async with client.resolver("billing", metadata={"zone": "a"}) as resolver:
            assert resolver.instances == [ONE]
            await registration.update(metadata={"zone": "b"})

            async def gone() -> bool:
                await asyncio.sleep(0)
                return resolver.instances == []

            await until(gone)


async def test_without_a_server_the_known_ones_are_picked(client: Client, etcd_server: EtcdServer) -> None:
    async with (
        client.register(ONE),
        FaultProxy(etcd_server.endpoint) as proxy,
        Client(proxy.endpoint) as far,
        far.resolver("billing") as resolver,
    ):
        proxy.refuse()
        proxy.cut()
        assert resolver.pick() == ONE
        proxy.accept()


async def test_a_resolver_whose_client_is_closed_says_so(etcd_server: EtcdServer) -> None:
    client = Client(etcd_server.endpoint)
    async with client.resolver("billing") as resolver:
        waiting = asyncio.ensure_future(resolver.ready())
        await asyncio.sleep(0)
        await client.aclose()
        with pytest.raises(ClientClosed):
            await within(waiting)
        with pytest.raises(ClientClosed):
            resolver.pick()


async def test_a_registration_whose_key_is_deleted_comes_back(client: Client) -> None:
    async with client.watch_service("billing") as changes, client.register(ONE) as registration:
        await within(anext(changes))
        for _ in range(3):
            await registration.registered()
            await client.delete("services/billing/1")
            assert (await within(anext(changes))).type == "removed"
            assert (await within(anext(changes))).type == "added"
            await client.compact((await client.put("x", "")).revision)
    assert await client.leases.list() == []


async def test_a_registration_that_was_taken_over_does_not_fight(client: Client, etcd_server: EtcdServer) -> None:
    newer = Service("billing", "1", "10.0.0.9:80")
    async with Client(etcd_server.endpoint) as other, client.register(ONE), other.register(newer):
        await client.put("x", "")
        assert await client.discover("billing") == [newer]


async def test_a_registration_that_was_taken_over_is_not_put_back_over_its_successor(
    client: Client, etcd_server: EtcdServer
) -> None:
    """As by a process that was cut off for longer than its lease, while another one was started in its place."""
    newer = Service("billing", "1", "10.0.0.9:80")
    async with Client(etcd_server.endpoint) as other, client.register(ONE, ttl=3) as registration:
        first = registration.lease_id
        async with other.register(newer, ttl=30):
            await client.leases.revoke(first)

            async def has_another_lease() -> bool:
                await client.get("x")
                return registration.lease_id not in (0, first)

            await until(has_another_lease)
            assert await client.discover("billing") == [newer]

        async def is_back() -> bool:
            return await client.discover("billing") == [ONE]

        await until(is_back)


async def test_what_was_left_picks_nothing_and_keeps_nobody_waiting(client: Client) -> None:
    async with client.resolver("billing") as resolver:
        waiting = asyncio.ensure_future(resolver.ready())
        await client.get("/k")
    with pytest.raises(RuntimeError, match="the resolver was left"):
        await within(waiting)
    with pytest.raises(RuntimeError, match="the resolver was left"):
        resolver.pick()
