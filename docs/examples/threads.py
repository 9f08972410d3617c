"""A client for code without asyncio: one event loop in a thread of its own, and calls handed to it."""

import os
from functools import partial

from anyio.from_thread import start_blocking_portal

from etcd_async import Client

ENDPOINT = os.environ.get("ETCD_ENDPOINT", "http://localhost:2379")

# --8<-- [start:portal]
with (
    start_blocking_portal() as portal,
    portal.wrap_async_context_manager(Client(ENDPOINT, namespace="/examples/threads")) as client,
):
    portal.call(client.put, "/a", "1")  # from any thread
    print(portal.call(client.get, "/a"))
    print(portal.call(partial(client.range, prefix="/")))

    with portal.wrap_async_context_manager(client.lock("cleanup", ttl=10, on_loss="signal")) as lock:
        print("alone:", not lock.is_lost)
# --8<-- [end:portal]
