"""How the servers to test against are made, with a ``go`` and an ``apt-get`` that only pretend."""

from pathlib import Path

import pytest

from tests.servers.build import HERE, LINES, Failed, Missing, build, built, main, pinned

MODULES = LINES[1:]

GO = """#!/bin/sh
while [ "$1" != -o ]; do shift; done
/bin/mkdir "$2"
printf '#!/bin/sh\\necho "etcd Version: %s"\\n' {version} > "$2/server"
/bin/chmod +x "$2/server"
: > "$2/etcdutl"
"""

APT_GET = """#!/bin/sh
case "$1" in
  update) : > listed ;;
  download) {condition} && for name in "$2" "$3"; do : > "$name"_amd64.deb; done ;;
esac
"""

DPKG_DEB = """#!/bin/sh
/bin/mkdir -p "$3/usr/bin"
case "$2" in
  */etcd-server_*) printf '#!/bin/sh\\necho "etcd Version: %s"\\n' {version} > "$3/usr/bin/etcd" ;;
  */etcd-client_*) : > "$3/usr/bin/etcdctl" ;;
esac
/bin/chmod +x "$3"/usr/bin/*
"""


class Machine:
    """Programs on PATH, which holds nothing else, and a place for servers."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "bin"
        self.path.mkdir()
        self.store = folder / "servers"

    def has(self, name: str, script: str, version: str = "", condition: str = ":") -> None:
        program = self.path / name
        program.write_text(script.replace("{version}", version).replace("{condition}", condition), encoding="utf-8")
        program.chmod(0o755)

    def has_debian(self, version: str, condition: str = ":") -> None:
        self.has("apt-get", APT_GET, version, condition)
        self.has("dpkg-deb", DPKG_DEB, version)

    @property
    def left(self) -> list[str]:
        return sorted(str(path.relative_to(self.store)) for path in self.store.rglob("*") if path.is_file())


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    monkeypatch.setenv("PATH", str(made.path))
    return made


def test_a_missing_server_is_built_once(machine: Machine) -> None:
    version = pinned("3.6")
    machine.has("go", GO, version)
    assert build("3.6", machine.store) == f"{version} built"
    machine.has("go", "#!/bin/sh\nexit 1\n")
    assert build("3.6", machine.store) == f"{version} present"
    assert built(machine.store) == {version: machine.store / version / "etcd"}
    assert machine.left == [f"{version}/etcd", f"{version}/etcdutl"]


def test_a_server_of_another_version_than_the_module_asks_for_does_not_count(machine: Machine) -> None:
    old = machine.store / "3.6.0" / "etcd"
    old.parent.mkdir(parents=True)
    old.touch()
    assert built(machine.store) == {}
    machine.has("go", GO, pinned("3.6"))
    assert build("3.6", machine.store) == f"{pinned('3.6')} built"


def test_of_two_builds_at_once_the_first_to_be_done_stays(machine: Machine) -> None:
    version = pinned("3.6")
    others = machine.store / version / "etcd"
    # The other one is done while this one works.
    machine.has("go", GO + f"/bin/mkdir -p {others.parent} && : > {others}\n", version)
    assert build("3.6", machine.store) == f"{version} built"
    assert machine.left == [f"{version}/etcd"]
    assert others.read_bytes() == b""


def test_debians_packages_are_unpacked(machine: Machine) -> None:
    machine.has_debian("3.4.23")
    assert build("3.4", machine.store) == "3.4.23 built"
    assert build("3.4", machine.store) == "3.4.23 present"
    assert machine.left == ["3.4.23/etcd", "3.4.23/etcdctl"]


def test_where_packages_are_not_listed_the_lists_are_fetched_first(machine: Machine) -> None:
    machine.has_debian("3.4.23", condition="[ -e listed ]")
    assert build("3.4", machine.store) == "3.4.23 built"


def test_a_debian_with_another_release_has_nothing_for_us(machine: Machine) -> None:
    machine.has_debian("3.5.16")
    with pytest.raises(Missing, match=r"apt-get gives etcd 3\.5\.16"):
        build("3.4", machine.store)
    assert machine.left == []


def test_what_can_not_be_made_here_is_skipped_by_name(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(store=machine.store) == 0
    assert capsys.readouterr().out.splitlines() == [
        "etcd 3.4 skipped: there is no apt-get on PATH",
        *(f"etcd {line} skipped: there is no go on PATH" for line in MODULES),
    ]


def test_a_build_that_fails_is_told_and_leaves_nothing(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.has("go", "#!/bin/sh\necho 'no such module' >&2\nexit 3\n")
    with pytest.raises(Failed):
        build("3.7", machine.store)
    assert main(["3.7"], machine.store) == 1
    assert "etcd 3.7 failed: " in (said := capsys.readouterr().out)
    assert "ended with 3: no such module" in said
    assert machine.left == []


@pytest.mark.parametrize("line", MODULES)
def test_a_module_asks_for_one_release_of_its_line_and_knows_its_digest(line: str) -> None:
    version = pinned(line)
    assert version.startswith(f"{line}.")
    assert f"go.etcd.io/etcd/server/v3 v{version} h1:" in (HERE / f"v{line}" / "go.sum").read_text(encoding="utf-8")
