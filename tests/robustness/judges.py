"""All judges over one recorded run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.robustness import assumptions, porcupine, serializable, watch_judge
from tests.robustness.attribution import Attribution, attribute
from tests.robustness.history import History, read
from tests.robustness.result import Result

__all__ = ["Rejected", "Result", "Verdict", "judge", "judge_history", "judge_without_go"]

SHOWN = 20  # violations of one judge in a report


class Rejected(AssertionError):
    """Raised for a history that breaks a rule."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What all judges say.

    Attributes:
        results: One per judge.
    """

    results: tuple[Result, ...]

    @property
    def accepted(self) -> bool:
        """True if no judge found anything. One that could not judge is named in `skipped`."""
        return all(result.accepted for result in self.results)

    @property
    def skipped(self) -> dict[str, str]:
        """The judges that could not judge, and why."""
        return {result.judge: result.skipped for result in self.results if result.skipped}

    @property
    def rules(self) -> set[str]:
        """The names of the broken rules."""
        return set().union(*(result.rules for result in self.results))

    def report(self) -> str:
        """Return a line per judge, and what it found."""
        lines: list[str] = []
        for result in self.results:
            word = f"skipped, {result.skipped}" if result.skipped else "accepted" if result.accepted else "REJECTED"
            lines.append(f"{result.judge}: {word}{f' ({result.detail})' if result.detail else ''}")
            lines += [f"    {violation}" for violation in result.violations[:SHOWN]]
            if len(result.violations) > SHOWN:
                lines.append(f"    and {len(result.violations) - SHOWN} more")
        return "\n".join(lines)

    def raise_if_rejected(self) -> None:
        """Raise `Rejected` with the report if any judge found anything."""
        if not self.accepted:
            raise Rejected(self.report())


def judge(folder: Path, *, timeout: float = porcupine.TIMEOUT) -> Verdict:
    """
    Judge the run recorded in *folder*.

    Args:
        folder: As `history.write` leaves it.
        timeout: Seconds for Porcupine; if it has not decided by then, the run is rejected.
    """
    return judge_history(read(folder), timeout=timeout)


def judge_history(history: History, *, timeout: float = porcupine.TIMEOUT) -> Verdict:
    """Judge a run."""
    traced = attribute(history)
    return Verdict((*_judge_alone(history, traced), porcupine.judge(traced.steps, timeout=timeout)))


def judge_without_go(history: History) -> Verdict:
    """Judge all but linearizability."""
    return Verdict(_judge_alone(history, attribute(history)))


def _judge_alone(history: History, traced: Attribution) -> tuple[Result, ...]:
    writes = Result("writes", tuple(traced.violations), detail=f"{len(history.operations)} operations")
    return assumptions.judge(history), writes, serializable.judge(history), watch_judge.judge(history)
