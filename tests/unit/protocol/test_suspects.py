"""How often an endpoint is probed that keeps calls waiting."""

from itertools import pairwise
from random import Random

from etcd_async._protocol.endpoints import parse
from etcd_async._protocol.suspects import MEMORY, TRUST, Suspects

A, B = (parse(f"http://{name}:1") for name in "ab")
LONGEST = TRUST.maximum * (1 + TRUST.jitter)


def probes(suspects: Suspects, seconds: float, *, begin: float = 0.0) -> list[float]:
    """Return when A is probed, which is suspected five times a second and always proves well."""
    times = []
    for look in range(int(seconds * 5)):
        now = begin + look / 5
        if suspects.is_worth_a_probe(A, now):
            times.append(now)
            suspects.proved_well(A, now)
    return times


def test_an_endpoint_that_is_only_slow_is_probed_less_and_less_often() -> None:
    times = probes(Suspects(Random(0)), 600)
    gaps = [later - sooner for sooner, later in pairwise(times)]
    assert times[0] == 0.0
    assert gaps[0] < gaps[1]
    assert 600 / LONGEST <= len(times) <= 5 + 600 / (TRUST.maximum * (1 - TRUST.jitter))
    assert max(gaps) <= LONGEST + 0.2


def test_one_that_was_suspected_long_ago_is_probed_as_at_first() -> None:
    suspects = Suspects(Random(0))
    probes(suspects, 60)
    begin = 60 + LONGEST + MEMORY
    assert len(probes(suspects, 2 * TRUST.initial, begin=begin)) == 2
    assert len(suspects._trusted) == 1


def test_one_that_did_not_prove_well_is_probed_at_each_suspicion() -> None:
    suspects = Suspects(Random(0))
    assert suspects.is_worth_a_probe(A, 0.0)
    assert suspects.is_worth_a_probe(A, 0.0)


def test_trust_in_one_is_none_in_another_and_what_is_long_ago_is_forgotten() -> None:
    suspects = Suspects(Random(0))
    suspects.proved_well(A, 0.0)
    assert suspects.is_worth_a_probe(B, 0.1)
    suspects.proved_well(B, 100.0)
    assert list(suspects._trusted) == [B]
