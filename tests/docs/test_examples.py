"""Every program under docs/examples runs to its end against a real etcd, whose address it gets as ETCD_ENDPOINT."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from etcd_async.testing import EtcdServer

ROOT = Path(__file__).parent.parent.parent
SERVICES = {"config_service", "service_discovery", "coordinated_updates", "leader_worker", "secrets_service"}
"""Those run until they are stopped: see test_services.py."""

EXAMPLES = [
    path
    for path in sorted((ROOT / "docs" / "examples").glob("*.py"))
    if path.stem not in SERVICES and not path.stem.startswith("_")
]
TIME_LIMIT = 45.0  # seconds; below pytest's own, so that what the example printed is shown


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_to_its_end_and_says_something(example: Path, etcd_server: EtcdServer, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", example],
        cwd=tmp_path,
        env={**os.environ, "ETCD_ENDPOINT": etcd_server.endpoints[0], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout
    assert done.stderr == ""


def test_the_readme_shows_the_quickstart_as_it_is() -> None:
    program = (ROOT / "docs" / "examples" / "quickstart.py").read_text(encoding="utf-8")
    assert f"```python\n{program}```" in (ROOT / "README.md").read_text(encoding="utf-8")
