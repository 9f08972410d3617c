"""Every program under docs/examples runs to its end against a real etcd, whose address it gets as ETCD_ENDPOINT."""

import os
import subprocess
import sys
from asyncio import to_thread
from pathlib import Path

import pytest

from etcd_async import TLS, Client
from etcd_async.testing import EtcdServer
from tests.faults.certificates import Authority

ROOT = Path(__file__).parent.parent.parent
SERVICES = {"config_service", "service_discovery", "coordinated_updates", "leader_worker", "secrets_service"}
"""Those run until they are stopped: see test_services.py."""

EXAMPLES = [
    path
    for path in sorted((ROOT / "docs" / "examples").glob("*.py"))
    if path.stem not in SERVICES and not path.stem.startswith("_")
]
TIME_LIMIT = 45.0  # seconds; below pytest's own, so that what the example printed is shown


def run(example: Path, folder: Path, **environment: str) -> str:
    """Return what *example* prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", example],
        cwd=folder,
        env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_to_its_end_and_says_something(example: Path, etcd_server: EtcdServer, tmp_path: Path) -> None:
    assert run(example, tmp_path, ETCD_ENDPOINT=etcd_server.endpoint)


async def test_the_example_for_production_runs_with_certificates_and_a_user(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    server_cert, server_key = authority.sign("server", hosts=("127.0.0.1",))
    cert, key = map(str, authority.sign("client"))
    flags = [f"--cert-file={server_cert}", f"--key-file={server_key}", f"--trusted-ca-file={authority.path}"]
    async with EtcdServer(extra_args=[*flags, "--client-cert-auth"]) as server:
        async with Client(server.endpoint, tls=TLS(ca=authority.path, cert=cert, key=key)) as admin:
            await admin.auth.add_role("billing")
            await admin.auth.grant_permission("billing", prefix="/apps/billing/")
            for name, role in (("root", "root"), ("billing", "billing")):
                await admin.auth.add_user(name, f"{name}'s")
                await admin.auth.grant_role(name, role)
            await admin.auth.enable()
        user = {"ETCD_USER": "billing", "ETCD_PASSWORD": "billing's"}
        files = {"ETCD_CA": str(authority.path), "ETCD_CERT": cert, "ETCD_KEY": key}
        program = ROOT / "docs" / "examples" / "production.py"
        printed = await to_thread(run, program, tmp_path, ETCD_ENDPOINTS=server.endpoint, **user, **files)
    assert "registered as ['billing-1']" in printed


def test_the_readme_shows_the_quickstart_as_it_is() -> None:
    program = (ROOT / "docs" / "examples" / "quickstart.py").read_text(encoding="utf-8")
    assert f"```python\n{program}```" in (ROOT / "README.md").read_text(encoding="utf-8")
