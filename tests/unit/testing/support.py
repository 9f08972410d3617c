"""What the tests of `etcd_async.testing` share: etcd through its JSON gateway, and the end of processes."""

import asyncio
import base64
import json
import os
import select
import urllib.request
from pathlib import Path
from typing import Any

import etcd_async.testing
from etcd_async.testing import EtcdServer

#: Where the package is imported from, for other processes.
ROOT = str(Path(etcd_async.testing.__file__).parents[2])


async def put(server: EtcdServer, key: str, value: str) -> None:
    await _call(server, "put", {"key": _encoded(key), "value": _encoded(value)})


async def get(server: EtcdServer, key: str) -> str:
    """The value of a key that exists."""
    answer = await _call(server, "range", {"key": _encoded(key)})
    return base64.b64decode(answer["kvs"][0]["value"]).decode()


async def _call(server: EtcdServer, method: str, body: dict[str, str]) -> Any:
    def call() -> Any:
        request = urllib.request.Request(f"{server.endpoint}/v3/kv/{method}", data=json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=20) as response:
            return json.load(response)

    return await asyncio.to_thread(call)


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def assert_ends(pid: int) -> None:
    """Wait for the end of a process that is not a child of ours."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    with os.fdopen(handle) as process:
        assert select.select([process], [], [], 30)[0], f"process {pid} still runs"
