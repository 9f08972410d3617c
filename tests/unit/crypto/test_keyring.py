import json
import os
import pickle
import stat
import threading
from collections import Counter
from pathlib import Path
from traceback import TracebackException

import pytest

from etcd_async import DecryptionFailed, KeyWornOut
from etcd_async.crypto import MAX_SEALS, ROTATION_SEALS, Keyring, RotationDue, _keyring

NAME = b"/k"
ONE, TWO = bytes(32), bytes([1]) * 32


def test_a_new_ring_has_one_key_and_it_seals() -> None:
    ring = Keyring.generate()
    assert ring.ids == (ring.primary,)
    assert ring.open(NAME, ring.seal(NAME, b"v")) == b"v"
    assert Keyring.generate().primary != ring.primary


def test_the_id_belongs_to_the_key_wherever_it_was_added() -> None:
    here, there = Keyring([ONE]), Keyring([TWO])
    assert here.add_key(TWO) == there.primary
    assert there.add_key(ONE) == here.primary
    assert here.add_key(TWO) == there.primary
    assert len(here.ids) == 2


@pytest.mark.parametrize("key", [b"", bytes(16), bytes(31), bytes(33), bytes(64)])
def test_a_key_has_32_bytes(key: bytes) -> None:
    with pytest.raises(ValueError, match=f"32 bytes, not {len(key)}"):
        Keyring([key])
    with pytest.raises(ValueError, match="32 bytes"):
        Keyring.generate().add_key(key)


def test_a_pass_phrase_is_no_key() -> None:
    with pytest.raises(TypeError, match="key must be bytes, not str"):
        Keyring(["x" * 32])  # type: ignore[list-item]


def test_a_ring_without_keys_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one key"):
        Keyring([])


def test_rotation() -> None:
    ring = Keyring([ONE])
    old = ring.primary
    before = ring.seal(NAME, b"v")
    new = ring.add_key()
    assert ring.primary == old
    assert ring.is_current(before)
    ring.set_primary(new)
    assert not ring.is_current(before)
    assert ring.is_current(ring.seal(NAME, b"v"))
    assert ring.open(NAME, before) == b"v"
    ring.remove(old)
    with pytest.raises(DecryptionFailed, match=f"key {old}, which is not in the keyring"):
        ring.open(NAME, before)


def test_the_primary_can_not_be_removed_and_a_stranger_not_be_primary() -> None:
    ring = Keyring([ONE])
    with pytest.raises(ValueError, match="is the primary"):
        ring.remove(ring.primary)
    for work in (ring.remove, ring.set_primary):
        with pytest.raises(ValueError, match="no key 'nope'"):
            work("nope")


def test_json_holds_the_whole_ring() -> None:
    ring = Keyring([ONE, TWO])
    ring.set_primary(ring.ids[1])
    copy = Keyring.from_json(ring.to_json())
    assert (copy.ids, copy.primary) == (ring.ids, ring.primary)
    assert copy.open(NAME, ring.seal(NAME, b"v")) == b"v"


def _changed(**changes: object) -> str:
    return json.dumps(json.loads(Keyring([ONE]).to_json()) | changes)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        "{}",
        "null",
        b"\xff",
        "[" * 100_000,
        _changed(format="other"),
        _changed(version=2),
        _changed(primary="nope"),
        _changed(keys=[]),
        _changed(keys=[{"id": "x", "key": "c2hvcnQ="}]),
        _changed(keys=[{"id": "x", "key": "!"}]),
        _changed(keys=[{"id": "0000000000000000", "key": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}]),
    ],
)
def test_what_is_no_ring_is_refused_without_showing_it(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"keyring|at least one key|32 bytes") as caught:
        Keyring.from_json(text)
    assert "AAAA" not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None  # json's own errors hold the text


def test_a_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "ring.json"
    ring = Keyring.generate()
    ring.to_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Keyring.from_file(path).primary == ring.primary
    assert os.listdir(tmp_path) == ["ring.json"]
    path.chmod(0o640)
    with pytest.raises(PermissionError, match="chmod 600"):
        Keyring.from_file(path)


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "ring.json"
    path.write_text("something else")
    path.chmod(0o644)
    ring = Keyring.generate()
    ring.to_file(path)
    assert Keyring.from_file(path).primary == ring.primary


def test_nothing_shows_a_key() -> None:
    ring = Keyring([ONE, TWO])
    assert repr(ring) == f"<Keyring of 2, primary {ring.primary}>"
    with pytest.raises(TypeError, match="to_json"):
        pickle.dumps(ring)
    insides = repr(vars(ring))
    assert ring.primary in insides
    assert repr(ONE)[2:-1] not in insides


def test_tools_that_show_what_was_at_hand_can_show_a_ring_that_was_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes") as caught:
        Keyring([ONE, b"short"])
    shown = TracebackException.from_exception(caught.value, capture_locals=True).format()
    assert "self = <Keyring of 1, primary >" in "".join(shown)


def test_nonces_are_random_for_every_value_and_process() -> None:
    """
    A nonce comes whole from the operating system's generator for each value: no counter, no state of the process.

    So two processes that start alike can't repeat each other's. Here 10,000 starts of 3 writes each.
    """
    asked: list[int] = []

    def random(size: int) -> bytes:
        asked.append(size)
        return os.urandom(size)

    seen: Counter[bytes] = Counter()
    for _ in range(10_000):
        ring = Keyring([ONE], random=random)
        seen.update(ring.seal(NAME, b"same")[13:25] for _ in range(3))
    assert asked == [12] * 30_000
    assert max(seen.values()) == 1
    assert Keyring([ONE])._random is os.urandom


def test_seals_are_counted_in_all_threads() -> None:
    ring = Keyring([ONE])

    def work() -> None:
        for _ in range(500):
            ring.seal(NAME, b"")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ring.seals(ring.primary) == 4000


def test_a_much_used_key_asks_to_be_replaced_long_before_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ROTATION_SEALS * 16 <= MAX_SEALS == 2**32
    monkeypatch.setattr(_keyring, "ROTATION_SEALS", 3)
    monkeypatch.setattr(_keyring, "MAX_SEALS", 5)
    ring = Keyring([ONE])
    ring.seal(NAME, b"")
    ring.seal(NAME, b"")
    with pytest.warns(RotationDue, match=f"key {ring.primary} has sealed 3 values"):
        ring.seal(NAME, b"")
    ring.seal(NAME, b"")
    sealed = ring.seal(NAME, b"v")
    with pytest.raises(KeyWornOut, match="add a new key"):
        ring.seal(NAME, b"")
    assert ring.open(NAME, sealed) == b"v"
    ring.set_primary(ring.add_key())
    ring.seal(NAME, b"")


def test_a_ring_is_read_from_text() -> None:
    with pytest.raises(TypeError, match="text must be str or bytes, not dict"):
        Keyring.from_json({})  # type: ignore[arg-type]


def test_a_crash_while_writing_does_not_stop_later_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In containers every process has the same id, so what a dead one left behind must not be in the way."""
    path = tmp_path / "ring.json"

    def crash(*_: object, **__: object) -> None:
        raise OSError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", crash)
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(OSError, match="power cut"):
            Keyring([ONE]).to_file(path)
    assert len(os.listdir(tmp_path)) == 1
    Keyring([ONE]).to_file(path)
    assert Keyring.from_file(path).ids == Keyring([ONE]).ids


def test_a_file_that_can_not_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "ring.json").mkdir()
    with pytest.raises(OSError, match="irectory"):
        Keyring([ONE]).to_file(tmp_path / "ring.json")
    assert os.listdir(tmp_path) == ["ring.json"]


def test_a_link_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("kept")
    link = tmp_path / "ring.json"
    link.symlink_to(elsewhere)
    Keyring([ONE]).to_file(link)
    assert elsewhere.read_text() == "kept"
    assert Keyring.from_file(link).ids == Keyring([ONE]).ids


def test_threads_may_write_the_same_file(tmp_path: Path) -> None:
    ring, path = Keyring([ONE]), tmp_path / "ring.json"
    errors: list[Exception] = []

    def work() -> None:
        try:
            for _ in range(20):
                ring.to_file(path)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert os.listdir(tmp_path) == ["ring.json"]
