"""The peers' virtual environments: made once under .nox, made anew when what goes into them changes."""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROTO = ROOT / "proto"
FOLDER = ROOT / ".nox" / "benchmark-peers"
UVLOOP = "uvloop; platform_system != 'Windows'"
REQUIREMENTS = {
    "theirs_aetcd": ["aetcd", UVLOOP],
    "theirs_grpcio": ["grpcio", "grpcio-tools", "protobuf", UVLOOP],
}


def interpreter(client: str) -> Path:
    """The Python that runs a client: this one for ours, else that of an environment, made if need be."""
    requirements = REQUIREMENTS.get(client)
    if requirements is None:
        return Path(sys.executable)
    folder = FOLDER / f"{client}-{sys.version_info.major}.{sys.version_info.minor}"
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    mark = folder / "made-from"
    wanted = _fingerprint(requirements)
    if not mark.exists() or mark.read_text() != wanted:
        _make(folder, python, requirements)
        mark.write_text(wanted)
    return python


def version(client: str, distribution: str) -> str:
    """The version of a distribution in a client's environment."""
    program = f"import importlib.metadata as found; print(found.version({distribution!r}))"
    return _run(interpreter(client), "-c", program).strip()


def _fingerprint(requirements: list[str]) -> str:
    parts = [sys.version.encode(), *map(str.encode, requirements), *(path.read_bytes() for path in _protos())]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _protos() -> list[Path]:
    return sorted(PROTO.glob("*.proto"))


def _make(folder: Path, python: Path, requirements: list[str]) -> None:
    print(f"making {folder.relative_to(ROOT)} from {', '.join(requirements)}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    _run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements)
    if "grpcio-tools" in requirements:
        target = _run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
        _run(python, "-m", "grpc_tools.protoc", f"-I{PROTO}", f"--python_out={target}", *map(str, _protos()))


def _run(python: Path, *arguments: str) -> str:
    done = subprocess.run([str(python), *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout
