"""Which of the endpoints that keep calls waiting are worth a probe: not those that are known to be only slow."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from etcd_async._protocol.endpoints import Endpoint
from etcd_async._protocol.retry import wait
from etcd_async.options import Backoff

TRUST: Final = Backoff(initial=2.0, factor=2.0, maximum=5.0)
"""How long an endpoint is trusted that was suspected and has proved well; longer each time in a row."""

MEMORY: Final = 10.0
"""Seconds without suspicion until the next one counts as the first again."""


@dataclass(frozen=True, slots=True)
class _Trust:
    until: float
    times: int


class Suspects:
    """
    The endpoints that were suspected lately, and trusted since.

    Args:
        random: For jitter.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._trusted: dict[Endpoint, _Trust] = {}

    def is_worth_a_probe(self, endpoint: Endpoint, now: float) -> bool:
        """Tell whether *endpoint*, which keeps a call waiting, is to be probed."""
        trust = self._trusted.get(endpoint)
        return trust is None or now >= trust.until

    def proved_well(self, endpoint: Endpoint, now: float) -> None:
        """Trust *endpoint* for a while: it has stood its probe."""
        self._trusted = {each: trust for each, trust in self._trusted.items() if now < trust.until + MEMORY}
        known = self._trusted.get(endpoint)
        times = known.times + 1 if known else 0
        self._trusted[endpoint] = _Trust(now + wait(TRUST, times, self._random), times)
