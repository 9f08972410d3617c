"""
A scheduler that runs once, however many processes stand ready: an elected leader does each job, exactly once.

    pip install '.[examples]' && python docs/examples/leader_worker.py node-1 8081
    ETCD_ENDPOINT=... python docs/examples/leader_worker.py node-2 8082
    curl localhost:8082/leader               {"leader":"node-1"}
    curl localhost:8082/jobs                 [{"job":1,"by":"node-1","term":5},{"job":2,"by":"node-1","term":5}, ...]
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import _serving
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from etcd_async import Client, EtcdError, Leadership, LeadershipLost, create_revision, put

JOBS = "scheduler/jobs/"
TTL = 5
EVERY = 0.1  # seconds from job to job


class Scheduler:
    """Stands for leader, and does the jobs while it leads."""

    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.name = name
        self.election = client.election("scheduler/leader", identity=name, ttl=TTL)

    @asynccontextmanager
    async def running(self, app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(self.stand())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def stand(self) -> None:
        while True:
            try:
                async with self.election.campaign() as leadership:
                    while True:
                        await self.do_next_job(leadership)
                        await asyncio.sleep(EVERY)
            except LeadershipLost as loss:
                print(f"{self.name} leads no longer: {loss}", flush=True)
            except EtcdError as error:  # no server in reach, perhaps: stand again
                print(f"{self.name} goes on soon: {error}", flush=True)
                await asyncio.sleep(EVERY)

    async def do_next_job(self, leadership: Leadership) -> None:
        number = await self.client.count(prefix=JOBS) + 1
        key = f"{JOBS}{number:08}"
        job = {"job": number, "by": self.name, "term": leadership.fencing_token}
        # Recorded only by who leads at that very revision, and only once.
        await self.client.txn([leadership.owned, create_revision(key) == 0], [put(key, json.dumps(job))])

    async def leader(self, request: Request) -> Response:
        leader = await self.election.leader()
        return JSONResponse({"leader": leader.decode() if leader else None})

    async def jobs(self, request: Request) -> Response:
        return JSONResponse([kv.json() async for kv in self.client.scan(prefix=JOBS)])


async def main(name: str = "node-1", port: str = "8081") -> None:
    async with _serving.etcd() as endpoint, Client(endpoint) as client:
        scheduler = Scheduler(client, name)
        routes = [Route("/leader", scheduler.leader), Route("/jobs", scheduler.jobs)]
        await _serving.serve(Starlette(routes=routes, lifespan=scheduler.running), int(port))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
