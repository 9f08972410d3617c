"""Watches on links that are slow: what is late is waited for, what is dead is not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from etcd_async import Client, EtcdError
from etcd_async._protocol import pulse
from etcd_async._transport.callstream import CallStream
from etcd_async.testing import EtcdServer, FaultProxy
from tests.support.h2server import H2Server, Request, prefixed
from tests.support.live import running, take, within

pytestmark = [pytest.mark.faults, pytest.mark.timeout(60)]

RATE = 200_000  # a question waits for seconds behind what is on its way, for longer than `pulse.PATIENCE`
VALUE = bytes(100_000)
VALUES = 15


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ask streams how they are without a pause; why they were given up, each time."""
    reasons: list[str] = []
    monkeypatch.setattr(pulse, "IDLE_INTERVAL", 0.05)
    monkeypatch.setattr(CallStream, "refused", lambda stream, error: reasons.append(str(error)))
    return reasons


@pytest.fixture
async def slow(server: EtcdServer, client: Client) -> AsyncIterator[tuple[FaultProxy, Client]]:
    """A client on a slow link to a server with more to tell than that carries in some seconds."""
    for number in range(VALUES):
        await client.put(f"/large/{number}", VALUE)
    async with FaultProxy(server.endpoint) as proxy, Client(proxy.endpoint) as slow:
        yield proxy, slow


async def test_what_others_of_the_connection_receive_is_no_reason_to_give_a_watch_up(
    slow: tuple[FaultProxy, Client], client: Client, impatience: list[str]
) -> None:
    proxy, distant = slow
    async with distant.watch("/small") as watch:
        proxy.throttle(RATE, "to_client")
        reads = [distant.get(f"/large/{number}", timeout=40) for number in range(VALUES)]
        await within(asyncio.gather(*reads), 40)
        await client.put("/small", "v")
        await take(watch, 1)
    assert impatience == []


async def test_a_long_message_that_comes_slowly_is_no_reason_either(
    slow: tuple[FaultProxy, Client], impatience: list[str]
) -> None:
    proxy, distant = slow
    proxy.throttle(RATE, "to_client")
    async with distant.watch(prefix="/large/", start_revision=1) as watch:
        assert len(await take(watch, VALUES, 40)) == VALUES
    assert impatience == []


async def dribble(request: Request) -> None:
    """Begin an answer, and never come to its end."""
    request.send_headers()
    for byte in prefixed(bytes(100_000)):
        request.send_data(bytes((byte,)))
        await asyncio.sleep(pulse.PATIENCE / 20)


async def test_a_server_that_answers_pings_and_other_calls_is_left_by_a_watch_that_it_does_not_answer() -> None:
    async with H2Server() as server, Client(server.endpoint, timeout=60) as client:

        async def watch() -> None:
            with contextlib.suppress(EtcdError):
                async with client.watch("/k", start_revision=1):
                    pass

        async with running(client.get("/slow")), running(watch()):
            requests = [await server.request(), await server.request()]
            [get] = [request for request in requests if request.path.endswith("/Range")]
            [stream] = [request for request in requests if request.path.endswith("/Watch")]
            async with running(dribble(get)):
                await within(stream.reset())
                assert get.reset_code is None
