"""
Linearizability, judged by Porcupine (https://github.com/anishathalye/porcupine): the Go program in ``judge/``.

It is built once, into ``build/`` of the checkout, from the versions that its ``go.sum`` names. That takes a Go of 1.21
or later, and, where the module is not in Go's cache, a module proxy that can be reached.

    linearizable  no order of the operations explains every answer
    unknown       no answer to that question was found in time
    model         the history holds what the model does not know
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.robustness.attribution import Step, Vanish
from tests.robustness.history import Answer, plain
from tests.robustness.result import Result, Violation
from tests.support.golang import BUILD, Unbuildable, program

SOURCE = Path(__file__).parent / "judge"
STORE = BUILD / "porcupine"
TIMEOUT = 300.0  # seconds, as in etcd's own tests


def judge(steps: Sequence[Step], *, timeout: float = TIMEOUT) -> Result:
    """Judge what is traced of a history; *timeout* in seconds. Skipped where the program can't be built."""
    try:
        judging = binary()
    except Unbuildable as error:
        return Result("porcupine", skipped=str(error))
    return ask(judging, steps, timeout=timeout)


def ask(judging: Path, steps: Sequence[Step], *, timeout: float = TIMEOUT) -> Result:
    """Have the program judge *steps*."""
    lines = "".join(json.dumps(as_line(step)) + "\n" for step in steps)
    # It watches the time itself; the rest is for reading, and for naming what did not fit.
    done = subprocess.run(
        [judging, f"-timeout={timeout}s"],
        input=lines,
        capture_output=True,
        text=True,
        timeout=timeout + 60,
        check=False,
    )
    if done.returncode:
        return Result("porcupine", (Violation("model", done.stderr.strip()),))
    answer = json.loads(done.stdout)
    detail = f"{answer['verdict']}: {answer['operations']} operations in {answer['seconds']:.2f} s"
    if answer["verdict"] == "Ok":
        return Result("porcupine", detail=detail)
    stuck = ", ".join(json.dumps(as_line(steps[each])) for each in answer.get("stuck", ()))
    rule = "linearizable" if answer["verdict"] == "Illegal" else "unknown"
    return Result("porcupine", (Violation(rule, f"no place for {stuck}"),), detail=detail)


def as_line(step: Step) -> dict[str, Any]:
    """Return a step as the program reads it."""
    request = {"op": "vanish", **plain(step.request)} if isinstance(step.request, Vanish) else plain(step.request)
    line = {"call": step.call, "end": -1 if step.end is None else step.end, "request": request}
    match step.outcome:
        case Answer():
            line["answer"] = plain(step.outcome)
        case str():
            line["error"] = step.outcome
        case int():
            line["persisted"] = step.outcome
        case None:
            line["maybe"] = True
    return line


def binary() -> Path:
    """
    Return the program, built if it has not been from these sources.

    Raises:
        Unbuildable: There is no Go, or it could not build.
    """
    return program(SOURCE, STORE)
