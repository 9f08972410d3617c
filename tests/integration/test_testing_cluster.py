"""A real cluster of three: together, and one member at a time."""

import asyncio
from collections.abc import Iterator

import pytest

from etcd_async.testing import EtcdCluster, EtcdStartFailed, Ports, ports
from tests.unit.testing.support import exists, get, put

pytestmark = pytest.mark.timeout(120)  # elections, and members that start, can take long


@pytest.fixture(scope="module")
def started() -> Iterator[EtcdCluster]:
    # One second, etcd's own, is no longer than a busy machine may stand still: a put that an election meets can fail.
    with EtcdCluster(size=3, extra_args=["--election-timeout=3000"]) as cluster:
        yield cluster


@pytest.fixture
async def cluster(started: EtcdCluster) -> EtcdCluster:
    """The cluster with all its members up, whatever the test before did to them."""
    if not started.is_running:
        await started.start()
    return started


async def test_what_one_member_takes_all_have(cluster: EtcdCluster) -> None:
    await put(cluster[0], "a", "1")
    assert [await get(member, "a") for member in cluster] == ["1", "1", "1"]


def test_members_are_three_servers_with_ports_of_their_own(started: EtcdCluster) -> None:
    cluster = started
    assert len(cluster) == 3
    assert cluster.endpoints == [member.endpoint for member in cluster.members]
    assert len(set(cluster.endpoints)) == 3
    assert [member.name for member in cluster] == ["member0", "member1", "member2"]


@pytest.mark.parametrize("fault", ["kill", "pause"])
async def test_two_go_on_when_the_leader_is_gone(cluster: EtcdCluster, fault: str) -> None:
    leader = await cluster.leader()
    await getattr(leader, fault)()
    others = [member for member in cluster if member is not leader]
    async with asyncio.timeout(30):
        # The paused one can't say that it leads any more.
        assert await cluster.leader() in others
    await put(others[0], fault, "1")
    if fault == "pause":
        await leader.resume()
    else:
        await leader.start()
    assert leader.is_running
    # Asked of another: a leader of 3.5.1 that was paused may answer from before the pause (etcd-io/etcd #20418).
    assert await get(others[1], fault) == "1"


async def test_start_brings_back_those_that_are_down(cluster: EtcdCluster) -> None:
    pid = cluster[0].pid
    await cluster[1].kill()
    assert not cluster.is_running
    await cluster[2].stop()
    await cluster.start()
    assert all(member.is_running for member in cluster)
    assert cluster[0].pid == pid
    await put(cluster[1], "back", "1")
    with pytest.raises(RuntimeError, match="running already"):
        await cluster.start()


@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_data_and_ports_stay_over_the_end_of_all(cluster: EtcdCluster, end: str) -> None:
    await put(cluster[0], end, "1")
    endpoints = cluster.endpoints
    await getattr(cluster, end)()
    assert not any(member.is_running for member in cluster)
    await cluster.start()
    assert cluster.endpoints == endpoints
    assert await get(cluster[2], end) == "1"


async def test_a_paused_cluster_answers_once_it_is_resumed(cluster: EtcdCluster) -> None:
    await cluster.pause()
    writing = asyncio.ensure_future(put(cluster[0], "paused", "1"))
    done, _ = await asyncio.wait([writing], timeout=0.2)
    assert not done
    await cluster.resume()
    await writing


async def test_a_taken_port_moves_the_whole_cluster_and_nothing_is_left_after(monkeypatch: pytest.MonkeyPatch) -> None:
    pick_many = Ports.pick_many
    attempts: list[list[Ports]] = []
    with ports.listener() as taken:

        def first_conflicting(count: int) -> list[Ports]:
            chosen = pick_many(count)
            if not attempts:
                chosen[-1] = Ports(client=taken.getsockname()[1], peer=chosen[-1].peer, metrics=chosen[-1].metrics)
            attempts.append(chosen)
            return chosen

        monkeypatch.setattr(Ports, "pick_many", first_conflicting)
        async with EtcdCluster(size=2, name="m") as cluster:
            assert [member.ports for member in cluster] == attempts[1]
            pids = [member.pid for member in cluster]
            directories = [member._workspace for member in cluster]
    assert not any(exists(pid) for pid in pids)
    assert not any(directory.exists() for directory in directories)
    for one in attempts[0][:-1]:  # what the failed attempt had started
        ports.listener(one.client).close()


async def test_a_member_that_can_not_start_ends_the_others() -> None:
    cluster = EtcdCluster(size=2, extra_args=["--nonsense"])
    with pytest.raises(EtcdStartFailed, match="nonsense"):
        await cluster.start()
    with pytest.raises(RuntimeError, match="not started"):
        _ = cluster.members


async def test_a_cancelled_start_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = Ports.pick_many(3)
    monkeypatch.setattr(Ports, "pick_many", lambda count: chosen)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.15):
            await EtcdCluster().start()
    for one in chosen:
        for number in (one.client, one.peer, one.metrics):
            ports.listener(number).close()


def test_a_cluster_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="size"):
        EtcdCluster(size=0)
