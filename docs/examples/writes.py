"""A write whose answer is lost: what the error says, and how to repeat it safely."""

import asyncio
import os
import uuid

from etcd_async import Client, DeadlineExceeded, Unavailable, Watch
from etcd_async.testing import FaultProxy

ENDPOINT = os.environ.get("ETCD_ENDPOINT", "http://localhost:2379")


# --8<-- [start:blind]
async def lose_an_answer(client: Client, proxy: FaultProxy) -> None:
    await client.put("/balance", "100")
    proxy.blackhole("to_client")  # requests arrive, answers do not
    try:
        await client.put("/balance", "90", timeout=0.5)
    except DeadlineExceeded as error:
        print("may have been applied:", error.maybe_applied)
    proxy.heal()
    print("it was:", await client.get("/balance"))


# --8<-- [end:blind]
# --8<-- [start:safe]
async def place_order(client: Client, order: str) -> str:
    """Create an order exactly once, whatever gets lost on the way."""
    key = f"/orders/{uuid.uuid4()}"
    for _ in range(5):
        try:
            if not await client.put_if_absent(key, order, timeout=5):
                print("an earlier try counted, although its answer was lost")
        except (Unavailable, DeadlineExceeded) as error:
            print("trying again:", error)
        else:
            return key
    raise RuntimeError(f"etcd could not be reached; look for {key} before ordering again")


# --8<-- [end:safe]
async def cut_once_applied(proxy: FaultProxy, orders: Watch) -> None:
    await anext(aiter(orders))
    proxy.cut()
    proxy.heal()


async def main() -> None:
    async with (
        FaultProxy(ENDPOINT) as proxy,
        Client(proxy.endpoint, namespace="/examples/writes") as client,
        Client(ENDPOINT, namespace="/examples/writes") as direct,
        direct.watch(prefix="/orders/") as orders,
    ):
        await lose_an_answer(client, proxy)
        proxy.blackhole("to_client")
        key, _ = await asyncio.gather(place_order(client, "one apple"), cut_once_applied(proxy, orders))
        print("placed:", await client.get(key))


asyncio.run(main())
