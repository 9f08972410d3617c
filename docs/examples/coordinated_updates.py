"""
Several processes that change one document, one at a time, though one of them dies in the middle.

    pip install '.[examples]' && python docs/examples/coordinated_updates.py
    curl -X POST localhost:8081/update       {"by":1,"count":1}    on 8081, 8082 and 8083, in any order
    curl -X POST localhost:8082/crash        the process dies while it holds the lock
    curl -X POST localhost:8083/update       {"by":3,"count":2}    once the dead one's lease is over
"""

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress

import _serving
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from etcd_async import Client, LockLost, put

LOCK = "coordinated/lock"
DOCUMENT = "coordinated/document"
TTL = 5


class Worker:
    """One process; its updates take their turn with those of all the others."""

    def __init__(self, client: Client, number: int) -> None:
        self.client = client
        self.number = number

    async def update(self, request: Request) -> Response:
        try:
            async with self.client.lock(LOCK, ttl=TTL, timeout=40) as lock:
                found = await self.client.get(DOCUMENT)
                count = json.loads(found.value)["count"] if found else 0
                document = {"by": self.number, "count": count + 1}
                # Guarded: should the lock be lost before this arrives, nothing is written.
                done = await self.client.txn([lock.owned], [put(DOCUMENT, json.dumps(document))])
        except (LockLost, TimeoutError) as error:
            return JSONResponse({"error": str(error)}, status_code=503)
        if not done.succeeded:
            return JSONResponse({"error": "the lock was lost"}, status_code=503)
        return JSONResponse(document)

    async def crash(self, request: Request) -> Response:
        async with self.client.lock(LOCK, ttl=TTL):
            os._exit(1)


async def work(number: int, endpoint: str, port: int) -> None:
    """Be one of the processes."""
    async with Client(endpoint) as client:
        worker = Worker(client, number)
        routes = [Route(f"/{each.__name__}", each, methods=["POST"]) for each in (worker.update, worker.crash)]
        await _serving.serve(Starlette(routes=routes), port)


async def main(first_port: int = 8081, processes: int = 3) -> None:
    """Start the processes, and wait until they end or this one is told to."""
    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    async with _serving.etcd() as endpoint:
        started = []
        try:
            for number in range(1, processes + 1):
                port = first_port and first_port + number - 1
                arguments = [__file__, "work", str(number), endpoint, str(port)]
                started.append(await asyncio.create_subprocess_exec(sys.executable, *arguments))
            await asyncio.gather(*(process.wait() for process in started))
        finally:
            for process in started:
                if process.returncode is None:
                    process.terminate()
                    await process.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        asyncio.run(work(int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
    else:
        with suppress(asyncio.CancelledError):
            asyncio.run(main(*map(int, sys.argv[1:])))
