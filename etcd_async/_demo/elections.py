"""The step about elections: a leader that resigns, and the next one that takes over."""

from __future__ import annotations

from contextlib import aclosing

import anyio

from etcd_async import Client
from etcd_async._demo.stage import TTL, Tour

__all__ = ["hand_over"]

_NAME = "leader/scheduler"


async def hand_over(tour: Tour) -> None:
    """Let two candidates stand, and the first one resign while somebody observes."""
    client, out = tour.client, tour.out
    out.step("Elections", "Two candidates, one leader. When it resigns, or dies, the next one leads.")
    resign = {"node-1": anyio.Event(), "node-2": anyio.Event()}

    async with (
        aclosing(client.election(_NAME).observe()) as observer,
        client.watch(prefix=f"{_NAME}/", filters=["no_delete"]) as candidates,
        anyio.create_task_group() as tasks,
    ):
        for node, event in resign.items():
            tasks.start_soon(_lead, client, node, event)
            await anext(candidates)
            out.show(f"{node} stands; the leader is", await _leader(client), expect="node-1")

        out.show("an observer sees", (await anext(observer)).decode(), expect="node-1")
        resign["node-1"].set()
        out.show("node-1 resigns; the observer sees", (await anext(observer)).decode(), expect="node-2")
        resign["node-2"].set()
    out.show("node-2 resigns; the leader is", await _leader(client), expect="None")


async def _lead(client: Client, node: str, resign: anyio.Event) -> None:
    async with client.election(_NAME, identity=node, ttl=TTL).campaign():
        await resign.wait()


async def _leader(client: Client) -> str:
    leader = await client.election(_NAME).leader()
    return "None" if leader is None else leader.decode()
