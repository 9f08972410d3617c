"""The step about leases: keys that live only while somebody is there."""

from __future__ import annotations

import time

from etcd_async._demo.stage import TTL, Tour, expect, words

__all__ = ["vanish_with_leases"]


async def vanish_with_leases(tour: Tour) -> None:
    """Put two keys on leases: one lease ends with its block, the other because nobody renews it."""
    client, out = tour.client, tour.out
    out.step("Leases", "A key on a lease lives as long as the lease, and a lease as long as somebody renews it.")

    async with client.lease(TTL) as lease:
        await client.put("worker/1", "alive", lease=lease)
        out.show("inside client.lease(2): worker/1", words(await client.get("worker/1")), expect='"alive", version 1')
        expect(not lease.is_lost, "the client keeps the lease alive")
    out.show("after the block: worker/1", words(await client.get("worker/1")), expect="None")

    async with client.watch("worker/2") as watch:
        granted = await client.leases.grant(TTL)
        since = time.monotonic()
        await client.put("worker/2", "alive", lease=granted.id)
        out.show("worker/2 on a lease that nobody renews", (await anext(watch)).type, expect="put")
        out.show(f"its {granted.ttl} s are over", (await anext(watch)).type, expect="delete")
    out.show("... seen after", f"{time.monotonic() - since:.1f} s")
