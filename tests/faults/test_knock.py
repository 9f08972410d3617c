"""Watch streams are knocked on where users have few rights: what etcd says to a knock concerns no watch."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from etcd_async import Client, PermissionDenied
from etcd_async._protocol import pulse
from etcd_async.testing import EtcdServer
from tests.faults.auth import ANN_PASSWORD, guarded_server, root
from tests.support.live import forever, take, until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(60)]

KNOCKS = 10


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Knock more often than every ten seconds, and wait for a machine that stands still meanwhile."""
    monkeypatch.setattr(pulse, "IDLE_INTERVAL", 0.05)
    monkeypatch.setattr(pulse, "PATIENCE", 20.0)


@pytest.fixture
async def guarded() -> AsyncIterator[EtcdServer]:
    """A server of which ``ann`` may use keys under ``/ann/`` only."""
    async with guarded_server() as server:
        yield server


def answered(client: Client) -> int:
    """Return how many creations have had their answers, the watches' own included."""
    creations = client._core.watcher._machine._creations
    return creations._last_id - len(creations._unanswered)


async def is_knocked_at(client: Client) -> None:
    """Wait until the present stream was knocked on often, and has answered."""
    before, stream = answered(client), client._core.watcher._duplex.stream

    async def has_answered() -> bool:
        await client.get("/ann/other")
        return answered(client) >= before + KNOCKS

    await until(has_answered, 15)
    assert client._core.watcher._duplex.stream is stream  # what was knocked on was neither given up nor opened again


@pytest.mark.parametrize("rights", [{}, {"start": "a", "end": "c"}, {"key": "b"}], ids=["none", "around", "at"])
@pytest.mark.parametrize("namespace", ["", "/ann/"])
async def test_a_user_without_rights_to_what_is_knocked_at_watches_in_peace(
    guarded: EtcdServer, rights: dict[str, str], namespace: str
) -> None:
    if rights:
        async with root(guarded) as admin:
            await admin.auth.grant_permission("ann", **rights)  # type: ignore[arg-type]
    name = "key" if namespace else "/ann/key"
    async with (
        Client(guarded.endpoint, user="ann", password=ANN_PASSWORD, namespace=namespace) as client,
        client.watch(name) as watch,
    ):
        await is_knocked_at(client)
        put = await client.put(name, "v")
        [event] = await take(watch, 1)
        assert event.revision == put.revision
        await is_knocked_at(client)
        await watch.request_progress()
        async with asyncio.timeout(20):
            while not (await anext(watch.batches())).is_progress:
                pass


async def test_a_watch_that_is_denied_among_knocks_raises_and_the_others_go_on(guarded: EtcdServer) -> None:
    async with Client(guarded.endpoint, user="ann", password=ANN_PASSWORD) as client, client.watch("/ann/key") as watch:
        await is_knocked_at(client)
        with pytest.raises(PermissionDenied):
            async with client.watch("/elsewhere"):
                await forever()
        put = await client.put("/ann/key", "v")
        [event] = await take(watch, 1)
        assert event.revision == put.revision
