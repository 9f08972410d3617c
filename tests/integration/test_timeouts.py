"""Every call of the network takes a timeout: the client's own, unless it is told another."""

import inspect
from collections.abc import Awaitable, Callable, Iterator

import pytest

import etcd_async
from etcd_async import Client, DeadlineExceeded, Service

# What waits for something to happen, or ends a scope: there is no call that could be late, or no one to wait for it.
OTHERS = {
    "aclose",
    "acquire",  # the object's
    "changes",
    "connect",  # its client's
    "enter",  # the object's
    "leave",
    "lost",
    "next_batch",
    "observe",
    "present",
    "registered",
    "release",
    "request_progress",
    "resign",
    "started",
    "state_changes",
    "suspend",
    "try_acquire",
    "wait",
}


def coroutines() -> Iterator[Callable[..., object]]:
    """Find all that is awaited, or iterated over, of the public classes."""
    for name in etcd_async.__all__:
        cls = getattr(etcd_async, name)
        if isinstance(cls, type) and cls is not etcd_async.Transaction:  # which has a timeout for all that it asks
            for _, member in inspect.getmembers(cls):
                function = getattr(member, "__func__", member)
                if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
                    yield function


def test_every_call_takes_a_timeout() -> None:
    public = [each for each in coroutines() if not each.__name__.startswith("_")]
    without = {each.__name__ for each in public if "timeout" not in inspect.signature(each).parameters}
    assert without == OTHERS


CALLS: dict[str, Callable[[Client], Awaitable[object]]] = {
    "discover": lambda c: c.discover("billing", timeout=0),
    "leader": lambda c: c.election("e").leader(timeout=0),
    "leading": lambda c: c.election("e").leading(timeout=0),
    "hold": lambda c: c.barrier("b").hold(timeout=0),
    "release": lambda c: c.barrier("b").release(timeout=0),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_calls_of_recipes_end_in_time(client: Client, call: Callable[[Client], Awaitable[object]]) -> None:
    with pytest.raises(DeadlineExceeded):
        await call(client)


async def test_calls_in_scopes_end_in_time(client: Client) -> None:
    queue = client.queue("jobs")
    await queue.put("1")
    service = Service("billing", "1", "h:1")
    async with client.register(service) as registration, client.election("e", identity="a").campaign() as leadership:
        for call in (
            registration.update(address="h:2", timeout=0),
            registration.set_health(False, timeout=0),
            leadership.proclaim("b", timeout=0),
        ):
            with pytest.raises(DeadlineExceeded):
                await call
        assert await client.discover("billing") == [service]
        assert await client.election("e").leader() == b"a"
    with pytest.raises(DeadlineExceeded):
        async with queue.claim() as item:
            await item.acknowledge(timeout=0)
    assert await queue.size() == 1


async def test_an_update_does_not_wait_for_a_registration_that_does_not_come_back(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client.register(Service("billing", "1", "h:1"), ttl=3) as registration:
        monkeypatch.setattr(type(registration), "is_registered", False)
        with pytest.raises(DeadlineExceeded, match="not registered anew") as caught:
            await registration.update(address="h:2", timeout=0.2)
        assert caught.value.maybe_applied
        assert registration.service.address == "h:2"
