"""Elections: a queue of candidates, of whom the first leads."""

import asyncio

import pytest

from etcd_async import Client, ElectionTimeout, LeadershipLost, put
from etcd_async.wire import CampaignRequest, LeaderRequest, ResignRequest
from tests.integration.support import TERM, until_expired, until_keys
from tests.support.live import forever, running, take, within


async def test_the_winner_leads_until_its_body_ends(client: Client) -> None:
    election = client.election("leader/scheduler", identity="node-1", ttl=10)
    assert await election.leader() is None
    async with election.campaign() as leadership:
        assert await election.leader() == b"node-1"
        assert leadership.key.startswith(b"leader/scheduler/")
        assert not leadership.is_lost
    assert await election.leader() is None
    assert await client.count(prefix="") == 0
    assert await client.leases.list() == []


async def test_a_leader_without_identity_is_not_no_leader(client: Client) -> None:
    election = client.election("e", ttl=10)
    async with election.campaign():
        assert await election.leader() == b""


async def test_leadership_is_handed_over_in_the_order_of_candidacy(client: Client) -> None:
    async def stand(name: str) -> None:
        async with client.election("e", identity=name, ttl=10).campaign():
            led.append(name)
            leader = await client.election("e").leader()
            assert leader == name.encode()

    led: list[str] = []
    first = client.election("e", identity="first", ttl=10)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group, first.campaign():
        for number, name in enumerate(["second", "third", "fourth"]):
            group.create_task(stand(name))
            await until_keys(client, "e/", number + 2)
        assert await first.leader() == b"first"
    assert led == ["second", "third", "fourth"]
    assert await client.leases.list() == []


async def test_fencing_tokens_of_leaders_only_grow(client: Client) -> None:
    tokens = []
    for _ in range(3):
        async with client.election("e", ttl=10).campaign() as leadership:
            tokens.append(leadership.fencing_token)
    assert tokens == sorted(set(tokens))


async def test_a_leader_proclaims_something_new(client: Client) -> None:
    election = client.election("e", identity="v1", ttl=10)
    async with election.campaign() as leadership:
        await leadership.proclaim("v2")
        assert await election.leader() == b"v2"
        kv = await client.get(leadership.key)
        assert kv is not None
        assert kv.lease != 0
        assert (await client.txn([leadership.owned], [put("/report", "v")])).succeeded


async def test_observers_see_every_leader_and_every_word(client: Client) -> None:
    first = client.election("e", identity="one", ttl=10)
    second = client.election("e", identity="two", ttl=10)
    observer = first.observe()
    async with first.campaign() as leadership:
        assert await take(observer, 1) == [b"one"]
        await leadership.proclaim("one again")
        assert await take(observer, 1) == [b"one again"]
    async with second.campaign() as leadership:
        assert await take(observer, 1) == [b"two"]
        await leadership.proclaim("bye")
        assert await take(observer, 1) == [b"bye"]
    await observer.aclose()


async def test_an_observer_waits_for_the_first_leader(client: Client) -> None:
    observer = client.election("e").observe()
    async with running(take(observer, 1)) as waiting, client.election("e", identity="n", ttl=10).campaign():
        assert await within(waiting) == [b"n"]
    await observer.aclose()


async def test_an_observer_does_not_see_candidates_who_only_wait(client: Client) -> None:
    async def stand() -> None:
        async with client.election("e", identity="waiting", ttl=10).campaign():
            await forever()

    observer = client.election("e").observe()
    async with client.election("e", identity="leads", ttl=10).campaign() as leadership:
        assert await take(observer, 1) == [b"leads"]
        async with running(stand()):
            await until_keys(client, "e/", 2)
            await leadership.proclaim("still leads")
            assert await take(observer, 1) == [b"still leads"]
    await observer.aclose()


async def test_resigning_lets_the_next_one_lead_before_the_body_ends(client: Client) -> None:
    async with client.election("e", identity="one", ttl=10).campaign() as first:
        await first.resign()
        await first.resign()
        async with asyncio.timeout(10), client.election("e", identity="two", ttl=10).campaign():
            assert await client.election("e").leader() == b"two"
            await first.resign()
            assert await client.election("e").leader() == b"two"


async def test_a_revoked_lease_cancels_the_leaders_body(client: Client) -> None:
    async def lead() -> None:
        async with asyncio.timeout(8), client.election("e", ttl=3).campaign() as leadership:
            kv = await client.get(leadership.key)
            assert kv is not None
            await client.leases.revoke(kv.lease)
            await forever()

    with pytest.raises(LeadershipLost):
        await lead()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert await client.leases.list() == []


async def test_a_deleted_key_cancels_the_leaders_body_at_once(client: Client) -> None:
    async def lead() -> None:
        async with asyncio.timeout(10), client.election("e", ttl=30).campaign() as leadership:
            await client.delete(leadership.key)
            await forever()

    with pytest.raises(LeadershipLost, match="deleted"):
        await lead()
    assert await client.leases.list() == []


async def test_who_lost_the_leadership_proclaims_nothing(client: Client) -> None:
    async with client.election("e", ttl=30).campaign(on_loss="signal") as leadership:
        await client.delete(leadership.key)
        with pytest.raises(LeadershipLost):
            await leadership.proclaim("still me")
        assert isinstance(await within(leadership.lost()), LeadershipLost)
        assert leadership.is_lost
        assert await client.count(prefix="e/") == 0


async def test_a_timeout_is_election_timeout_and_leaves_nothing(client: Client) -> None:
    async with client.election("e", ttl=10).campaign() as leadership:
        with pytest.raises(ElectionTimeout) as caught:
            async with client.election("e", ttl=10).campaign(timeout=0.3):
                pytest.fail("leads although another does")
        assert isinstance(caught.value, TimeoutError)
        assert await client.keys() == [leadership.key]
        assert len(await client.leases.list()) == 1


async def test_a_cancelled_candidate_leaves_nothing(client: Client) -> None:
    async def stand() -> None:
        async with client.election("e", ttl=10).campaign():
            pytest.fail("leads although another does")

    async with client.election("e", ttl=10).campaign() as leadership:
        async with running(stand()):
            await until_keys(client, "e/", 2)
        assert await client.keys() == [leadership.key]
        assert len(await client.leases.list()) == 1


async def test_the_bodys_own_error_comes_through_and_ends_the_term(client: Client) -> None:
    with pytest.raises(LookupError, match="mine"):
        async with client.election("e", ttl=10).campaign():
            raise LookupError("mine")
    assert await client.election("e").leader() is None


async def test_a_leader_stays_far_beyond_its_term(client: Client) -> None:
    async with client.election("e", identity="n", ttl=TERM).campaign() as leadership:
        await until_expired(client, TERM + 2)
        assert not leadership.is_lost
        assert await client.election("e").leader() == b"n"


async def test_the_election_service_of_etcd_knows_our_leader(client: Client) -> None:
    async with client.election("e", identity="ours", ttl=10).campaign() as leadership:
        answer = await client.rpc("/v3electionpb.Election/Leader", LeaderRequest(name=b"e"))
        assert (answer.kv.key, answer.kv.value) == (leadership.key, b"ours")


async def test_candidates_of_etcds_service_queue_with_ours(client: Client) -> None:
    lease = await client.leases.grant(60)
    request = CampaignRequest(name=b"e", lease=lease.id, value=b"go")
    won = await client.rpc("/v3electionpb.Election/Campaign", request)
    assert await client.election("e").leader() == b"go"
    with pytest.raises(ElectionTimeout):
        async with client.election("e", ttl=10).campaign(timeout=0.2):
            pytest.fail("leads although another does")
    await client.rpc("/v3electionpb.Election/Resign", ResignRequest(leader=won.leader))
    async with client.election("e", identity="ours", ttl=10).campaign(timeout=10):
        assert await client.election("e").leader() == b"ours"
