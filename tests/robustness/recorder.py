"""Writes down what happens in a run, and counts it."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.robustness import history
from tests.robustness.history import Answer, Asked, Failure, Got, Operation, Request, WatchLine, Word

__all__ = ["Recorder", "kind_of"]


class Recorder:
    """
    The files of one run, and what is known so far.

    Attributes:
        revision: The highest revision of the store that anybody was told.
        operations: How many there were, by kind and outcome: ``ok``, ``no`` (surely not applied) or ``unknown``.
        events: How many events all watches received.
        endings: How watches ended: the name of the error, empty for those that were left.
    """

    def __init__(self, folder: Path, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.revision = 1
        self.operations: Counter[tuple[str, str]] = Counter()
        self.events = 0
        self.endings: Counter[str] = Counter()
        self.now = clock
        self._clients = itertools.count(1)
        self._watches = itertools.count(1)
        self._stack = ExitStack()
        folder.mkdir(parents=True, exist_ok=True)
        self._operation_file = self._stack.enter_context((folder / history.OPERATIONS).open("w", encoding="ascii"))
        self._watch_file = self._stack.enter_context((folder / history.WATCHES).open("w", encoding="ascii"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def total(self) -> int:
        """How many operations there were."""
        return self.operations.total()

    def new_client(self) -> int:
        """Return an id that no operation has yet."""
        return next(self._clients)

    def new_watch(self) -> int:
        """Return an id that no watch has yet."""
        return next(self._watches)

    def operation(self, client: int, request: Request, call: int, outcome: Answer | Failure) -> None:
        """Write down an operation that has ended just now."""
        print(history.operation_line(Operation(client, request, call, self.now(), outcome)), file=self._operation_file)
        self.operations[kind_of(request), _verdict(outcome)] += 1
        if isinstance(outcome, Answer):
            self.learn(outcome.revision)

    def watch(self, watch: int, word: Word) -> None:
        """Write down what has happened to a watch just now."""
        print(history.watch_line(WatchLine(watch, self.now(), word)), file=self._watch_file)
        if isinstance(word, Got):
            self.events += len(word.events)
            self.learn(word.events[-1].revision if word.events else 0)
        elif isinstance(word, history.Ended):
            self.endings[word.error] += 1

    def asked(self, asked: Asked) -> int:
        """Write down that a watch is about to be entered, and return its id."""
        watch = self.new_watch()
        self.watch(watch, asked)
        return watch

    def learn(self, revision: int) -> None:
        """Take note of a revision that the store has had."""
        self.revision = max(self.revision, revision)


def kind_of(request: Request) -> str:
    """Return what kind of operation it is: ``put``, ``range``, ..."""
    return type(request).__name__.lower()


def _verdict(outcome: Answer | Failure) -> str:
    if isinstance(outcome, Answer):
        return "ok"
    return "unknown" if outcome.maybe_applied else "no"


def summary(counts: Counter[tuple[str, str]], outcomes: Sequence[str] = ("ok", "no", "unknown")) -> str:
    """Return operations by kind, each as ``put 120/3/7``: done, surely not done, unknown."""
    kinds = sorted({kind for kind, _ in counts})
    return " ".join(f"{kind} {'/'.join(str(counts[kind, outcome]) for outcome in outcomes)}" for kind in kinds)
