"""The endpoints of a client: their state, and lists that change while it works."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from etcd_async import Client, ClientClosed, ClientState, EtcdError, ServerError, Unavailable
from etcd_async.testing import EtcdCluster, EtcdServer, FaultProxy
from tests.faults.support import STEADY
from tests.support.live import running, take, until, within

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def cluster() -> AsyncIterator[EtcdCluster]:
    async with EtcdCluster(size=3, extra_args=STEADY) as cluster:
        yield cluster


@pytest.fixture
async def proxy(etcd_server: EtcdServer) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(etcd_server.endpoint) as proxy:
        yield proxy


async def test_the_state_tells_what_is_connected(etcd_server: EtcdServer) -> None:
    async with Client(etcd_server.endpoint) as client:
        before = client.state
        await client.get("/k")
        assert [state.is_connected for state in (before, client.state)] == [False, True]
        [endpoint] = client.state.endpoints
        assert (endpoint.endpoint, endpoint.is_healthy, endpoint.last_error) == (etcd_server.endpoint, True, "")
        assert client.endpoints == (etcd_server.endpoint,)


async def test_changes_of_the_state_are_told_from_the_present_one_on(proxy: FaultProxy) -> None:
    async with Client(proxy.endpoint) as client:
        changes = client.state_changes()
        seen = [await within(anext(changes))]
        await client.get("/k")
        seen.append(await within(anext(changes)))
        proxy.refuse()
        proxy.cut()

        async def seen_until(is_connected: bool) -> ClientState:
            async for state in changes:
                if state.is_connected is is_connected and state.endpoints[0].is_healthy is is_connected:
                    return state
            raise AssertionError

        async with running(until_failed(client)):
            lost = await within(seen_until(False))
        proxy.accept()
        await within(seen_until(True))  # by itself: nobody calls
        assert [state.is_connected for state in seen] == [False, True]
        assert lost.endpoints[0].failing_since is not None
        assert lost.endpoints[0].last_error != ""


async def until_failed(client: Client) -> None:
    while True:
        try:
            await client.get("/k", timeout=1)
        except EtcdError:
            continue


async def test_changes_end_with_the_client(etcd_server: EtcdServer) -> None:
    client = Client(etcd_server.endpoint)
    changes = client.state_changes()
    await anext(changes)
    waiting = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0)
    await client.aclose()
    with pytest.raises(ClientClosed):
        await within(waiting)


async def test_the_endpoints_of_a_cluster_are_found_from_one(cluster: EtcdCluster) -> None:
    async with Client(cluster.endpoints[0]) as client:
        assert set(await client.sync_endpoints()) == set(cluster.endpoints)
        for number in range(6):
            await client.put(f"/k/{number}", "v")
        assert all(endpoint.is_connected for endpoint in client.state.endpoints)
        assert set(await client.sync_endpoints()) == set(cluster.endpoints)


async def test_a_watch_goes_on_when_its_endpoint_is_taken_off_the_list(cluster: EtcdCluster) -> None:
    leader = await cluster.leader()
    first = next(member for member in cluster if member is not leader)
    others = [member.endpoint for member in cluster if member is not first]
    async with Client(first.endpoint) as client, client.watch("/k") as watch:
        put = await client.put("/k", "1")
        client.set_endpoints(others)
        assert client.endpoints == tuple(others)
        await client.put("/k", "2")
        await first.kill()
        await client.put("/k", "3")
        events = await take(watch, 3, 20)
        assert [event.kv.value for event in events] == [b"1", b"2", b"3"]
        assert events[0].revision == put.revision


async def test_a_member_that_was_never_started_is_left_out(cluster: EtcdCluster) -> None:
    async with Client(cluster.endpoints) as client:

        async def is_added() -> bool:
            try:
                await client.cluster.add_learner("http://127.0.0.1:1", timeout=20)
            except ServerError:  # "unhealthy": for some seconds after a member has come
                return False
            return True

        await until(is_added, 30)
        assert set(await client.sync_endpoints()) == set(cluster.endpoints)


async def test_a_list_that_leads_nowhere_is_not_taken() -> None:
    args = ["--advertise-client-urls=http://127.0.0.1:1"]
    async with EtcdServer(extra_args=args) as odd, Client(odd.endpoint) as client:
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
            await client.sync_endpoints()
        assert client.endpoints == (odd.endpoint,)
        assert await client.get("/k") is None


async def test_a_list_that_leads_to_another_cluster_is_not_taken(etcd_server: EtcdServer) -> None:
    args = [f"--advertise-client-urls={etcd_server.endpoint}"]
    async with EtcdServer(extra_args=args) as odd, Client(odd.endpoint) as client:
        with pytest.raises(Unavailable, match="another cluster"):
            await client.sync_endpoints()
        assert client.endpoints == (odd.endpoint,)


async def test_endpoints_are_synced_by_themselves(cluster: EtcdCluster) -> None:
    async with Client(cluster.endpoints[0], endpoint_sync=0.05) as client:
        await client.get("/k")

        async def knows_all() -> bool:
            await client.get("/k")
            return set(client.endpoints) == set(cluster.endpoints)

        await until(knows_all)


async def test_a_sync_that_fails_is_logged_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    args = ["--advertise-client-urls=http://127.0.0.1:1"]
    async with EtcdServer(extra_args=args) as odd, Client(odd.endpoint, endpoint_sync=0.05) as client:
        with caplog.at_level(logging.WARNING, "etcd_async"):

            async def is_logged() -> bool:
                await client.get("/k")
                return "the endpoints stay as they are" in caplog.text

            await until(is_logged)
        assert client.endpoints == (odd.endpoint,)
        assert await client.get("/k") is None
