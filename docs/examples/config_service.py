"""
A configuration over HTTP: read it, change it, see the change, on every instance at once.

    pip install '.[examples]' && python docs/examples/config_service.py
    curl localhost:8080/config                                  {"app_name":"MyApp","port":8080,"timeout":30}
    curl -X PUT localhost:8080/config/timeout -d 60             {"app_name":"MyApp","port":8080,"timeout":60}
    curl -X PUT localhost:8080/config/timeout -d soon           400
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

import _serving
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from etcd_async import Client, ConfigConflict, ConfigSource

DEFAULTS = {"app_name": "MyApp", "port": 8080, "timeout": 30}


@dataclass(frozen=True)
class Config:
    app_name: str
    port: int
    timeout: float

    @classmethod
    def checked(cls, values: dict[str, Any]) -> "Config":
        """Return the configuration; ValueError says what is wrong with it."""
        match values:
            case {"app_name": str(name), "port": int(port), "timeout": int() | float() as timeout, **rest} if (
                bool not in (type(port), type(timeout))  # true is an int to Python
            ):
                pass
            case _:
                raise ValueError("app_name must be text, port a whole number, timeout a number")
        if rest:
            raise ValueError(f"unknown: {', '.join(sorted(rest))}")
        if not name or not 0 < port < 65536 or not timeout > 0:
            raise ValueError("app_name must not be empty, port be 1 to 65535, timeout be positive")
        return cls(name, port, timeout)


class ConfigService:
    """Answers from memory; a watch keeps that up to date, whoever makes the change."""

    def __init__(self, source: ConfigSource) -> None:
        self.source = source
        self.current = Config.checked(DEFAULTS)

    @asynccontextmanager
    async def running(self, app: Starlette) -> AsyncIterator[None]:
        with suppress(ConfigConflict):  # somebody was here before
            await self.source.write(DEFAULTS, if_revision=0)
        async with self.source.watch(Config.checked) as updates:
            self.current = await anext(updates)
            self.following = asyncio.create_task(self.follow(updates))
            try:
                yield
            finally:
                self.following.cancel()

    async def follow(self, updates: AsyncIterator[Config]) -> None:
        async for self.current in updates:  # one that is not valid never comes
            pass

    async def show(self, request: Request) -> Response:
        if self.following.done():  # the watch has ended for good: what is known may be old
            return PlainTextResponse("changes are no longer heard of\n", status_code=503)
        return JSONResponse(asdict(self.current))

    async def change(self, request: Request) -> Response:
        body = (await request.body()).decode(errors="replace")
        try:
            value = json.loads(body)
        except ValueError:
            value = body  # text may come without quotes
        while True:
            now = await self.source.snapshot()
            changed = now.values | {request.path_params["key"]: value}
            try:
                config = Config.checked(changed)
                await self.source.write(changed, if_revision=now.revision)
            except ValueError as error:
                return PlainTextResponse(f"{error}\n", status_code=400)
            except ConfigConflict:
                continue  # somebody changed something else: look again
            return JSONResponse(asdict(config))


async def main(port: int = 8080) -> None:
    async with _serving.etcd() as endpoint, Client(endpoint) as client:
        service = ConfigService(client.config_source("config-service"))
        routes = [
            Route("/config", service.show),
            Route("/config/{key}", service.change, methods=["PUT"]),
        ]
        await _serving.serve(Starlette(routes=routes, lifespan=service.running), port)


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
