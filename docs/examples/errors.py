"""What to catch where: a read that can do without, writes that must not count twice, and a clear no."""

import asyncio
import os

from etcd_async import (
    Client,
    DeadlineExceeded,
    EtcdError,
    LimitError,
    RpcError,
    Unavailable,
    mod_revision,
    put,
)
from etcd_async.testing import FaultProxy

ENDPOINT = os.environ.get("ETCD_ENDPOINT", "http://localhost:2379")


# --8<-- [start:read]
async def banner(client: Client) -> str:
    try:
        found = await client.get("/banner", timeout=1)
    except (Unavailable, DeadlineExceeded) as error:
        print("etcd is out of reach, going on without:", error)
        return "welcome"
    return found.text() if found else "welcome"


# --8<-- [end:read]
# --8<-- [start:no]
async def store(client: Client, key: str, document: bytes) -> str:
    try:
        await client.put(key, document)
    except LimitError as error:
        return f"too much: {error.message}"
    except RpcError as error:
        return f"etcd refused: {error.code.name}, {error.message}"
    except EtcdError as error:
        return f"no answer; written perhaps: {error.maybe_applied}"
    return "stored"


# --8<-- [end:no]
# --8<-- [start:same]
async def set_state(client: Client, state: str) -> None:
    """A write that does no harm twice: only this process writes the key, to show what it is doing."""
    for _ in range(3):
        try:
            await client.put("/nodes/n1/state", state, timeout=5)
        except (Unavailable, DeadlineExceeded) as error:
            print("once more:", error)
        else:
            return
    raise RuntimeError("the state could not be written")


# --8<-- [end:same]
# --8<-- [start:find-out]
async def withdraw(client: Client, amount: int, withdrawal: str) -> bool:
    """Take *amount* once, however often this is called with the same *withdrawal*; False if there is too little."""
    mark = f"/withdrawals/{withdrawal}"  # written in the same step: if it is there, the step was carried out
    while True:
        balance = await client.get("/balance")
        if await client.exists(mark):  # after the balance was read: too little is then no doing of our own
            return True
        if balance is None or int(balance.text()) < amount:
            return False
        await client.txn(
            when=[mod_revision("/balance") == balance.mod_revision],
            then=[put("/balance", str(int(balance.text()) - amount)), put(mark, str(amount))],
        )


async def withdraw_for_sure(client: Client, amount: int, withdrawal: str) -> bool:
    for _ in range(5):
        try:
            return await withdraw(client, amount, withdrawal)
        except EtcdError as error:
            if not (error.maybe_applied or isinstance(error, Unavailable | DeadlineExceeded)):
                raise  # a clear no: it would be the same again
            print("looking again:", error)
    raise RuntimeError(f"the outcome of withdrawal {withdrawal} is unknown: call again with the same name")


# --8<-- [end:find-out]
async def main() -> None:
    async with FaultProxy(ENDPOINT) as proxy, Client(proxy.endpoint, namespace="/examples/errors") as client:
        print(await store(client, "/document", b"short"))
        print(await store(client, "/document", bytes(3_000_000)))
        await client.put("/balance", "100")

        proxy.blackhole("to_client")  # requests arrive, answers do not
        print(await banner(client))
        await asyncio.gather(set_state(client, "ready"), heal_later(proxy))

        proxy.blackhole("to_client")
        taken, _ = await asyncio.gather(withdraw_for_sure(client, 30, "w1"), heal_later(proxy))
        again = await withdraw_for_sure(client, 30, "w1")
        left = await client.get("/balance")
        print("taken:", taken, again, "left:", left.text() if left else None)


async def heal_later(proxy: FaultProxy) -> None:
    before = proxy.swallowed("to_client")
    await proxy.until(lambda proxy: proxy.swallowed("to_client") > before)
    proxy.heal()


asyncio.run(main())
