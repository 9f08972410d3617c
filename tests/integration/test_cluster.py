"""The members of a real cluster: listed, added, promoted, moved and removed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TypeVar

import pytest

from etcd_async import (
    Client,
    DeadlineExceeded,
    LearnerNotReady,
    Member,
    MemberError,
    MemberExists,
    MemberNotFound,
    NotSupportedForLearner,
    ServerError,
    Unavailable,
)
from etcd_async.testing import EtcdCluster, EtcdServer, FaultProxy, Ports
from tests.faults.support import STEADY
from tests.support.live import caught_up, lose_answer

pytestmark = pytest.mark.timeout(120)  # elections, and members that start, can take long

T = TypeVar("T")
UNUSED = "http://127.0.0.1:1"  # nobody listens there, and nobody has to


@pytest.fixture(scope="module")
def started() -> Iterator[EtcdCluster]:
    """Three members that agree to changes at once; with etcd's own rule they must have been connected for 5 s."""
    with EtcdCluster(size=3, extra_args=["--strict-reconfig-check=false", *STEADY]) as cluster:
        yield cluster


@pytest.fixture
async def cluster(started: EtcdCluster) -> EtcdCluster:
    """The cluster with all its members up."""
    if not started.is_running:
        await started.start()
    return started


@pytest.fixture
async def client(cluster: EtcdCluster) -> AsyncIterator[Client]:
    """A client of the cluster; the members that a test added are removed."""
    async with Client(cluster.endpoints) as client:
        before = {member.id for member in await settled(cluster, client.cluster.list())}
        yield client
        for member in await settled(cluster, client.cluster.list()):
            if member.id not in before:
                await settled(cluster, client.cluster.remove(member.id))


async def settled(cluster: EtcdCluster, call: Awaitable[T]) -> T:
    """
    Return what *call* does once every member has applied the last change.

    Raft's leader drops a change that comes before, without a word; and who lags does not know whom it is about.
    """
    await caught_up(cluster.endpoints)
    return await call


async def until_accepted(call: Callable[[], Awaitable[T]], refusal: type[MemberError]) -> T:
    """Ask until it is not refused any more."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await call()
            except refusal:
                continue


async def test_the_list_names_every_member_and_where_it_is(client: Client, cluster: EtcdCluster) -> None:
    for members in (await client.cluster.list(), await client.cluster.list(serializable=True)):
        assert {member.name for member in members} == {"member0", "member1", "member2"}
        assert {member.client_urls for member in members} == {(each.endpoint,) for each in cluster}
        assert {member.peer_urls for member in members} == {(each.peer_url,) for each in cluster}
        assert len({member.id for member in members}) == 3
        assert all(member.is_started and not member.is_learner for member in members)


async def test_without_a_majority_only_a_serializable_list_is_served(client: Client, cluster: EtcdCluster) -> None:
    await cluster[0].kill()
    await cluster[1].kill()
    assert len(await client.cluster.list(serializable=True)) == 3
    with pytest.raises((DeadlineExceeded, ServerError, Unavailable)) as caught:
        await client.cluster.add(UNUSED, timeout=3)
    assert caught.value.maybe_applied
    await cluster.start()
    await client.get("/settled", timeout=20)


async def test_a_learner_is_added_catches_up_is_promoted_and_removed(client: Client, cluster: EtcdCluster) -> None:
    await client.put("/before", "the fourth came")
    ports = Ports.pick()
    initial = [f"{member.name}={member.peer_url}" for member in cluster]
    fourth = EtcdServer(
        name="fourth",
        ports=ports,
        initial_cluster=",".join([*initial, f"fourth=http://127.0.0.1:{ports.peer}"]),
        extra_args=["--initial-cluster-state=existing"],
    )
    added = await settled(cluster, client.cluster.add_learner(fourth.peer_url))
    assert added == Member(added.id, "", (fourth.peer_url,), (), is_learner=True)
    assert added in await settled(cluster, client.cluster.list())
    with pytest.raises(LearnerNotReady) as early:
        await settled(cluster, client.cluster.promote(added.id))
    assert not early.value.maybe_applied
    with pytest.raises(MemberError, match="too many learner"):
        await settled(cluster, client.cluster.add_learner(UNUSED))
    async with fourth:
        status = await client.maintenance.status(fourth.endpoint)
        assert (status.member_id, status.is_learner, status.is_leader) == (added.id, True, False)
        promoting = until_accepted(lambda: client.cluster.promote(added.id), LearnerNotReady)
        members = await settled(cluster, promoting)
        assert [(each.name, each.is_learner) for each in members if each.id == added.id] == [("fourth", False)]
        async with Client(fourth.endpoint) as alone:
            # The leader's word comes first: the member itself may have yet to apply that it is no learner any more.
            assert await until_accepted(lambda: alone.exists("/before"), NotSupportedForLearner)
        with pytest.raises(MemberError, match="only promote a learner"):
            await settled(cluster, client.cluster.promote(added.id))
        left = await settled(cluster, client.cluster.remove(added.id))
        assert added.id not in {member.id for member in left}
        with pytest.raises(MemberNotFound):
            await settled(cluster, client.cluster.remove(added.id))


async def test_a_member_with_a_vote_is_added_and_told_to_be_elsewhere(client: Client, cluster: EtcdCluster) -> None:
    added = await settled(cluster, client.cluster.add([UNUSED, "http://127.0.0.1:2"]))
    assert not added.is_learner
    assert set(added.peer_urls) == {UNUSED, "http://127.0.0.1:2"}
    members = await settled(cluster, client.cluster.update(added.id, "http://127.0.0.1:3"))
    assert [member.peer_urls for member in members if member.id == added.id] == [("http://127.0.0.1:3",)]
    with pytest.raises(MemberExists):
        await settled(cluster, client.cluster.update(added.id, cluster[0].peer_url))


async def test_changes_that_can_not_be_are_refused_by_name(client: Client, cluster: EtcdCluster) -> None:
    for call in (client.cluster.remove(99), client.cluster.promote(99), client.cluster.update(99, UNUSED)):
        with pytest.raises(MemberNotFound) as caught:
            await settled(cluster, call)
        assert not caught.value.maybe_applied
    with pytest.raises(MemberExists):
        await settled(cluster, client.cluster.add(cluster[1].peer_url))
    with pytest.raises(MemberExists):
        await settled(cluster, client.cluster.add_learner(cluster[1].peer_url))


async def test_a_change_whose_answer_is_lost_may_have_been_made_and_is_made_once(
    client: Client, cluster: EtcdCluster
) -> None:
    async def is_added() -> bool:
        return any(member.peer_urls == (UNUSED,) for member in await settled(cluster, client.cluster.list()))

    async with FaultProxy(cluster[0].endpoint) as proxy, Client(proxy.endpoint) as distant:
        await distant.cluster.list()
        proxy.blackhole("to_client")
        adding = asyncio.create_task(distant.cluster.add_learner(UNUSED, timeout=30))
        await lose_answer(proxy, is_added)
        with pytest.raises(Unavailable) as caught:
            await adding
        assert caught.value.maybe_applied
        members = await settled(cluster, distant.cluster.list())
    assert [member.is_learner for member in members if member.peer_urls == (UNUSED,)] == [True]


async def test_a_cluster_that_could_lose_its_majority_refuses_a_change_before_it_is_made() -> None:
    async with EtcdServer() as server, Client(server.endpoint) as client:
        await client.cluster.add(UNUSED)  # is not up, so that there is no majority of two
        (own,) = [member for member in await client.cluster.list(serializable=True) if member.is_started]
        with pytest.raises((MemberError, ServerError)) as caught:
            await client.cluster.remove(own.id)
        assert not caught.value.maybe_applied
