"""The run that every change must pass: a minute of all faults, and nobody may object to what the clients saw."""

from pathlib import Path

import pytest

from tests.robustness.faults import available
from tests.robustness.judges import judge
from tests.robustness.run import Settings, run

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(600)]

SEED = 2026
SECONDS = 60.0


async def test_a_minute_of_faults_is_linearizable_and_loses_no_event(tmp_path: Path) -> None:
    report = await run(Settings(SEED, tmp_path, SECONDS))
    verdict = judge(tmp_path)
    print(f"{report.line()}\n{verdict.report()}")  # noqa: T201  # shown if it fails, and with -rP
    assert not report.complaints
    assert set(report.faults) == set(available())
    verdict.raise_if_rejected()
    if verdict.skipped:
        pytest.skip(f"accepted, but not by all judges: {verdict.skipped}")
