"""The generators: what is committed is what they make, and `--check` notices when it is not."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("betterproto2_compiler", reason="the dependency group proto is not installed; see `nox -s proto`")

ROOT = Path(__file__).parents[3]
SCRIPTS = ["generate_pb", "generate_codec"]


def check(root: Path, script: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "proto" / f"{script}.py"), "--check"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_is_committed_is_what_the_generator_makes(script: str) -> None:
    done = check(ROOT, script)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("script", "changed", "extra"),
    [
        ("generate_pb", "etcd_async/_pb/mvccpb/__init__.py", "etcd_async/_pb/other.py"),
        ("generate_pb", "etcd_async/wire.py", "etcd_async/_pb/other/__init__.py"),
        ("generate_codec", "etcd_async/_codec/_generated/hot.py", "etcd_async/_codec/_generated/other.py"),
    ],
)
def test_a_changed_and_a_superfluous_file_are_named(tmp_path: Path, script: str, changed: str, extra: str) -> None:
    for folder in ("proto", "etcd_async/_pb", "etcd_async/_codec"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "etcd_async/wire.py", tmp_path / "etcd_async")
    with (tmp_path / changed).open("a") as file:
        file.write("# changed by hand\n")
    (tmp_path / extra).parent.mkdir(exist_ok=True)
    (tmp_path / extra).write_text("# left over\n")
    done = check(tmp_path, script)
    assert done.returncode == 1
    assert sorted(done.stdout.splitlines()) == sorted((f"differs: {changed}", f"differs: {extra}"))
    assert (tmp_path / changed).read_text().endswith("# changed by hand\n")


def test_only_our_packages_are_generated() -> None:
    packages = {path.parent.name for path in (ROOT / "etcd_async" / "_pb").glob("*/__init__.py")}
    assert packages == {"authpb", "etcdserverpb", "mvccpb", "v3electionpb", "v3lockpb"}
