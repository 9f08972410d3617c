"""The command line of the runs."""

import pytest

from tests.robustness.__main__ import arguments, seeds
from tests.robustness.faults import KINDS


@pytest.mark.parametrize(
    ("text", "numbers"), [("7", [7]), ("1-3", [1, 2, 3]), ("1,5,9", [1, 5, 9]), ("1-2,8", [1, 2, 8])]
)
def test_seeds_are_numbers_and_ranges(text: str, numbers: list[int]) -> None:
    assert seeds(text) == numbers


def test_without_arguments_it_is_one_minute_of_everything() -> None:
    options = arguments([])
    assert (options.seeds, options.seconds, options.faults.split(",")) == ([1], 60.0, list(KINDS))


@pytest.mark.parametrize("name", ["--seed", "--seeds"])
def test_one_seed_or_several(name: str) -> None:
    assert arguments([name, "1-2"]).seeds == [1, 2]


def test_binaries_are_the_members_in_turn() -> None:
    assert arguments([]).binaries == []
    assert arguments(["--binary", "old", "--binary", "new"]).binaries == ["old", "new"]
