"""One public home for what a package defines in private modules."""

from __future__ import annotations

import sys
from types import FunctionType

__all__ = ["adopt"]


def adopt(home: str) -> None:
    """
    Have the classes and functions that the package *home* offers say that they are its own; to be called at its end.

    There tracebacks and reprs show them, and pickles look for them, however the package is divided.
    """
    namespace = vars(sys.modules[home])
    for offered in map(namespace.__getitem__, namespace["__all__"]):
        if isinstance(offered, type | FunctionType):
            offered.__module__ = home
