"""Leases by their ids, and as scopes."""

import asyncio
import time

import pytest

from etcd_async import Client, LeaseExists, LeaseLost, LeaseNotFound, LeaseTtlTooLarge
from etcd_async.testing import EtcdServer, FaultProxy
from tests.integration.support import TERM, until_expired
from tests.support.live import forever, running, streams_started, take, turns, until, within


async def test_a_grant_tells_the_id_and_the_term(client: Client) -> None:
    lease = await client.leases.grant(60)
    left = await client.leases.time_to_live(lease.id)
    assert lease.id > 0
    assert lease.ttl == 60
    assert left.granted_ttl == 60
    assert 55 <= left.ttl <= 60
    assert left.keys == ()


async def test_a_grant_may_name_its_id(client: Client) -> None:
    lease = await client.leases.grant(60, id=4711)
    assert lease.id == 4711
    assert await client.leases.list() == [4711]
    with pytest.raises(LeaseExists):
        await client.leases.grant(60, id=4711)


async def test_grants_without_an_id_never_collide(client: Client) -> None:
    granted = await asyncio.gather(*(client.leases.grant(60) for _ in range(50)))
    assert len({lease.id for lease in granted}) == 50
    assert sorted(await client.leases.list()) == sorted(lease.id for lease in granted)


async def test_a_term_is_rounded_up_to_whole_seconds(client: Client) -> None:
    assert (await client.leases.grant(5.1)).ttl == 6
    async with client.lease(ttl=7.5) as lease:
        assert lease.ttl == 8.0


async def test_the_servers_shortest_term_is_what_comes_back(client: Client) -> None:
    lease = await client.leases.grant(0.1)
    assert lease.ttl >= 1
    assert (await client.leases.time_to_live(lease.id)).granted_ttl == lease.ttl


async def test_a_term_past_the_servers_longest_is_too_large(client: Client) -> None:
    with pytest.raises(LeaseTtlTooLarge):
        await client.leases.grant(9_000_000_001)


async def test_an_expired_lease_takes_its_keys_along(client: Client) -> None:
    await client.put("/kept", "v")
    async with client.watch(prefix="/", filters=("no_put",)) as watch:
        lease = await client.leases.grant(3)
        await client.put("/gone", "v", lease=lease.id)
        (event,) = await take(watch, 1)
    assert (event.type, event.kv.key) == ("delete", b"/gone")
    assert await client.keys() == [b"/kept"]
    with pytest.raises(LeaseNotFound):
        await client.leases.keep_alive_once(lease.id)
    assert (await client.leases.time_to_live(lease.id)).ttl == -1


async def test_revoking_deletes_the_keys_at_once(client: Client) -> None:
    lease = await client.leases.grant(60)
    await client.put("/k", "v", lease=lease.id)
    await client.leases.revoke(lease.id)
    assert not await client.exists("/k")
    assert await client.leases.list() == []
    with pytest.raises(LeaseNotFound):
        await client.leases.revoke(lease.id)


async def test_keep_alive_once_renews_the_whole_term(client: Client) -> None:
    lease = await client.leases.grant(60)
    await until_expired(client, 5)
    assert (await client.leases.time_to_live(lease.id)).ttl <= 55
    assert await client.leases.keep_alive_once(lease.id) == lease
    assert (await client.leases.time_to_live(lease.id)).ttl > 55


async def test_keep_alive_once_of_a_dead_lease_is_lease_not_found(client: Client) -> None:
    with pytest.raises(LeaseNotFound) as caught:
        await client.leases.keep_alive_once(4711)
    assert caught.value.message == "etcdserver: requested lease not found"


async def test_the_time_to_live_of_no_lease_is_minus_one(client: Client) -> None:
    left = await client.leases.time_to_live(4711, keys=True)
    assert (left.id, left.ttl, left.granted_ttl, left.keys) == (4711, -1, 0, ())


async def test_the_keys_of_a_lease_are_told_if_asked(client: Client) -> None:
    lease = await client.leases.grant(60)
    await client.put_many({"/b": "v", "/a": "v"}, lease=lease.id)
    await client.put("/b", "v")
    assert (await client.leases.time_to_live(lease.id, keys=True)).keys == (b"/a",)
    assert (await client.leases.time_to_live(lease.id)).keys == ()


async def test_a_lease_object_is_taken_wherever_an_id_is(client: Client) -> None:
    async with client.lease(ttl=30) as lease:
        await client.put("/ephemeral", "v", lease=lease)
        assert (await client.leases.time_to_live(lease, keys=True)).keys == (b"/ephemeral",)
        assert (await client.leases.keep_alive_once(lease)).id == lease.id


async def test_a_scope_grants_at_its_start_and_revokes_at_its_end(client: Client) -> None:
    async with client.lease(ttl=30) as lease:
        await client.put("/ephemeral", "v", lease=lease)
        assert await client.leases.list() == [lease.id]
        assert (lease.ttl, lease.is_lost) == (30.0, False)
        assert 25 < lease.expires_at - time.monotonic() <= 30
    assert await client.leases.list() == []
    assert not await client.exists("/ephemeral")
    assert not lease.is_lost


async def test_a_scope_outlives_its_term_many_times(client: Client) -> None:
    async with client.lease(ttl=TERM) as lease:
        await client.put("/ephemeral", "v", lease=lease)
        granted_until = lease.expires_at
        await until_expired(client, 2 * TERM)
        assert not lease.is_lost
        assert lease.expires_at > granted_until + TERM
        assert await client.exists("/ephemeral")


async def test_a_scope_is_revoked_when_its_body_fails(client: Client) -> None:
    with pytest.raises(LookupError, match="mine"):
        async with client.lease(ttl=30):
            raise LookupError("mine")
    assert await client.leases.list() == []


async def test_a_scope_is_revoked_when_its_task_is_cancelled(client: Client) -> None:
    async def hold() -> None:
        async with client.lease(ttl=30):
            held.set()
            await forever()

    held = asyncio.Event()
    async with running(hold()):
        await within(held.wait())
    assert await client.leases.list() == []


async def test_a_scope_cancelled_while_it_is_entered_leaves_no_lease(client: Client) -> None:
    async def hold() -> None:
        async with client.lease(ttl=30):
            await forever()

    for number in range(40):
        async with running(hold()):
            await turns(number)  # one turn of the loop further each time
    assert await client.leases.list() == []


async def test_a_revoked_lease_cancels_the_body_and_raises_with_the_reason(client: Client) -> None:
    async def hold() -> None:
        async with asyncio.timeout(8), client.lease(ttl=3) as lease:
            try:
                await client.leases.revoke(lease.id)
                await forever()
            finally:
                unwound.append(lease.is_lost)

    unwound: list[bool] = []
    with pytest.raises(LeaseLost) as caught:
        await hold()
    assert unwound == [True]
    assert isinstance(caught.value.__cause__, LeaseNotFound)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_lost_lease_does_not_hide_the_bodys_own_error(client: Client) -> None:
    async def hold() -> None:
        async with asyncio.timeout(8), client.lease(ttl=3) as lease:
            try:
                await client.leases.revoke(lease.id)
                await forever()
            finally:
                raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await hold()


async def test_a_loss_may_only_be_signalled(client: Client) -> None:
    async with client.lease(ttl=3, on_loss="signal") as lease:
        await client.leases.revoke(lease.id)
        reason = await within(lease.lost())
        assert lease.is_lost
        assert isinstance(reason, LeaseLost)
        assert isinstance(reason.__cause__, LeaseNotFound)
        assert await client.get("/k") is None


async def test_the_loss_of_one_lease_leaves_the_others_alive(client: Client) -> None:
    async with client.lease(ttl=3) as kept, client.lease(ttl=3, on_loss="signal") as lost:
        await client.leases.revoke(lost.id)
        await within(lost.lost())
        assert not kept.is_lost
        assert (await client.leases.keep_alive_once(kept)).ttl == 3


async def test_a_scope_is_entered_once(client: Client) -> None:
    lease = client.lease(ttl=30)
    async with lease:
        pass
    with pytest.raises(RuntimeError, match="once"):
        await lease.__aenter__()


async def test_a_hundred_scopes_are_kept_alive_on_one_stream_of_one_connection() -> None:
    async def are_all_renewed() -> bool:
        alive = set(await client.leases.list())
        return all(lease.id in alive and lease.expires_at > granted_until for lease in leases)

    # A stream on which renewals stay unanswered is given up, the sooner the shorter the term.
    async with EtcdServer() as server, FaultProxy(server.endpoint) as proxy, Client(proxy.endpoint) as client:
        scopes = [client.lease(ttl=15, on_loss="signal") for _ in range(100)]
        leases = await asyncio.gather(*(scope.__aenter__() for scope in scopes))
        granted_until = max(lease.expires_at for lease in leases)
        await until_expired(client, 4)
        await until(are_all_renewed)
        assert not any(lease.is_lost for lease in leases)
        assert proxy.accepted == 1
        for scope in scopes:
            await scope.__aexit__(None, None, None)
        assert await streams_started(server, "Lease", "LeaseKeepAlive") == 1
