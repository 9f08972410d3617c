"""What is made to be entered says so when it is used before that, and when it is entered again."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from etcd_async import Client, ClientClosed
from etcd_async.testing import EtcdServer
from tests.support.live import within

Make = Callable[[Client], Any]
Use = Callable[[Any], Any]

EARLY: dict[str, tuple[Make, Use]] = {
    "changes of a service": (lambda c: c.watch_service("billing"), anext),
    "a configuration's changes": (lambda c: c.config_source("app").watch(), anext),
    "the token of a claim": (lambda c: c.queue("jobs").claim(), lambda claim: claim.fencing_token),
    "the condition of a claim": (lambda c: c.queue("jobs").claim(), lambda claim: claim.owned),
    "acknowledging a claim": (lambda c: c.queue("jobs").claim(), lambda claim: claim.acknowledge()),
    "the key of a leader": (lambda c: c.election("e").campaign(), lambda leadership: leadership.key),
    "the token of a leader": (lambda c: c.election("e").campaign(), lambda leadership: leadership.fencing_token),
    "the condition of a leader": (lambda c: c.election("e").campaign(), lambda leadership: leadership.owned),
    "the ticket of a leader": (lambda c: c.election("e").campaign(), lambda leadership: leadership.ticket),
    "a leader's word": (lambda c: c.election("e").campaign(), lambda leadership: leadership.proclaim("x")),
    "suspending a leader": (lambda c: c.election("e").campaign(), lambda leadership: leadership.suspend()),
}

ONCE: dict[str, Make] = {
    "changes of a service": lambda c: c.watch_service("billing"),
    "a configuration's changes": lambda c: c.config_source("app").watch(),
    "a campaign": lambda c: c.election("e").campaign(),
}


@pytest.mark.parametrize(("make", "use"), EARLY.values(), ids=EARLY)
async def test_what_was_not_entered_can_not_be_used(client: Client, make: Make, use: Use) -> None:
    made = make(client)
    with pytest.raises(RuntimeError):
        await within(used(use, made))
    assert await client.keys() == []


@pytest.mark.parametrize("make", ONCE.values(), ids=ONCE)
async def test_what_was_entered_can_not_be_entered_again(client: Client, make: Make) -> None:
    made = make(client)
    async with made:
        with pytest.raises(RuntimeError, match="once"):
            await made.__aenter__()
    with pytest.raises(RuntimeError, match="once"):
        await made.__aenter__()
    assert await client.leases.list() == []


KEPT: dict[str, tuple[Make, Use]] = {
    "cache": (lambda c: c.cache(prefix="/a/"), lambda cache: cache.get("/a/1")),
    "what waits for a cache": (lambda c: c.cache(prefix="/a/"), lambda cache: cache.wait_for(2**62)),
    "mirror": (lambda c: c.mirror("/a/", c, "/b/"), lambda mirror: mirror.wait()),
    "resolver": (lambda c: c.resolver("billing"), lambda resolver: resolver.pick()),
    "what waits for a resolver": (lambda c: c.resolver("billing"), lambda resolver: resolver.ready()),
}


@pytest.mark.parametrize(("make", "use"), KEPT.values(), ids=KEPT)
async def test_what_is_kept_up_to_date_ends_with_its_client(etcd_server: EtcdServer, make: Make, use: Use) -> None:
    async with Client(etcd_server.endpoint) as client, make(client) as made:
        await client.aclose()
        with pytest.raises(ClientClosed):
            await within(used(use, made))


async def used(use: Use, made: Any) -> None:
    result = use(made)
    if isinstance(result, Awaitable):
        await result


async def test_a_closed_client_can_not_be_entered(etcd_server: EtcdServer) -> None:
    client = Client(etcd_server.endpoint)
    async with client, client:  # what `connect` returned may be entered, too
        await client.put("/entered/twice", "v")
    with pytest.raises(ClientClosed):
        await client.__aenter__()
