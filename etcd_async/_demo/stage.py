"""How the steps of the tour speak, and how they check that what they show is what they promise."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TextIO

from etcd_async import Client, KeyValue

__all__ = ["TTL", "DemoFailed", "Output", "Tour", "expect", "names", "words"]

TTL: Final = 2.0
"""Seconds that leases of the tour live unrenewed: the shortest that etcd grants by default."""

_WIDTH = 47  # of the column of calls; with the results a line fits 100 characters
_ANY: Final = object()


class DemoFailed(Exception):
    """Raised when the tour can't go on, with one line that says why."""


def expect(condition: bool, promise: str) -> None:
    """Fail the tour unless *condition* holds; *promise* says what should have been."""
    if not condition:
        raise DemoFailed(f"expected that {promise}, but it is not so")


def words(kv: KeyValue | None) -> str:
    """Return a key's value and version, or "None" for a key that does not exist."""
    return "None" if kv is None else f'"{kv.text()}", version {kv.version}'


def names(keys: Iterable[bytes]) -> str:
    """Return the last parts of *keys*, in a row."""
    return " ".join(key.decode().rpartition("/")[2] for key in keys)


class Output:
    """Numbered steps, what they call and what comes back; in colour on a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_coloured = stream.isatty() and "NO_COLOR" not in os.environ
        self._steps = 0

    def step(self, title: str, about: str) -> None:
        """Begin a step."""
        self._steps += 1
        self.say(f"\n{self._paint(f'{self._steps}. {title}', '1;36')}\n   {about}")

    def show(self, call: str, result: object, *, expect: object = _ANY) -> None:
        """
        Show a call, or something else that happened, and its result.

        Raises:
            DemoFailed: The result is not as expected.
        """
        arrow = self._paint("->", "2")
        self.say(f"   {call:<{_WIDTH}} {arrow} {self._paint(str(result), '32')}")
        if expect is not _ANY and result != expect:
            raise DemoFailed(f"{call} should have given {expect}, not {result}")

    def say(self, text: str) -> None:
        """
        Write *text* at once, also where the output is not a terminal.

        Raises:
            DemoFailed: Nobody reads it any more.
        """
        try:
            self._stream.write(f"{text}\n")
            self._stream.flush()
        except BrokenPipeError:
            # What is still buffered must go somewhere, or Python complains when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            raise DemoFailed("ended early, as nobody reads the output") from None

    def _paint(self, text: str, colour: str) -> str:
        return f"\033[{colour}m{text}\033[0m" if self._is_coloured else text


@dataclass(frozen=True, slots=True)
class Tour:
    """
    What every step gets.

    Attributes:
        client: A client whose keys all lie under the tour's own prefix.
        endpoints: The servers, for a second process.
        prefix: The tour's own prefix, for a second process.
        out: Where to speak.
    """

    client: Client
    endpoints: tuple[str, ...]
    prefix: str
    out: Output
