"""What fuzzing has found, and the inputs that it starts from: each does no harm, in little time."""

import time
from pathlib import Path

import pytest

from tests.fuzz.targets import CORPUS, TARGETS, corpus

INPUTS = [(target, path) for target in TARGETS for path in corpus(target)]


@pytest.mark.parametrize(("target", "path"), INPUTS, ids=[f"{target}-{path.name}" for target, path in INPUTS])
def test_a_known_input_does_no_harm(target: str, path: Path) -> None:
    began = time.process_time()
    TARGETS[target](path.read_bytes())
    assert time.process_time() - began < 5


def test_every_target_has_inputs_and_every_input_a_target() -> None:
    assert {target for target, _ in INPUTS} == set(TARGETS)
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)


def test_the_corpus_is_small() -> None:
    assert sum(path.stat().st_size for _, path in INPUTS) < 32 * 1024
