"""Which instance is next. Pure: times are passed in."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Final, Literal, TypeAlias, get_args

from etcd_async.types import Service

__all__ = ["REST", "Balancer", "Policy"]

Policy: TypeAlias = Literal["round_robin", "random", "least_recently_failed"]

REST: Final = 5.0
"""Seconds that an instance which failed is spared, while there are others."""


class Balancer:
    """
    Picks one of the healthy instances.

    An instance whose caller reported a failure is spared for `REST` seconds, unless all were: then the one that failed
    longest ago is picked. ``"least_recently_failed"`` always picks the one whose failure is longest ago, in turn among
    those that never failed.
    """

    def __init__(self, policy: Policy, random: Random) -> None:
        if policy not in get_args(Policy):
            raise ValueError(f"policy must be one of {', '.join(get_args(Policy))}, not {policy!r}")
        self.instances: dict[str, Service] = {}
        self._policy = policy
        self._random = random
        self._failed_at: dict[str, float] = {}
        self._last = ""

    def put(self, service: Service) -> None:
        """Add an instance, or take its change."""
        self.instances[service.id] = service

    def remove(self, service: Service) -> None:
        """Forget an instance and its failures."""
        self.instances.pop(service.id, None)
        self._failed_at.pop(service.id, None)

    def failed(self, service: Service, now: float) -> None:
        """Take note that an instance could not be called."""
        if service.id in self.instances:
            self._failed_at[service.id] = now

    def succeeded(self, service: Service) -> None:
        """Forget an instance's failures."""
        self._failed_at.pop(service.id, None)

    def pick(self, now: float) -> Service | None:
        """Return the next instance; None if none is healthy."""
        healthy = sorted(id for id, service in self.instances.items() if service.is_healthy)
        if not healthy:
            return None
        rested = [id for id in healthy if self._failed_at.get(id, now - REST) <= now - REST]
        if self._policy == "least_recently_failed" or not rested:
            oldest = min(self._failed_at.get(id, float("-inf")) for id in healthy)
            rested = [id for id in healthy if self._failed_at.get(id, float("-inf")) == oldest]
        return self.instances[self._one_of(rested)]

    def _one_of(self, ids: Iterable[str]) -> str:
        ordered = list(ids)
        if self._policy == "random":
            return self._random.choice(ordered)
        self._last = next((id for id in ordered if id > self._last), ordered[0])
        return self._last
