"""A watch that is cancelled while the server creates it must not leak into the next one."""

from functools import partial

import pytest

from etcd_async import Client, Event, Watch
from etcd_async.testing import EtcdServer, FaultProxy
from tests.faults.support import Baseline, cancelled, start
from tests.support.live import take, turns, until, watchers, within

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

TIMES = 200


async def is_alone(server: EtcdServer) -> bool:
    return await watchers(server) == 1


async def entered(watch: Watch) -> Watch:
    return await watch.__aenter__()


async def test_a_watch_cancelled_while_its_creation_is_unanswered_gives_nothing_to_the_next(
    server: EtcdServer, proxy: FaultProxy, client: Client, distant: Client
) -> None:
    baseline = Baseline(distant, server)
    await baseline.take()
    # A has history, which the server sends as soon as it has created the watch.
    first = await client.put("/a", "not yours")
    async with distant.watch("/other"):  # alone, a watch ends with its stream, and what it was told with it
        for number in range(TIMES):
            proxy.hold("to_client")
            passed = proxy.passed("to_server")
            pending = start(entered(distant.watch("/a", start_revision=first.revision)))
            await within(proxy.until(lambda proxy, before=passed: proxy.passed("to_server") > before))  # type: ignore[misc]
            await cancelled(pending)
            assert pending.cancelled()
            watch = distant.watch("/b", start_revision=first.revision + 1 + number)
            entering = start(entered(watch))
            await turns(number % 10)
            proxy.heal()
            await within(entering)
            put = await client.put("/b", str(number))
            assert [(each.kv.key, each.revision) for each in await take(watch, 1)] == [(b"/b", put.revision)]
            await watch.__aexit__(None, None, None)
        await until(partial(is_alone, server))
    await baseline.check()


async def test_a_watch_cancelled_at_any_turn_gives_nothing_to_the_next(server: EtcdServer, client: Client) -> None:
    baseline = Baseline(client, server)
    await baseline.take()
    seen: list[Event] = []
    async with client.watch("/other"):
        for number in range(TIMES):
            pending = start(entered(client.watch("/a")))
            await turns(number)
            await cancelled(pending)
            if not pending.cancelled():  # it was quicker
                await pending.result().__aexit__(None, None, None)
            async with client.watch("/b") as watch:
                await client.put("/a", "not yours")
                await client.put("/b", str(number))
                seen += await take(watch, 1)
        await until(partial(is_alone, server))
    assert [(event.kv.key, event.kv.text()) for event in seen] == [(b"/b", str(number)) for number in range(TIMES)]
    await baseline.check()
