"""What a judge says of a history."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken rule: *rule* is its name, *detail* where and how."""

    rule: str
    detail: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Result:
    """
    What one judge says.

    Attributes:
        violations: What it found; the history is accepted if there are none.
        skipped: Why it could not judge at all; empty if it did.
        detail: What it judged, for the notes.
    """

    judge: str
    violations: tuple[Violation, ...] = ()
    skipped: str = ""
    detail: str = ""

    @property
    def accepted(self) -> bool:
        """True if nothing speaks against the history, be it that nothing was looked at."""
        return not self.violations

    @property
    def rules(self) -> set[str]:
        """The names of the broken rules."""
        return {violation.rule for violation in self.violations}
