"""However much a client does, the server sees one connection, one watch stream and one keep-alive stream."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from etcd_async import Client, Lease, Watch
from etcd_async._protocol import keepalive, pulse
from etcd_async.testing import EtcdServer, FaultProxy
from tests.support.live import forever, running, streams_started, take, until, within

pytestmark = [pytest.mark.faults, pytest.mark.spared, pytest.mark.slow, pytest.mark.timeout(240)]

NUMBER = 1000


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renew often, in terms that outlive a pause of the machine, and give no stream up for one."""
    monkeypatch.setattr(keepalive, "RENEWALS_PER_TERM", 15)
    monkeypatch.setattr(pulse, "PATIENCE", 20.0)


async def call_on(client: Client) -> None:
    for number in range(10**9):
        await client.put("/calls", str(number))
        await client.get("/calls")
    await forever()


async def all_renewed(client: Client, leases: list[Lease]) -> None:
    """Wait until each lease was renewed from now on."""
    before = [lease.expires_at for lease in leases]

    async def renewed() -> bool:
        await client.get("/calls")
        return all(lease.expires_at > earlier for lease, earlier in zip(leases, before, strict=True))

    await until(renewed, 40)


async def test_thousands_of_watches_and_leases_share_one_connection(
    server: EtcdServer, proxy: FaultProxy, distant: Client
) -> None:
    async with AsyncExitStack() as stack, running(call_on(distant)) as calls:

        async def watch(number: int) -> Watch:
            return await stack.enter_async_context(distant.watch(f"/watched/{number}", timeout=60))

        async def lease(_: int) -> Lease:
            return await stack.enter_async_context(distant.lease(ttl=30, on_loss="signal", timeout=60))

        watches = await within(asyncio.gather(*map(watch, range(NUMBER))), 60)
        leases = await within(asyncio.gather(*map(lease, range(NUMBER))), 60)
        for _ in range(2):
            await all_renewed(distant, leases)
        await asyncio.gather(*(distant.put(f"/watched/{number}", "v", timeout=60) for number in range(NUMBER)))
        events = [await take(watch, 1) for watch in watches]
        assert [event.kv.key for [event] in events] == [f"/watched/{number}".encode() for number in range(NUMBER)]
        assert not any(lease.is_lost for lease in leases)
        assert not calls.done()
        assert len(await distant.leases.list()) == NUMBER
        assert (proxy.accepted, proxy.connections) == (1, 1)
        assert await streams_started(server, "Watch", "Watch") == 1
        assert await streams_started(server, "Lease", "LeaseKeepAlive") == 1
