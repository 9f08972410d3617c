"""What the worked services share: an etcd to talk to, and a web server on a port of its own."""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette

from etcd_async.testing import EtcdServer


@asynccontextmanager
async def etcd() -> AsyncIterator[str]:
    """Yield where etcd is: ETCD_ENDPOINT, or one that is started for this example."""
    if endpoint := os.environ.get("ETCD_ENDPOINT"):
        yield endpoint
    else:
        async with EtcdServer() as server:
            yield server.endpoint


async def serve(app: Starlette, port: int) -> None:
    """Serve until Ctrl-C; port 0 is any free one."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(1024)
        # In one write, where print makes two of an unbuffered line: processes may share their standard output.
        print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}\n", end="", flush=True)
        config = uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=2)
        await uvicorn.Server(config).serve(sockets=[listener])
