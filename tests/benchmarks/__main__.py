"""
etcd_async side by side with other clients: ``python -m tests.benchmarks [--quick] [--uvloop] [--only TEXT]``.

Every client runs in a process and an environment of its own, all against one real etcd on this machine. They take turns
round by round, in alternating order, so that whatever else the machine does hits all alike. Only ratios are printed,
each the median of the rounds with the smallest and the largest; seconds of one machine mean nothing on another, so none
are shown and nothing is asserted about them.
"""

import argparse
import asyncio
import platform
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TypeVar

from etcd_async.testing import EtcdServer
from tests.benchmarks.cases import HISTORY, HISTORY_EVENTS, POINT_KEYS, POINTS, RANGE, RANGE_KEYS, Case, cases
from tests.benchmarks.environments import version
from tests.benchmarks.measurement import Measurement, cost, speed
from tests.benchmarks.process import Worker, started

OURS = "ours"
PEERS = {"theirs_aetcd": "aetcd", "theirs_grpcio": "grpcio.aio alone"}
WRITER = "theirs_grpcio"

T = TypeVar("T")
Results = dict[str, list[Measurement]]


async def compare(server: EtcdServer, chosen: Sequence[Case], *, rounds: int, uvloop: bool) -> None:
    """Measure and print, case by case."""
    async with AsyncExitStack() as stack:
        writer = await stack.enter_async_context(started(WRITER, server.endpoint, uvloop=False))
        await writer.startup()
        await writer.write(POINTS, POINT_KEYS)
        await writer.write(RANGE, RANGE_KEYS)
        revision, _ = await writer.write(HISTORY, HISTORY_EVENTS)
        await compare_startups(server.endpoint, rounds=rounds, uvloop=uvloop)
        workers = [
            await stack.enter_async_context(started(name, server.endpoint, uvloop=uvloop)) for name in (OURS, *PEERS)
        ]
        for worker in workers:
            await worker.startup()
        for case in chosen:
            await compare_case(case, workers, writer, rounds=rounds, revision=revision)


async def compare_case(case: Case, workers: list[Worker], writer: Worker, *, rounds: int, revision: int) -> None:
    """Run one case in turns and print its row; the first round warms up and does not count."""
    results: Results = defaultdict(list)
    for number in range(rounds + 1):
        for worker in in_turn(workers, number):
            measured = await worker.measure(
                case,
                revision=revision if case.kind == "history" else None,
                writer=writer if case.kind == "live" else None,
            )
            if number:
                results[worker.name].append(measured)
    print_row(case.name, results)


async def compare_startups(endpoint: str, *, rounds: int, uvloop: bool) -> None:
    """Start every client anew in turns, and print what the import and the first call took."""
    results: dict[str, Results] = defaultdict(lambda: defaultdict(list))
    for number in range(rounds + 1):
        for name in in_turn([OURS, *PEERS], number):
            async with started(name, endpoint, uvloop=uvloop) as worker:
                for what, measured in (await worker.startup()).items():
                    if number:
                        results[what][name].append(measured)
    for what, rows in results.items():
        print_row(what, rows)


def in_turn(items: Sequence[T], number: int) -> Sequence[T]:
    """Forwards in even rounds, backwards in odd ones."""
    return items[::-1] if number % 2 else items


def print_heading(server: EtcdServer) -> None:
    """What the rows mean."""
    versions = f"aetcd {version('theirs_aetcd', 'aetcd')}, grpcio {version('theirs_grpcio', 'grpcio')}"
    print(f"{versions}; etcd {server.version}, one member, no fsync; Python {platform.python_version()}.")
    print("Ratios etcd_async : peer, median (smallest to largest) of rounds taken in turns.")
    print(
        "speed: operations per second, higher is better. CPU: the client's CPU time per operation, lower is better.\n"
    )
    print(f"{'':22}" + "".join(f"{f'speed : {peer}':28}{f'CPU : {peer}':28}" for peer in PEERS.values()))


def print_row(name: str, results: Results) -> None:
    """One case against every peer."""
    ours = results[OURS]
    cells = [f"{speed(ours, results[peer])!s:28}{cost(ours, results[peer])!s:28}" for peer in PEERS]
    print(f"{name:22}" + "".join(cells), flush=True)


async def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.strip().partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds and operations: under a minute")
    parser.add_argument("--uvloop", action="store_true", help="run every client on uvloop")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the cases whose names hold this")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds per case, besides one to warm up")
    arguments = parser.parse_args()
    rounds = arguments.rounds or (3 if arguments.quick else 7)
    chosen = [case for case in cases(quick=arguments.quick) if arguments.only in case.name]
    server = EtcdServer()
    print_heading(server)
    async with server:
        await compare(server, chosen, rounds=rounds, uvloop=arguments.uvloop)


if __name__ == "__main__":
    asyncio.run(main())
