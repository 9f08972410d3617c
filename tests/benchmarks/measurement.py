"""One measurement, and the ratio of many."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one round of one client took: wall-clock seconds, and CPU seconds of the client's process alone."""

    operations: int
    seconds: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """The median of ratios, and their smallest and largest."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.middle:.2f} ({self.low:.2f} to {self.high:.2f})"


def speed(ours: Sequence[Measurement], theirs: Sequence[Measurement]) -> Ratio:
    """Operations per second, ours by theirs, round by round: above 1, ours is faster."""
    return _ratio([a.operations / a.seconds * b.seconds / b.operations for a, b in zip(ours, theirs, strict=True)])


def cost(ours: Sequence[Measurement], theirs: Sequence[Measurement]) -> Ratio:
    """CPU time per operation, ours by theirs, round by round: below 1, ours is cheaper."""
    return _ratio([a.cpu / a.operations * b.operations / b.cpu for a, b in zip(ours, theirs, strict=True)])


def _ratio(values: list[float]) -> Ratio:
    return Ratio(median(values), min(values), max(values))
