"""What is made to be entered says so when it is used before that, and when it is entered again."""

from collections.abc import Callable
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
        await within(use(made))
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


async def test_a_closed_client_can_not_be_entered(etcd_server: EtcdServer) -> None:
    client = Client(etcd_server.endpoint)
    async with client, client:  # what `connect` returned may be entered, too
        assert await client.count(prefix="") == 0
    with pytest.raises(ClientClosed):
        await client.__aenter__()
