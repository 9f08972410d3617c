"""
The project's checks, each in an environment of its own. Without arguments: all that a change must pass.

The Pythons of pyenv are found under ``PYENV_ROOT`` or ``~/.pyenv``. One that is not on the machine is skipped by
name; nothing is downloaded but packages.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import nox
from nox.command import CommandFailed

ROOT = Path(__file__).parent
PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = ["3.11", "3.12", "3.13"]
ETCDS = ["3.4", "3.5", "3.6", "3.7"]
# Tests that mostly wait for servers, side by side.
SIDE_BY_SIDE = ["--numprocesses=4", "--dist=worksteal"]
# So many tests on servers may fail if they pass so often, alone.
FLAKY = 2
REPEATS = 3
# All but the fixtures for pytest, which are the same with any server; and of the faults, those that are about it.
VERSION_SENSITIVE = [
    "tests/integration",
    "--ignore=tests/integration/test_testing_plugin.py",
    "tests/faults/test_auth.py",
    "tests/faults/test_rolling_upgrade.py",
    "tests/faults/test_server_killed.py",
]

nox.needs_version = ">=2025.10.16"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"
nox.options.sessions = [
    "lint",
    "types",
    "proto",
    "docs",
    "unit",
    "lowest",
    "wheel",
    "integration",
    "faults",
    "compatibility",
    "robustness",
]


def find_pyenv_interpreters() -> None:
    """Put pyenv's own interpreters before its shims, which answer for versions that are not active, too."""
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = [folder / "bin" for python in PYTHONS for folder in sorted(versions.glob(f"{python}.*"), reverse=True)]
    os.environ["PATH"] = os.pathsep.join([*map(str, found), os.environ.get("PATH", os.defpath)])


find_pyenv_interpreters()


def install(session: nox.Session, *groups: str, package: bool = True) -> None:
    """Install *groups* of pyproject.toml and, editable, the package."""
    editable = ["-e", "."] if package else []
    session.install(*nox.project.dependency_groups(PROJECT, *groups), *editable)


def unit_tests() -> list[str]:
    """Everything that needs no server: ``tests/unit`` and the modules directly under ``tests``."""
    return ["tests/unit", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("tests/test_*.py"))]


def pytest_on_servers(session: nox.Session, *arguments: str, env: Mapping[str, str] | None = None) -> None:
    """
    Test on real servers; a test or two that fail must then pass several times, alone, and are named as flaky.

    A machine that stands still for a second in the wrong place fails one test of thousands. More than two fail the
    session, and so does one that fails again, or whose mark says that it judges what happened.
    """
    # Not in nox's folder for temporary files: asking for it makes pytest's own lie within the checkout, too.
    cache = Path(session.virtualenv.location).resolve() / "pytest"
    shutil.rmtree(cache, ignore_errors=True)
    try:
        session.run("pytest", "-o", f"cache_dir={cache}", *arguments, env=env)
    except CommandFailed:
        noted = cache / "v/cache/lastfailed"
        failed = list(json.loads(noted.read_text("utf-8"))) if noted.exists() else []
        if not 0 < len(failed) <= FLAKY:
            raise
        session.run("pytest", "--collect-only", "-m", "judged", *failed, env=env, success_codes=[5])
        for _ in range(REPEATS):
            session.run("pytest", *failed, env=env)
        for test in failed:
            session.warn(f"flaky: {test} failed, and then passed {REPEATS} times alone")


@nox.session
def lint(session: nox.Session) -> None:
    """Format and lint, changing nothing."""
    install(session, "lint", package=False)
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of everything, and that the public interface is wholly typed."""
    install(session, "types")
    session.run("mypy")
    session.run("pyright", "--verifytypes", "etcd_async", "--ignoreexternal")
    session.run("pyright", "tests/typing")


@nox.session
def proto(session: nox.Session) -> None:
    """Generate messages and codec again from proto/ and fail on a difference from what is committed."""
    install(session, "proto")
    session.run("python", "proto/generate_pb.py", "--check")
    session.run("python", "proto/generate_codec.py", "--check")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site; a broken link or reference fails."""
    install(session, "docs", package=False)
    target = session.posargs or ["build", "--strict", "--site-dir", str(Path(session.create_tmp()) / "site")]
    session.run("mkdocs", *target, "--config-file", ".mkdocs.yml", env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session(python=PYTHONS)
def unit(session: nox.Session) -> None:
    """Test what needs no server."""
    install(session, "test")
    session.run("pytest", *(session.posargs or ["-n", "auto", *unit_tests()]))


@nox.session(venv_backend="uv")
def lowest(session: nox.Session) -> None:
    """Test what needs no server with the oldest releases of everything that pyproject.toml allows."""
    oldest = ["--resolution", "lowest-direct"]
    session.install(*oldest, *nox.project.dependency_groups(PROJECT, "test"), "-e", ".")
    session.run("pytest", *(session.posargs or ["-n", "auto", *unit_tests()]))


@nox.session
def integration(session: nox.Session) -> None:
    """Test against real etcd, the documentation's examples included."""
    install(session, "test")
    pytest_on_servers(session, *(session.posargs or [*SIDE_BY_SIDE, "tests/integration", "tests/docs"]))


@nox.session
def faults(session: nox.Session) -> None:
    """Test with connections cut and servers killed; mostly it waits, so two files at a time."""
    install(session, "test")
    pytest_on_servers(session, *(session.posargs or ["-n", "2", "--dist", "loadfile", "tests/faults"]))


@nox.session
def robustness(session: nox.Session) -> None:
    """Judge what clients of a cluster saw while much went wrong: a run of one minute, and the judges themselves."""
    install(session, "test")
    session.run("pytest", *(session.posargs or ["tests/robustness"]))


@nox.session
def servers(session: nox.Session) -> None:
    """Build the servers of `compatibility` that are missing."""
    install(session)
    session.run("python", "-m", "tests.servers.build", *session.posargs)


@nox.session
@nox.parametrize("etcd", ETCDS)
def compatibility(session: nox.Session, etcd: str) -> None:
    """Test against each release line of etcd in use."""
    install(session, "test")
    made = session.run("python", "-m", "tests.servers.build", etcd, silent=True) or ""
    session.log(made.strip())
    if " skipped: " in made:
        session.skip(made.strip())
    binary = ROOT / "build" / "servers" / made.split()[1] / "etcd"
    tests = session.posargs or [*SIDE_BY_SIDE, "-m", "not slow", *VERSION_SENSITIVE]
    pytest_on_servers(session, *tests, env={"ETCD_BINARY": str(binary)})


@nox.session
def coverage(session: nox.Session) -> None:
    """Measure the branches that unit and integration tests cover together."""
    install(session, "test")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *unit_tests(), "tests/integration")
    session.run("coverage", "combine")
    session.run("coverage", "report")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Fuzz framing, codec and machines; an hour in all, unless told otherwise."""
    install(session, "fuzz")
    session.run("python", "-m", "tests.fuzz", *(session.posargs or ["--seconds", "450"]))


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Compare with other clients, each in an environment of its own; takes minutes."""
    install(session, "test")
    session.run("python", "-m", "tests.benchmarks", *session.posargs)


@nox.session
def wheel(session: nox.Session) -> None:
    """Build a wheel whose decoder is compiled, test that, and compare it with the interpreted one."""
    if not shutil.which(os.environ.get("CC", "cc")):
        session.skip("there is no C compiler")
    install(session, "test", package=False)
    built = Path(session.create_tmp()).resolve() / "built"
    shutil.rmtree(built, ignore_errors=True)
    # By way of the source distribution: what is compiled stays out of the checkout.
    session.run("python", "-m", "build", "--outdir", str(built), env={"HATCH_BUILD_HOOK_ENABLE_MYPYC": "1"})
    session.install("--force-reinstall", *map(str, built.glob("*.whl")))
    session.run("python", "-m", "tarfile", "--extract", *map(str, built.glob("*.tar.gz")), str(built))
    (source,) = (folder for folder in built.iterdir() if folder.is_dir())
    interpreted = built / "interpreted"
    interpreted.mkdir()
    (source / "etcd_async").rename(interpreted / "etcd_async")
    with session.chdir(source):
        session.run("python", "-c", "from etcd_async._codec import fast; assert not fast.__file__.endswith('.py')")
        session.run("pytest", *(session.posargs or ["tests/unit/codec", "tests/unit/test_fuzz_corpus.py"]))
        session.run("python", "-m", "tests.benchmarks.decoding", str(interpreted))
