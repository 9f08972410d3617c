"""The cluster of the runs: a member that is cut off from its peers is cut off in both directions, and comes back."""

import asyncio
from contextlib import suppress

import pytest

from etcd_async import Client, EtcdError
from tests.robustness.cluster import Cluster
from tests.robustness.peers import can_tell_dialers

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not can_tell_dialers(), reason="this system does not tell which process has dialled"),
]


async def found_leader(cluster: Cluster) -> int:
    async with asyncio.timeout(20):
        while (leader := await cluster.leader()) is None:
            pass
    return leader


async def write(client: Client, value: str) -> None:
    """Put until it is done: members may elect anew at any time, and what is given up with that may be done twice."""
    async with asyncio.timeout(30):
        while True:
            with suppress(EtcdError):
                await client.put("/a", value, timeout=5)
                return


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
        await write(client, "1")
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
    await write(cluster.admin(leader), "1")
    assert await cluster.admin(follower).get("/a", serializable=True, timeout=15) is None
    async with asyncio.timeout(20):
        while await leader_seen_by(cluster, follower) != 0:
            pass
    await write(cluster.admin(leader), "2")
    assert await cluster.admin(follower).get("/a", serializable=True, timeout=15) is None

    cluster.rejoin()
    found = await cluster.admin(follower).get("/a", timeout=15)
    assert found is not None
    assert found.value == b"2"


async def test_the_leadership_can_be_moved(cluster: Cluster) -> None:
    leader = await found_leader(cluster)
    target = (leader + 1) % 3
    async with asyncio.timeout(30):
        while await cluster.leader() != target:  # that it was done may be news that comes too late, or is out of date
            await cluster.move_leader(target)


async def test_heal_brings_everything_back(cluster: Cluster) -> None:
    await cluster.servers[0].kill()
    await cluster.servers[1].pause()
    cluster.proxies[2].blackhole()
    cluster.partition([2])
    await cluster.heal()
    async with Client(cluster.endpoints) as client:
        await write(client, "1")
