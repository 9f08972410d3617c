"""What both generators share: running protoc, reading its descriptors, and writing or checking the result."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet

HERE = Path(__file__).parent
PACKAGE = HERE.parent / "etcd_async"
BETTERPROTO = ("--python_betterproto2_opt=client_generation=none,server_generation=none", "--python_betterproto2_out=.")


def run(*command: str, cwd: Path, text: str | None = None) -> str:
    """The standard output of a tool installed beside this interpreter; ends the script with its errors if it fails."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    env = {**os.environ, "PATH": path}
    done = subprocess.run(command, cwd=cwd, input=text, capture_output=True, text=True, env=env)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


def protoc(directory: Path, *options: str) -> None:
    """Runs protoc over all our files, with its output under `directory`."""
    sources = sorted(path.name for path in HERE.glob("*.proto"))
    run(sys.executable, "-m", "grpc_tools.protoc", "-I", str(HERE), *options, *sources, cwd=directory)


def descriptors() -> list[FileDescriptorProto]:
    """Our files, compiled, those imported by others first."""
    with tempfile.TemporaryDirectory() as directory:
        protoc(Path(directory), "--descriptor_set_out=set.bin")
        return list(FileDescriptorSet.FromString(Path(directory, "set.bin").read_bytes()).file)


def messages(files: list[FileDescriptorProto]) -> Iterator[tuple[str, DescriptorProto]]:
    """Every message with the package it is in (none of ours nests in another)."""
    return ((file.package, message) for file in files for message in file.message_type)


def enums(files: list[FileDescriptorProto]) -> Iterator[tuple[str, str, EnumDescriptorProto]]:
    """Every enum with its package and the name of the message around it, which may be empty."""
    for file in files:
        yield from ((file.package, "", enum) for enum in file.enum_type)
        yield from ((file.package, message.name, enum) for message in file.message_type for enum in message.enum_type)


def formatted(source: str) -> str:
    """Python source as ruff cleans and formats it; no configuration file has a say: the same result everywhere."""
    options = ("--isolated", "--line-length", "120", "--target-version", "py311", "-")
    sorted_ = run("ruff", "check", "--quiet", "--fix", "--select", "F401,I,RUF022", *options, cwd=HERE, text=source)
    return run("ruff", "format", *options, cwd=HERE, text=sorted_)


def settle(wanted: Mapping[Path, str], owned: set[Path], *, check: bool) -> int:
    """Makes the files equal `wanted`, removes others of `owned`; with `check` only says what differs. An exit code."""
    actual = {path: path.read_text() for path in owned | wanted.keys() if path.exists()}
    stale = sorted(path for path in actual.keys() | wanted.keys() if actual.get(path) != wanted.get(path))
    for path in stale:
        print(f"{'differs' if check else 'written'}: {path.relative_to(PACKAGE.parent)}")
        if not check:
            _settle_one(path, wanted.get(path))
    return int(check and bool(stale))


def _settle_one(path: Path, text: str | None) -> None:
    if text is None:
        path.unlink()
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
