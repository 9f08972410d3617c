"""Keep an application's configuration in etcd, over a file."""

import asyncio
import logging
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etcd_async import Client, ConfigConflict
from etcd_async.config import load

ENDPOINT = os.environ.get("ETCD_ENDPOINT", "http://localhost:2379")


@dataclass
class Settings:
    host: str
    port: int


def settings(values: dict[str, Any]) -> Settings:  # or a pydantic model
    if not isinstance(values["db"]["port"], int):
        raise ValueError("db/port must be a number")
    return Settings(values["db"]["host"], values["db"]["port"])


async def read_and_write(client: Client) -> None:
    # --8<-- [start:source]
    source = client.config_source("myapp")
    await source.write({"db": {"host": "db.internal", "port": 5432}, "features": ["search"]})
    await source.update({"db": {"port": 5433}})  # the rest stays
    print(await source.read())

    snapshot = await source.snapshot()
    await source.update({"features": []})  # somebody else's change
    try:
        await source.write({"features": ["search", "beta"]}, if_revision=snapshot.revision)
    except ConfigConflict as conflict:
        print(conflict)
    # --8<-- [end:source]


async def follow(client: Client, folder: Path) -> None:
    file = folder / "app.yaml"
    file.write_text("db:\n  host: localhost\n  port: 5432\n")
    source = client.config_source("myapp")
    await source.write({"db": {"port": 1}})
    # --8<-- [start:load]
    config = await load(file=file, overlay=source, model=settings)
    print("in force:", config.current)

    async with config.watch() as updates:
        await source.update({"db": {"port": "many"}})  # not valid: changes nothing
        await source.update({"db": {"port": 2}})
        async for current in updates:
            print("in force:", current)
            if current.port == 2:
                break
    # --8<-- [end:load]


async def main() -> None:
    logging.basicConfig(stream=sys.stdout)  # says why a change is not taken
    async with Client(ENDPOINT, namespace="/examples/configuration/") as client:
        await read_and_write(client)
        with tempfile.TemporaryDirectory() as folder:
            await follow(client, Path(folder))


asyncio.run(main())
