"""
Service discovery over HTTP: whoever keeps registering is found, whoever stops is gone when the lease is over.

    pip install '.[examples]' && python docs/examples/service_discovery.py
    curl -X POST localhost:8080/register/web/127.0.0.1/8080     Service web registered at 127.0.0.1:8080
    curl localhost:8080/discover/web                            [{"name":"web","address":"127.0.0.1","port":8080}]
"""

import asyncio
import json
import sys

import _serving
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from etcd_async import Client, LeaseNotFound
from etcd_async.recipes.cache import Cache

PREFIX = "discovery/"


class Discovery:
    """Registrations are keys with leases; answers come from a copy of them in memory."""

    def __init__(self, client: Client, instances: Cache, ttl: float) -> None:
        self.client = client
        self.instances = instances
        self.ttl = ttl

    async def register(self, request: Request) -> Response:
        parts = request.path_params["rest"].split("/")
        if len(parts) != 3 or not all(parts):
            return PlainTextResponse("Missing required parameters (serviceType, address, port)\n", status_code=400)
        name, address, port = parts
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            return PlainTextResponse("Invalid port number\n", status_code=400)
        await self.keep(f"{PREFIX}{name}/{address}:{port}", {"name": name, "address": address, "port": int(port)})
        return PlainTextResponse(f"Service {name} registered at {address}:{port}", status_code=201)

    async def keep(self, key: str, instance: dict[str, str | int]) -> None:
        """Register, or renew the lease of a registration: each request is a sign of life, good for *ttl* seconds."""
        value = json.dumps(instance, separators=(",", ":"))
        known = await self.client.get(key)
        if known is not None:
            try:
                await self.client.leases.keep_alive_once(known.lease)
                return
            except LeaseNotFound:
                pass  # it was over just now
        lease = await self.client.leases.grant(self.ttl)
        put = await self.client.put(key, value, lease=lease.id)
        await self.instances.wait_for(put.revision)

    async def discover(self, request: Request) -> Response:
        name = request.path_params["rest"]
        if not name:
            return PlainTextResponse("Missing required parameter (serviceType)\n", status_code=400)
        prefix = f"{PREFIX}{name}/".encode()
        found = [kv.text() for key, kv in self.instances.items() if key.startswith(prefix)]
        return Response(f"[{','.join(found)}]", media_type="application/json")


async def main(port: int = 8080, ttl: int = 10) -> None:
    async with (
        _serving.etcd() as endpoint,
        Client(endpoint) as client,
        client.cache(prefix=PREFIX) as instances,
    ):
        discovery = Discovery(client, instances, ttl)
        routes = [
            Route("/register/{rest:path}", discovery.register, methods=["POST"]),
            Route("/discover/{rest:path}", discovery.discover),
        ]
        await _serving.serve(Starlette(routes=routes), port)


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
