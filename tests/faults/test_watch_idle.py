"""Watches of which nothing happens: their place in history moves on, where the server lets it."""

import pytest

from etcd_async import Client, Compacted
from etcd_async._protocol import pulse
from etcd_async._transport.versions import orders_progress, parse_version
from etcd_async.testing import EtcdServer, FaultProxy
from tests.support.live import take, until, within

pytestmark = [pytest.mark.faults, pytest.mark.timeout(60)]

OFTEN = 0.1


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask streams how they are more often than every ten seconds."""
    monkeypatch.setattr(pulse, "IDLE_INTERVAL", OFTEN)


@pytest.fixture
async def ordering(server: EtcdServer) -> EtcdServer:
    """A server that tells progress in order with events."""
    if not orders_progress(parse_version(server.version)):
        pytest.skip(f"etcd {server.version} tells progress out of order with events; needs 3.4.25, 3.5.8 or newer")
    return server


def place(distant: Client) -> int:
    """Return from where the client's one watch would resume."""
    [watch] = distant._core.watcher._machine._watches.values()
    return watch.cursor.next_revision


async def write(client: Client, number: int) -> int:
    """Write other keys than the watched one, and return the last revision."""
    return max([(await client.put("/other", str(each))).revision for each in range(number)])


async def test_an_idle_watch_is_not_compacted_away(
    ordering: EtcdServer, proxy: FaultProxy, client: Client, distant: Client
) -> None:
    async with distant.watch("/idle") as watch:
        last = await write(client, 50)

        async def is_in_step() -> bool:
            await client.get("/other")
            return place(distant) > last

        await until(is_in_step)
        proxy.refuse()
        proxy.cut()
        await client.compact(last)
        proxy.accept()
        put = await client.put("/idle", "v")
        [event] = await take(watch, 1)
        assert event.revision == put.revision


async def test_what_happens_between_the_last_answer_and_a_cut_is_not_skipped(
    server: EtcdServer, proxy: FaultProxy, client: Client, distant: Client
) -> None:
    async with distant.watch("/idle") as watch:
        expected = []
        for number in range(20):
            await write(client, 5)
            expected.append((await client.put("/idle", str(number))).revision)
            proxy.cut()
        assert [event.revision for event in await take(watch, len(expected), 30)] == expected


async def test_where_progress_is_out_of_order_an_idle_watch_says_that_its_history_is_gone(
    server: EtcdServer, proxy: FaultProxy, client: Client, distant: Client
) -> None:
    if orders_progress(parse_version(server.version)):
        pytest.skip(f"etcd {server.version} tells progress in order")
    async with distant.watch("/idle") as watch:
        first = place(distant)
        last = await write(client, 50)
        assert place(distant) == first
        proxy.refuse()
        proxy.cut()
        await client.compact(last)
        proxy.accept()
        with pytest.raises(Compacted) as caught:
            await within(watch.next_batch())
        assert caught.value.compact_revision == last


async def test_the_version_of_the_stream_decides_what_progress_is_worth(server: EtcdServer, client: Client) -> None:
    expected = orders_progress(parse_version(server.version))
    async with client.watch("/k"):

        async def is_known() -> bool:
            await client.get("/k")
            stream = client._core.watcher._duplex.stream
            return stream is not None and stream.connection in client._core.watcher._versions._known

        await until(is_known)
        assert client._core.watcher._machine.orders_progress is expected


async def test_an_idle_watch_costs_the_server_no_watch_and_no_complaint(server: EtcdServer, client: Client) -> None:
    """The question that every etcd refuses leaves nothing behind."""
    async with client.watch("/idle") as watch:
        machine = client._core.watcher._machine
        asked = machine._creations._last_id

        async def has_asked_often() -> bool:
            await client.get("/idle")
            return machine._creations._last_id > asked + 10

        await until(has_asked_often, 30)
        put = await client.put("/idle", "v")
        [event] = await take(watch, 1)
        assert event.revision == put.revision
    assert "watcher range" not in server.log
    assert "panic" not in server.log


async def test_many_kinds_of_etcd_have_the_same_answer_for_who_asks_how_far_an_idle_watch_has_come(
    client: Client,
) -> None:
    revision = (await client.put("/other", "v")).revision
    async with client.watch("/idle") as watch, client.watch("/future", start_revision=10**9):
        await watch.request_progress()
        batch = await within(watch.next_batch())
        assert batch.is_progress
        assert batch.revision == revision
