"""What is measured: each case, bounded in count and in time."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["get", "put", "range", "history", "live"]

VALUE = b"v" * 100
EVENTS_PER_TXN = 100
POINTS = "benchmark/points/"
RANGE = "benchmark/range/"
HISTORY = "benchmark/history/"
LIVE = "benchmark/live/"
POINT_KEYS = 1_000
RANGE_KEYS = 10_000
HISTORY_EVENTS = 50_000
TASKS = (1, 16, 64, 256)


def key(prefix: str, number: int) -> bytes:
    """One of the keys under *prefix*, each 29 bytes long."""
    return f"{prefix}{number:0{29 - len(prefix)}d}".encode()


@dataclass(frozen=True, slots=True)
class Case:
    """
    One thing to measure.

    Attributes:
        name: How it is reported.
        kind: Which loop of the worker runs it.
        tasks: How many tasks call at the same time.
        operations: The round ends after so many (for a range: keys; for a watch: events).
        seconds: It ends then at the latest; a watch that has not brought all its events by then is an error.
    """

    name: str
    kind: Kind
    tasks: int
    operations: int
    seconds: float


def cases(*, quick: bool) -> list[Case]:
    """All cases; the quick ones have a fraction of the operations."""
    part, seconds = (5, 1.0) if quick else (1, 3.0)
    most: dict[Kind, int] = {"get": 16_000, "put": 8_000}
    points = [
        Case(f"{kind}, {tasks} {'task' if tasks == 1 else 'tasks'}", kind, tasks, operations // part, seconds)
        for kind in most
        for tasks, operations in zip(TASKS, (most[kind] // 8, most[kind] // 2, most[kind], most[kind]), strict=True)
    ]
    return [
        *points,
        Case("range of 10,000 keys", "range", 1, 20 * RANGE_KEYS // part, seconds),
        Case("watch, history", "history", 1, HISTORY_EVENTS // part, 20.0),
        Case("watch, live", "live", 1, HISTORY_EVENTS // part, 20.0),
    ]
