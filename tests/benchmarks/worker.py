"""
The process of one client: ``python -m tests.benchmarks.worker <client> <endpoint> [--uvloop]``.

A line of JSON in is a round to run, a line out its measurement. The first line out tells what the import and the first
call took. It ends when its input does. Only the standard library and the one client are imported.
"""

import argparse
import asyncio
import importlib
import itertools
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from tests.benchmarks.cases import EVENTS_PER_TXN, HISTORY, LIVE, POINT_KEYS, POINTS, RANGE, VALUE, Case, key
from tests.benchmarks.clients.interface import Client, Writer
from tests.benchmarks.measurement import Measurement


class Stopwatch:
    """Wall-clock and CPU time since it was made."""

    def __init__(self) -> None:
        self._seconds, self._cpu = time.perf_counter(), time.process_time()

    def read(self, operations: int) -> Measurement:
        """What *operations* took until now."""
        return Measurement(operations, time.perf_counter() - self._seconds, time.process_time() - self._cpu)


async def run_points(client: Client, case: Case) -> Measurement:
    """Gets or puts of many tasks, each over its own keys."""

    async def get(number: int) -> None:
        if await client.get(keys[number % POINT_KEYS]) != len(VALUE):
            raise RuntimeError(f"{keys[number % POINT_KEYS]!r} is not what was written")

    async def put(number: int) -> None:
        await client.put(keys[number % POINT_KEYS], VALUE)

    keys = [key(POINTS, number) for number in range(POINT_KEYS)]
    return await repeat(get if case.kind == "get" else put, case)


async def repeat(call: Callable[[int], Awaitable[None]], case: Case) -> Measurement:
    """Call from many tasks until the count or the time is used up."""

    async def task() -> int:
        for done in itertools.count():
            if (number := next(numbers)) >= case.operations or time.perf_counter() > end:
                return done
            await call(number)
        raise AssertionError

    numbers = itertools.count()
    end = time.perf_counter() + case.seconds
    watch = Stopwatch()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(task()) for _ in range(case.tasks)]
    return watch.read(sum(each.result() for each in tasks))


async def run_range(client: Client, case: Case) -> Measurement:
    """The same range again and again; counted in keys."""
    end = time.perf_counter() + case.seconds
    watch = Stopwatch()
    keys = 0
    while keys < case.operations and time.perf_counter() < end:
        keys += await client.read_range(*_bounds(RANGE))
    return watch.read(keys)


async def run_watch(client: Client, case: Case, revision: int | None) -> Measurement:
    """Events of the past from *revision* on, or live ones, which whoever started this writes when told to."""
    watch = Stopwatch()

    def registered() -> None:
        nonlocal watch
        if revision is None:
            watch = Stopwatch()
            say({"registered": True})

    async with asyncio.timeout(case.seconds):
        prefix, end = _bounds(LIVE if revision is None else HISTORY)
        await client.watch(prefix, end, revision=revision, events=case.operations, registered=registered)
    return watch.read(case.operations)


async def write(client: Writer, prefix: str, count: int) -> dict[str, int]:
    """Write *count* keys in transactions, a few at a time; the first and the last revision of theirs."""

    async def chunk(start: int) -> None:
        pairs = [(key(prefix, number), VALUE) for number in range(start, min(start + EVENTS_PER_TXN, count))]
        async with places:
            revisions.append(await client.write(pairs))

    places = asyncio.Semaphore(4)
    revisions: list[int] = []
    async with asyncio.TaskGroup() as group:
        for start in range(0, count, EVENTS_PER_TXN):
            group.create_task(chunk(start))
    return {"first": min(revisions), "last": max(revisions)}


async def obey(client: Any, order: dict[str, Any]) -> dict[str, Any]:
    """Run one round."""
    if "write" in order:
        return await write(client, order["write"], order["count"])
    case = Case(**order["case"])
    if case.kind in ("get", "put"):
        return asdict(await run_points(client, case))
    if case.kind == "range":
        return asdict(await run_range(client, case))
    return asdict(await run_watch(client, case, order["revision"]))


async def serve(name: str, endpoint: str) -> None:
    """Import the client, make a first call, then run what is asked for."""
    watch = Stopwatch()
    connect = importlib.import_module(f"tests.benchmarks.clients.{name}").connect
    imported = watch.read(1)
    watch = Stopwatch()
    client: Client = connect(endpoint)
    try:
        await client.get(key(POINTS, 0))
        say({"import": asdict(imported), "first call": asdict(watch.read(1))})
        while line := await asyncio.to_thread(sys.stdin.readline):
            say(await obey(client, json.loads(line)))
    finally:
        await client.aclose()


def say(answer: dict[str, Any]) -> None:
    """One line out."""
    print(json.dumps(answer), flush=True)


def _bounds(prefix: str) -> tuple[bytes, bytes]:
    return prefix.encode(), f"{prefix[:-1]}0".encode()  # "0" comes after "/"


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("client")
    parser.add_argument("endpoint")
    parser.add_argument("--uvloop", action="store_true")
    arguments = parser.parse_args()
    factory = importlib.import_module("uvloop").new_event_loop if arguments.uvloop else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(arguments.client, arguments.endpoint))


if __name__ == "__main__":
    main()
