"""The plan of faults: from the seed alone, every kind of them, one at a time in each lane."""

from itertools import pairwise

import pytest

from tests.robustness.faults import CLIENT_KINDS, KINDS, MEMBER_KINDS, plan

SEEDS = range(1, 21)


def test_a_seed_is_a_plan() -> None:
    assert plan(7, 60) == plan(7, 60)
    assert plan(7, 60) != plan(8, 60)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_kind_occurs_within_a_minute(seed: int) -> None:
    assert {fault.kind for fault in plan(seed, 60)} == set(KINDS)


@pytest.mark.parametrize("kinds", [MEMBER_KINDS, CLIENT_KINDS])
@pytest.mark.parametrize("seed", SEEDS)
def test_in_each_lane_one_fault_ends_before_the_next_begins(seed: int, kinds: tuple[str, ...]) -> None:
    lane = [fault for fault in plan(seed, 60) if fault.kind in kinds]
    assert all(one.at + one.seconds < other.at for one, other in pairwise(lane))
    assert lane[-1].at + lane[-1].seconds < 60


@pytest.mark.parametrize("seed", SEEDS)
def test_a_majority_is_lost_for_a_short_time_only(seed: int) -> None:
    lost = [fault.seconds for fault in plan(seed, 60) if fault.kind == "majority"]
    assert max(lost) <= 1.5
    assert sum(lost) < 60 / 5


def test_only_what_was_asked_for_goes_wrong() -> None:
    assert {fault.kind for fault in plan(1, 60, ["cut", "kill"])} == {"cut", "kill"}
    assert plan(1, 60, []) == []
