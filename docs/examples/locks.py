"""Let one process at a time do something."""

import asyncio
import os
import sys

import anyio

from etcd_async import Client, LockLost, LockTimeout, put

ENDPOINT = os.environ.get("ETCD_ENDPOINT", "http://localhost:2379")


# --8<-- [start:hold]
async def clean_up_alone(client: Client) -> None:
    try:
        async with client.lock("jobs/cleanup", ttl=10, timeout=30):
            print("nobody else is cleaning up")
    except LockTimeout:
        print("others kept the lock for 30 seconds")
    except LockLost as loss:
        print("stopped in the middle:", loss)


# --8<-- [end:hold]
# --8<-- [start:try]
async def clean_up_if_nobody_does(client: Client) -> None:
    lock = client.lock("jobs/cleanup", ttl=10)
    if not await lock.try_acquire():
        print("somebody is at it")
        return
    try:
        print("nobody was")
    finally:
        await lock.release()


# --8<-- [end:try]
# --8<-- [start:fenced]
async def write_only_as_the_holder(client: Client) -> None:
    async with client.lock("jobs/report", ttl=10) as lock:
        written = await client.txn(when=[lock.owned], then=[put("report", "complete")])
        print("written:", written.succeeded, "- token for other systems:", lock.fencing_token)


# --8<-- [end:fenced]
# --8<-- [start:cleanup]
async def export(client: Client) -> None:
    async with client.lock("jobs/export", ttl=10):
        worker = await asyncio.create_subprocess_exec(sys.executable, "-c", "print('exported')")
        try:
            await worker.wait()
        finally:
            if worker.returncode is None:
                worker.terminate()
                with anyio.move_on_after(5, shield=True):
                    await worker.wait()


# --8<-- [end:cleanup]
# --8<-- [start:signal]
async def finish_in_order(client: Client) -> None:
    async with client.lock("jobs/import", ttl=10, on_loss="signal") as lock:
        for record in ("a", "b", "c"):
            if lock.is_lost:
                print("stopping before", record)
                break
            print("imported", record)


# --8<-- [end:signal]
async def main() -> None:
    async with Client(ENDPOINT, namespace="/examples/locks/") as client:
        await clean_up_alone(client)
        await clean_up_if_nobody_does(client)
        await write_only_as_the_holder(client)
        await export(client)
        await finish_in_order(client)


asyncio.run(main())
