"""A temporary directory that is gone, at the latest, when Python ends."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from pathlib import Path


class TemporaryDirectory:
    """Made by the constructor; unlike `tempfile.TemporaryDirectory` it may go unremoved without a warning."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="etcd-async-"))
        self._remove = weakref.finalize(self, _remove, os.getpid(), self.path)

    def remove(self) -> None:
        """Remove it with all it holds. Twice is harmless."""
        self._remove()


def _remove(owner: int, path: Path) -> None:
    if os.getpid() == owner:  # not a fork of the tests, which ends before them
        shutil.rmtree(path, ignore_errors=True)
