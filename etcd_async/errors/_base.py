"""The root of all errors, and what their texts share."""

from __future__ import annotations


class EtcdError(Exception):
    """
    The root of every error of this package.

    Attributes:
        maybe_applied: True if the call was a write and etcd may have carried it out although it failed.
            Repeating it blindly could apply it twice: read first, or make it conditional.
    """

    maybe_applied: bool = False


def caution(error: EtcdError) -> str:
    """Return what is to be added to the text of an error that leaves open whether a write was applied."""
    return "; the write may have been applied" if error.maybe_applied else ""
