"""Go programs of the tests, built once for each state of their sources into ``build/`` of the checkout."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

__all__ = ["BUILD", "Unbuildable", "program"]

BUILD: Final = Path(__file__).parents[2] / "build"
TIMEOUT: Final = 300.0


class Unbuildable(Exception):
    """Raised when there is no program to run; says why."""


def program(source: Path, store: Path) -> Path:
    """
    Return the program of the folder *source*, built into *store* if it has not been from what is there now.

    That takes the Go that its ``go.mod`` asks for and, where modules are not in Go's cache, a module proxy.

    Raises:
        Unbuildable: There is no Go, or it could not build.
    """
    built = store / f"{source.name}-{_digest(source)}"
    if not built.exists():
        store.mkdir(parents=True, exist_ok=True)
        with _alone(store), tempfile.TemporaryDirectory(dir=store) as folder:
            if not built.exists():
                _build(source, Path(folder) / source.name).replace(built)
    return built


def _digest(source: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted([*source.glob("*.go"), source / "go.mod", source / "go.sum"]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let other processes wait that are to build there, too: they would all compile the same."""
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _build(source: Path, target: Path) -> Path:
    go = shutil.which("go")
    if go is None:
        raise Unbuildable("go is not installed")
    # Exactly the toolchain and the modules that are named, and nothing that depends on where the checkout is; the
    # settings of the servers, so that what both are made of is compiled once.
    command = [go, "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-o", str(target), "."]
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off", "CGO_ENABLED": "0"}
    try:
        done = subprocess.run(
            command, cwd=source, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Unbuildable(f"go build took more than {TIMEOUT:g} s") from error
    if done.returncode:
        raise Unbuildable(f"go build failed: {done.stderr.strip()}")
    return target
