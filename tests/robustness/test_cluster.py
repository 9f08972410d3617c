"""The cluster of the runs: a member that is cut off from its peers is cut off in both directions, and comes back."""

import asyncio

import pytest

from etcd_async import Client, EtcdError
from tests.robustness.cluster import Cluster
from tests.robustness.peers import can_tell_dialers

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not can_tell_dialers(), reason="this system does not tell which process has dialled"),
]


async def found_leader(cluster: Cluster, *, other_than: int | None = None) -> int:
    async with asyncio.timeout(20):
        while True:
            leader = await cluster.leader()
            if leader is not None and leader != other_than:
                return leader


async def leader_seen_by(cluster: Cluster, member: int) -> int:
    try:
        return (await cluster.standing(member))[1]
    except EtcdError:
        return -1


async def test_a_partitioned_leader_loses_its_office_and_serves_nobody(cluster: Cluster) -> None:
    old = await found_leader(cluster)
    cluster.partition([old])
    async with asyncio.timeout(20):
        while await leader_seen_by(cluster, old) != 0:
            pass
    others = [member for member in range(3) if member != old]
    async with Client([cluster.direct[member] for member in others]) as client:
        await client.put("/a", "1", timeout=15)
    with pytest.raises(EtcdError):
        await cluster.admin(old).get("/a", timeout=0.5)

    cluster.rejoin()
    found = await cluster.admin(old).get("/a", timeout=15)
    assert found is not None
    assert found.value == b"1"


async def test_a_partitioned_follower_hears_nothing_and_the_others_go_on(cluster: Cluster) -> None:
    leader = await found_leader(cluster)
    follower = (leader + 1) % 3
    cluster.partition([follower])
    await cluster.admin(leader).put("/a", "1")
    assert await cluster.admin(follower).get("/a", serializable=True) is None
    async with asyncio.timeout(20):
        while await leader_seen_by(cluster, follower) != 0:
            pass
    await cluster.admin(leader).put("/a", "2")
    assert await cluster.admin(follower).get("/a", serializable=True) is None

    cluster.rejoin()
    found = await cluster.admin(follower).get("/a", timeout=15)
    assert found is not None
    assert found.value == b"2"


async def test_the_leadership_can_be_moved(cluster: Cluster) -> None:
    leader = await found_leader(cluster)
    target = (leader + 1) % 3
    async with asyncio.timeout(20):
        while not await cluster.move_leader(target):
            pass
    assert await found_leader(cluster, other_than=leader) == target


async def test_heal_brings_everything_back(cluster: Cluster) -> None:
    await cluster.servers[0].kill()
    await cluster.servers[1].pause()
    cluster.proxies[2].blackhole()
    cluster.partition([2])
    await cluster.heal()
    async with Client(cluster.endpoints) as client:
        await client.put("/a", "1", timeout=15)
