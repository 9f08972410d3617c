"""
The decoder of an installed etcd_async against another: ``python -m tests.benchmarks.decoding FOLDER``.

FOLDER holds the other one. Each runs in a process of its own, in turns; only ratios are printed.
"""

import importlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.benchmarks.measurement import Measurement, cost

ROUNDS = 7
HEADER = {"cluster_id": 1 << 63, "member_id": 1 << 62, "revision": 2_000_000, "raft_term": 2}


def cases() -> dict[str, tuple[Callable[[bytes], Any], bytes, int]]:
    """What is decoded, by which decoder, and how often a round does so; the package is whichever comes first."""
    codec, wire = (importlib.import_module(f"etcd_async.{name}") for name in ("_codec", "wire"))
    header = wire.ResponseHeader(**HEADER)
    chance = random.Random(1)

    def kvs(count: int, sizes: tuple[int, int]) -> list[Any]:
        revisions = range(1_000_000, 1_000_000 + count)
        values = [b"v" * chance.randint(*sizes) for _ in revisions]
        return [
            wire.KeyValue(key=b"benchmark/%d" % at, create_revision=at, mod_revision=at, version=1, value=value)
            for at, value in zip(revisions, values, strict=True)
        ]

    def listing(kvs: list[Any]) -> bytes:
        return bytes(codec.encode(wire.RangeResponse(header=header, kvs=kvs, count=len(kvs))))

    def events(kvs: list[Any]) -> bytes:
        return bytes(codec.encode(wire.WatchResponse(header=header, events=[wire.Event(kv=kv) for kv in kvs])))

    ranges, watches = codec.decode_range_result, codec.decode_watch_response
    return {
        "one key": (codec.decode_get_result, listing(kvs(1, (100, 100))), 5_000),
        "10,000 keys, alike": (ranges, listing(kvs(10_000, (100, 100))), 5),
        "10,000 keys, mixed": (ranges, listing(kvs(10_000, (50, 300))), 5),
        "one event": (watches, events(kvs(1, (100, 100))), 5_000),
        "1,000 events, alike": (watches, events(kvs(1_000, (100, 100))), 50),
        "1,000 events, mixed": (watches, events(kvs(1_000, (50, 300))), 50),
    }


def measure() -> dict[str, float]:
    """The CPU seconds of each case; the first round warms up."""
    best: dict[str, float] = {}
    for name, (decode, data, times) in cases().items():
        for _ in range(3):
            began = time.process_time()
            for _ in range(times):
                decode(data)
            best[name] = time.process_time() - began
    return best


def measured(folder: str | None) -> dict[str, Measurement]:
    """What a new process measures, with the package of *folder* if there is one."""
    path = os.pathsep.join(part for part in (folder, os.environ.get("PYTHONPATH")) if part)
    command = [sys.executable, "-m", "tests.benchmarks.decoding"]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE, check=True)
    return {name: Measurement(1, seconds, seconds) for name, seconds in json.loads(done.stdout).items()}


def main(folder: str) -> None:
    """Run both in turns and print the ratios."""
    rounds = [[measured(which) for which in (None, folder)] for _ in range(ROUNDS)]
    print("CPU time, installed : the other one; median (smallest to largest), lower is better.")
    for name in rounds[0][0]:
        print(f"{name:22}{cost([ours[name] for ours, _ in rounds], [other[name] for _, other in rounds])}")


if __name__ == "__main__":
    if sys.argv[1:]:
        main(sys.argv[1])
    else:
        print(json.dumps(measure()))
