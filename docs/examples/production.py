"""One client for a service: everything from the environment, checked when it starts, closed when it is stopped."""

import asyncio
import os
import signal
from contextlib import suppress

from etcd_async import TLS, Client, Service

DEVELOPMENT = os.environ.get("ETCD_ENDPOINT", "http://localhost:2379")


# --8<-- [start:connect]
async def connect() -> Client:
    """Return a client that has reached a server and, with a user, logged in; else raise why it could not."""
    ca = os.environ.get("ETCD_CA")
    return await Client.connect(
        os.environ.get("ETCD_ENDPOINTS", DEVELOPMENT),  # https://h1:2379,https://h2:2379,https://h3:2379
        user=os.environ.get("ETCD_USER"),
        password=os.environ.get("ETCD_PASSWORD"),
        tls=TLS(ca=ca, cert=os.environ.get("ETCD_CERT"), key=os.environ.get("ETCD_KEY")) if ca else None,
        namespace="/apps/billing/",
        timeout=5,
    )


# --8<-- [end:connect]
# --8<-- [start:serve]
async def main() -> None:
    me = asyncio.current_task()
    assert me is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, me.cancel)
    with suppress(asyncio.CancelledError):
        async with await connect() as client:
            await serve(client)
    print("stopped")


async def serve(client: Client) -> None:
    async with client.register(Service(name="billing", id="billing-1", address="10.0.0.5:8080")):
        print("serving, registered as", [service.id for service in await client.discover("billing")])
        await work()


# --8<-- [end:serve]
async def work() -> None:
    os.kill(os.getpid(), signal.SIGTERM)  # somebody stops the service
    await asyncio.Event().wait()


asyncio.run(main())
