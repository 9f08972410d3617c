"""
Runs of traffic under faults, judged: ``python -m tests.robustness --seed 7 [--seconds 60] [--faults cut] [--keep X]``.

``--seeds 1-20`` does several in sequence, with one line for each. The seed decides which faults happen when and what
each client chooses to do; how long things take is the machine's own, so two runs of a seed are alike but not equal.
"""

import argparse
import asyncio
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from tests.robustness.faults import KINDS
from tests.robustness.judges import Result, judge
from tests.robustness.run import Settings, run


def seeds(text: str) -> list[int]:
    """Return the numbers of ``"3"``, ``"1-20"`` or ``"1,5,9"``."""
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.robustness", description=__doc__)
    parser.add_argument("--seed", "--seeds", dest="seeds", type=seeds, default=[1], help="7, or 1-20, or 1,5,9")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long faults are injected")
    parser.add_argument("--faults", default=",".join(KINDS), help="kinds, separated by commas: %(default)s")
    parser.add_argument("--keep", type=Path, help="folder for the histories, each in a folder named by its seed")
    binary = "the etcd to run; several times, for the members in turn; default: the newest 3.5 or 3.6 that is built"
    parser.add_argument("--binary", dest="binaries", action="append", default=[], help=binary)
    parser.add_argument("--rate", type=float, default=100.0, help="operations a second, if nothing holds them up")
    return parser.parse_args(given)


def one(options: argparse.Namespace, seed: int, folder: Path) -> bool:
    """Do and judge one run; print what there is to say of it. One that breaks does not end those to come."""
    kinds = [kind for kind in KINDS if kind in options.faults.split(",")]
    settings = Settings(seed, folder, options.seconds, kinds, options.binaries, options.rate)
    try:
        report = asyncio.run(run(settings))
        verdict = judge(folder)
    except Exception:
        print(f"BROKEN: seed {seed}:\n{traceback.format_exc()}", flush=True)
        return False
    is_good = verdict.accepted and not report.complaints
    print(f"{'ok' if is_good else 'BAD'}: {report.line()}; {', '.join(map(said, verdict.results))}", flush=True)
    for complaint in report.complaints:
        print(f"  {complaint}", flush=True)
    if not verdict.accepted:
        print(verdict.report(), flush=True)
    return is_good


def said(result: Result) -> str:
    """Return what a judge says, in two words."""
    return f"{result.judge} {'SKIPPED' if result.skipped else 'accepts' if result.accepted else 'REJECTS'}"


def main() -> int:
    """Do all runs; the status is 1 if one of them is not good."""
    options = arguments()
    results = []
    with tempfile.TemporaryDirectory() as temporary:
        for seed in options.seeds:
            folder = (options.keep or Path(temporary)) / str(seed)
            results.append(one(options, seed, folder))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
