"""For programs of tests: work until nobody wants it any more, which the end of the standard input says."""

import asyncio
import logging
import sys
from collections.abc import Coroutine
from typing import Any

# A lease that is not revoked within its short term, as where the machine stands still, runs out: no reason to complain.
logging.getLogger("etcd_async.lease").addHandler(logging.NullHandler())


async def until_input_ends() -> None:
    """Wait for the end of the standard input, which comes too when whoever started us has died."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        await reader.read()
    finally:
        transport.close()


async def work_until_input_ends(*works: Coroutine[Any, Any, None]) -> None:
    """Do all *works*, which never end by themselves, and cancel them at the end of the input; raise what one raises."""
    tasks = [asyncio.create_task(work) for work in works]
    ending = asyncio.create_task(until_input_ends())
    await asyncio.wait([*tasks, ending], return_when=asyncio.FIRST_COMPLETED)
    failed = [task for task in tasks if task.done()]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in failed:
        task.result()
