"""
The etcds that the tests run against: one of each release line in use, built or unpacked where it is missing.

    python -m tests.servers.build [3.4] [3.5] ...

3.5, 3.6 and 3.7 are built from etcd's published Go modules, at the version that ``v<line>/go.mod`` names, where there
is ``go``; 3.4 is Debian's ``etcd-server``, where there is ``apt-get``: it is unpacked, not installed, so nobody needs
to be root. They lie in ``build/servers/<version>/etcd`` of the checkout, which git ignores, each beside the tool that
restores its snapshots: ``etcdutl``, or the ``etcdctl`` of 3.4.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from etcd_async.testing.binary import binary_version

HERE: Final = Path(__file__).parent
STORE: Final = HERE.parent.parent / "build" / "servers"
DEBIAN: Final = "3.4"
LINES: Final = (DEBIAN, "3.5", "3.6", "3.7")

_PROGRAMS: Final = ("go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/etcdutl/v3")
_PACKAGES: Final = ("etcd-server", "etcd-client")
_PINNED = re.compile(r"^\s*(?:require )?go\.etcd\.io/etcd/server/v3 v(\S+)", re.MULTILINE)


class Missing(Exception):
    """Raised when this machine has not what an etcd is made with; the message says what that is."""


class Failed(Exception):
    """Raised when making an etcd went wrong; the message is the end of what was printed."""


def built(store: Path = STORE) -> dict[str, Path]:
    """Return the servers that are there, by their version, oldest line first."""
    found = {line: _find(line, store) for line in LINES}
    return {path.parent.name: path for path in found.values() if path is not None}


def build(line: str, store: Path = STORE) -> str:
    """
    Make the server of *line* unless it is there, and return what was done: ``"3.5.35 built"``.

    May be run twice at once: each works in a folder of its own, and the first to be done wins.

    Raises:
        Missing: It can't be made on this machine.
        Failed: It could not be made.
    """
    present = _find(line, store)
    if present is not None:
        return f"{present.parent.name} present"
    store.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=store) as folder:
        programs = _unpack(Path(folder)) if line == DEBIAN else _compile(line, Path(folder))
        version = binary_version(programs / "etcd")
        if not version.startswith(f"{line}."):
            raise Missing(f"{'apt-get' if line == DEBIAN else 'go'} gives etcd {version}")
        try:
            programs.rename(store / version)
        except OSError:
            if _find(line, store) is None:  # nobody else has made it meanwhile
                raise
    return f"{version} built"


def main(lines: Sequence[str] = LINES, store: Path = STORE) -> int:
    """Make what is missing, and print for each of *lines* how that went."""
    status = 0
    for line in lines:
        try:
            print(f"etcd {build(line, store)}", flush=True)
        except Missing as reason:
            print(f"etcd {line} skipped: {reason}", flush=True)
        except Failed as failure:
            print(f"etcd {line} failed: {failure}", flush=True)
            status = 1
    return status


def pinned(line: str) -> str:
    """Return the version that the Go module of *line* asks for."""
    found = _PINNED.search((HERE / f"v{line}" / "go.mod").read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"v{line}/go.mod names no version of etcd's server")
    return found[1]


def _find(line: str, store: Path) -> Path | None:
    pattern = f"{line}.*" if line == DEBIAN else pinned(line)
    return next(iter(sorted(store.glob(f"{pattern}/etcd"))), None)


def _compile(line: str, folder: Path) -> Path:
    go = shutil.which("go")
    if go is None:
        raise Missing("there is no go on PATH")
    flags = f"{os.environ.get('GOFLAGS', '')} -mod=readonly -trimpath".strip()
    # Programs that need no libraries, and say their own version, whatever the checkout's history is.
    settings = {"GOFLAGS": flags, "GOWORK": "off", "CGO_ENABLED": "0"}
    programs = folder / "programs"
    command = (go, "build", "-buildvcs=false", "-o", f"{programs}/", *_PROGRAMS)
    _run(*command, folder=HERE / f"v{line}", settings=settings)
    (programs / "server").rename(programs / "etcd")
    return programs


def _unpack(folder: Path) -> Path:
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise Missing(f"there is no {tool} on PATH")
    _download(folder)
    for package in folder.glob("*.deb"):
        _run("dpkg-deb", "--extract", str(package), str(folder), folder=folder)
    return folder / "usr" / "bin"


def _download(folder: Path) -> None:
    """Download Debian's packages; by lists of our own if the machine has none, as in a fresh container."""
    try:
        _run("apt-get", "download", *_PACKAGES, folder=folder)
    except Failed:
        own = [_own(folder, "State::Lists"), _own(folder, "Cache")]
        _run("apt-get", "update", *own, folder=folder)
        _run("apt-get", "download", *_PACKAGES, *own, folder=folder)


def _own(folder: Path, directory: str) -> str:
    path = folder / directory.replace("::", "-")
    path.mkdir()
    return f"--option=Dir::{directory}={path}"


def _run(*command: str, folder: Path, settings: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        command, cwd=folder, env=os.environ | (settings or {}), capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-5:]
        raise Failed(f"{' '.join(command[:2])} ended with {done.returncode}: {' | '.join(last)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or LINES))
