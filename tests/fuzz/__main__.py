"""
Fuzz framing, codec and machines: ``python -m tests.fuzz --seconds N [--target NAME]... [--keep FOLDER]``.

N is for each target, one process after the other. An input that fails is shown and kept; minimised, it belongs into
``tests/fuzz/corpus``, which the unit tests replay. Install atheris (Python 3.11 to 3.13) for fuzzing that is worth it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.targets import TARGETS

TOLD = ("stat::number_of_executed_units", "stat::new_units_added", "inputs, damaged at random")


def fuzz(target: str, seconds: int, folder: Path) -> bool:
    """Run one target and say how it went; False if it found something."""
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    command = [sys.executable, "-m", "tests.fuzz.engine", target, str(seconds), str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    told = [" ".join(line.split()) for line in done.stdout.splitlines() if any(part in line for part in TOLD)]
    verdict = "nothing found" if done.returncode == 0 else f"FOUND something (exit status {done.returncode})"
    print(f"{target}: {time.monotonic() - began:.0f} s, {verdict}; {'; '.join(told)}", flush=True)
    if done.returncode:
        print(done.stdout[-6000:], flush=True)
    return done.returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.splitlines()[1])
    parser.add_argument("--seconds", type=int, required=True, help="for each target")
    parser.add_argument("--target", action="append", choices=TARGETS, help="all, if not given")
    parser.add_argument("--keep", type=Path, help="where new and failing inputs go; a temporary folder, if not given")
    arguments = parser.parse_args()
    keep = arguments.keep or Path(tempfile.mkdtemp(prefix="etcd_async-fuzz-"))
    results = [fuzz(target, arguments.seconds, keep / target) for target in arguments.target or TARGETS]
    if not all(results):
        sys.exit(f"failing inputs are in {keep}")


if __name__ == "__main__":
    main()
