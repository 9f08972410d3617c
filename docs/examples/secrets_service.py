"""
A store of secrets that etcd itself can't read, and whose key can be changed while it is in use.

(Not called secrets.py: a script's folder comes first on Python's path, and would hide the standard library's module.)

    pip install '.[examples]' && python docs/examples/secrets_service.py keyring.json
    curl -X PUT localhost:8080/secrets/db -d hunter2
    curl localhost:8080/secrets/db                       hunter2
    curl -X POST localhost:8080/rotate                   {"rewritten":1,"unreadable":0}
"""

import asyncio
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import _serving
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from etcd_async import Client, DecryptionFailed
from etcd_async.crypto import Encryption, Keyring

PREFIX = "secrets/"
T = TypeVar("T")


class Secrets:
    """Reads and writes secrets, and rotates their key."""

    def __init__(self, client: Client, keyring: Keyring, file: Path) -> None:
        self.client = client
        self.keyring = keyring
        self.file = file
        self.calls: set[asyncio.Task[Any]] = set()
        self.rotating = asyncio.Lock()

    async def read(self, request: Request) -> Response:
        try:
            found = await self.call(self.client.get(PREFIX + request.path_params["name"]))
        except DecryptionFailed as error:
            return PlainTextResponse(f"{error}\n", status_code=500)
        if found is None:
            return PlainTextResponse("no such secret\n", status_code=404)
        return Response(found.value, media_type="application/octet-stream")

    async def write(self, request: Request) -> Response:
        body = await request.body()
        await self.call(self.client.put(PREFIX + request.path_params["name"], body))
        return Response(status_code=204)

    async def rotate(self, request: Request) -> Response:
        """With one process this is all of it; with several, each must have the new key before one seals with it."""
        async with self.rotating:
            old, new = self.keyring.primary, self.keyring.add_key()
            await self.save()  # before anything is sealed with it: a crash must not lose the key
            self.keyring.set_primary(new)
            await self.save()
            await self.calls_until_now()  # what the old key has sealed must have arrived before all is gone through
            done = await self.client.reencrypt(prefix=PREFIX)
            if not done.unreadable:
                await self.calls_until_now()  # what was read under the old key must have been opened
                self.keyring.remove(old)
                await self.save()
        return JSONResponse({"rewritten": done.rewritten, "unreadable": len(done.unreadable)})

    async def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Do *work* such that a rotation can wait for its end."""
        task = asyncio.create_task(work)
        self.calls.add(task)
        task.add_done_callback(self.calls.discard)
        return await task

    async def calls_until_now(self) -> None:
        """Wait for the calls that are under way."""
        if self.calls:
            await asyncio.wait(set(self.calls))

    async def save(self) -> None:
        await asyncio.to_thread(self.keyring.to_file, self.file)


def keyring_of(file: Path) -> Keyring:
    """Return the keyring in *file*, making it at the first time."""
    if not file.exists():
        Keyring.generate().to_file(file)
    return Keyring.from_file(file)


async def main(file: str = "keyring.json", port: str = "8080") -> None:
    keyring = keyring_of(Path(file))
    encryption = Encryption(keyring, prefixes=(PREFIX,))
    async with _serving.etcd() as endpoint, Client(endpoint, encryption=encryption) as client:
        secrets = Secrets(client, keyring, Path(file))
        routes = [
            Route("/secrets/{name}", secrets.read),
            Route("/secrets/{name}", secrets.write, methods=["PUT"]),
            Route("/rotate", secrets.rotate, methods=["POST"]),
        ]
        await _serving.serve(Starlette(routes=routes), int(port))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
