"""What is to be said of a run, in one line and as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.robustness.recorder import summary

__all__ = ["Report"]

LEAST = 1000  # operations, and events, of a run of a minute


@dataclass(slots=True)
class Report:
    """
    One run, before it is judged.

    Attributes:
        version: Of etcd.
        seconds: How long it took.
        faults: How often each kind was injected.
        operations: By kind and outcome.
        events: How many all watches together received.
        endings: How watches ended; an empty name is for those that were left.
        complaints: What was not as it must be, besides what judges find.
    """

    seed: int
    version: str
    seconds: float
    faults: Counter[str]
    operations: Counter[tuple[str, str]]
    events: int
    endings: Counter[str]
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Complain of a run that was too quiet to show anything."""
        least = LEAST * min(1.0, self.seconds / 60)
        if self.operations.total() <= least or self.events <= least:
            self.complaints.append(f"too little traffic: {self.operations.total()} operations, {self.events} events")

    def line(self) -> str:
        """Return the summary, without a verdict."""
        faults = " ".join(f"{kind} {number}" for kind, number in sorted(self.faults.items()))
        endings = " ".join(f"{name or 'left'} {number}" for name, number in sorted(self.endings.items()))
        return (
            f"seed {self.seed}, etcd {self.version}, {self.seconds:.0f} s; faults: {faults}; "
            f"{self.operations.total()} operations (ok/no/unknown): {summary(self.operations)}; "
            f"{self.events} watch events, watches: {endings}"
        )

    def as_json(self) -> dict[str, Any]:
        """Return all of it for ``run.json``."""
        return {
            "seed": self.seed,
            "version": self.version,
            "seconds": self.seconds,
            "faults": dict(self.faults),
            "operations": {"/".join(names): number for names, number in sorted(self.operations.items())},
            "events": self.events,
            "endings": dict(self.endings),
            "complaints": self.complaints,
        }
