"""What users say about where the servers are, and what is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from etcd_async._protocol.endpoints import Endpoint, parse
from etcd_async.options import TLS

__all__ = ["check_interval", "parsed"]


def parsed(endpoints: str | Sequence[str], tls: TLS | None) -> list[Endpoint]:
    """
    Return the endpoints that a user has given.

    Raises:
        ValueError: One of them can't be read, there are none, or *tls* is given and none of them may use it.
    """
    if not isinstance(endpoints, Sequence):
        raise TypeError(f"endpoints must be str or a sequence of str, not {type(endpoints).__name__}")
    several = endpoints.split(",") if isinstance(endpoints, str) else list(endpoints)
    if not several:
        raise ValueError("endpoints must name at least one server")
    found = [parse(each) for each in several]
    if tls is not None and all(endpoint.tls is False for endpoint in found):
        raise ValueError("tls is given, but every endpoint is a plain one: say https:// or unixs://")
    return found


def check_interval(seconds: float | None) -> None:
    """Raise if *seconds* is no time between two syncs."""
    if seconds is None:
        return
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"endpoint_sync must be a number of seconds, or None, not {type(seconds).__name__}")
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"endpoint_sync must be positive, or None for never, not {seconds!r}")
