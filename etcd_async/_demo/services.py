"""The step about services: registering an instance, finding it, and hearing of what happens to it."""

from __future__ import annotations

from etcd_async import Service, ServiceChange, ServiceWatch
from etcd_async._demo.stage import TTL, Tour

__all__ = ["register_and_discover"]


async def register_and_discover(tour: Tour) -> None:
    """Register an instance of a service while somebody watches the service."""
    client, out = tour.client, tour.out
    out.step("Services", "An instance is registered while its block runs; a watcher hears of all that comes and goes.")
    instance = Service(name="billing", id="billing-1", address="10.0.0.5:8080", metadata={"zone": "a"})

    async with client.watch_service("billing") as changes:
        async with client.register(instance, ttl=TTL) as registration:
            out.show("register(billing-1)", await _next(changes), expect="added billing-1, zone a")
            await registration.update(metadata={"zone": "b"})
            out.show('update(metadata={"zone": "b"})', await _next(changes), expect="modified billing-1, zone b")
            found = await client.discover("billing")
            out.show('discover("billing")', " ".join(each.address for each in found), expect="10.0.0.5:8080")

        out.show("the block ends", await _next(changes), expect="removed billing-1, zone b")
    out.show('discover("billing")', await client.discover("billing"), expect=[])


async def _next(changes: ServiceWatch) -> str:
    change: ServiceChange = await anext(changes)
    return f"{change.type} {change.service.id}, zone {change.service.metadata['zone']}"
