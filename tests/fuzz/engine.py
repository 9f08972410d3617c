"""
One target, fuzzed for a while by one process: ``python -m tests.fuzz.engine TARGET SECONDS FOLDER [SEED]``.

With atheris the code is watched, so inputs that reach new places are kept and built upon; without it, what is in the
corpus is just damaged at random. FOLDER gets new inputs (``corpus``) and those that failed (``found-*``).
"""

from __future__ import annotations

import importlib
import random
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

WATCHED = ["etcd_async", "h2", "hpack", "hyperframe"]
MAX_SIZE = 4096
SECONDS_PER_INPUT = 10
MEGABYTES = 2048


def with_atheris(target: str, seconds: int, folder: Path, seed: int) -> None:
    """Let libFuzzer run; it ends the process."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=WATCHED):
        targets = importlib.import_module("tests.fuzz.targets")
    arguments = [
        sys.argv[0],
        str(folder / "corpus"),
        str(targets.CORPUS / target),
        f"-max_total_time={seconds}",
        f"-max_len={MAX_SIZE}",
        f"-timeout={SECONDS_PER_INPUT}",
        f"-rss_limit_mb={MEGABYTES}",
        f"-artifact_prefix={folder}/found-",
        f"-seed={seed}",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    atheris.Setup(arguments, targets.TARGETS[target])
    atheris.Fuzz()


def at_random(target: str, seconds: int, folder: Path, seed: int) -> None:
    """Damage what is known, again and again."""
    targets = importlib.import_module("tests.fuzz.targets")
    known = [path.read_bytes() for path in targets.corpus(target)] or [b""]
    rng, until, count = random.Random(seed), time.monotonic() + seconds, 0
    while time.monotonic() < until:
        data = damaged(rng, rng.choice(known), rng.choice(known))
        count += 1
        try:
            targets.TARGETS[target](data)
        except BaseException:
            (folder / f"found-{count}").write_bytes(data)
            raise
    print(f"{count} inputs, damaged at random (atheris is not installed)")


def damaged(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Return *data* after some accidents; *other* may be a part of them."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at, size = rng.randint(0, len(out)), rng.randint(0, 8)
        start = rng.randint(0, len(other))
        out[at : at + rng.choice((0, 0, size))] = rng.choice(
            (rng.randbytes(size), other[start : start + size * 4], out[at : at + size] * 2, b"")
        )
        if out:
            out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out[:MAX_SIZE])


def main() -> None:
    target, seconds, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    seed = int(sys.argv[4]) if len(sys.argv) > 4 else random.randrange(1, 2**31)
    (folder / "corpus").mkdir(parents=True, exist_ok=True)
    run = at_random if find_spec("atheris") is None else with_atheris
    run(target, seconds, folder, seed)


if __name__ == "__main__":
    main()
