"""Checks of numbers and leases that users give."""

from __future__ import annotations


def lease_id(lease: object) -> int:
    """Return the id of a lease; what is neither a lease nor an id is a TypeError."""
    found = lease if isinstance(lease, int) else getattr(lease, "id", None)
    if not isinstance(found, int) or isinstance(found, bool):
        raise TypeError(f"lease must be a lease or its id, not {type(lease).__name__}")
    return found


def at_least(number: object, name: str, lowest: int) -> int:
    """Return *number*; below *lowest* is a ValueError, not an int a TypeError, both naming *name*."""
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError(f"{name} must be an int, not {type(number).__name__}")
    if number < lowest:
        raise ValueError(f"{name} must be at least {lowest}, not {number}")
    return number


def optional(number: object, name: str, lowest: int) -> int:
    """Return *number* as `at_least` does, or 0 for None."""
    return 0 if number is None else at_least(number, name, lowest)
