"""The format of encrypted values: what was written once must be read for ever."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcd_async import DecryptionFailed
from etcd_async.crypto import Keyring

GOLDEN = json.loads(Path(__file__).with_name("golden_envelopes.json").read_text(encoding="utf-8"))
KEY = bytes(range(32))
RING = Keyring([KEY])
NAME = b"/secrets/db"


@pytest.mark.parametrize("case", GOLDEN["envelopes"], ids=lambda case: case["about"])
def test_envelopes_written_by_earlier_releases_open(case: dict[str, str]) -> None:
    ring = Keyring([bytes.fromhex(key) for key in GOLDEN["keys"]])
    assert ring.open(bytes.fromhex(case["name"]), bytes.fromhex(case["envelope"])) == bytes.fromhex(case["value"])


def test_the_format_is_what_the_module_says() -> None:
    nonce = bytes(range(100, 112))
    data = Keyring([KEY], random=lambda size: nonce[:size]).seal(NAME, b"value")
    assert data[:5] == b"\xffEAE\x01"
    assert data[5:13].hex() == RING.primary
    assert data[13:25] == nonce
    assert len(data) == 41 + len(b"value")
    assert b"value" not in data


@given(st.binary(max_size=2000), st.binary(min_size=1, max_size=100))
def test_what_was_sealed_opens(value: bytes, name: bytes) -> None:
    assert RING.open(name, RING.seal(name, value)) == value


@given(st.data())
def test_no_byte_can_be_changed(data: st.DataObject) -> None:
    sealed = bytearray(RING.seal(NAME, b"the value"))
    position = data.draw(st.integers(0, len(sealed) - 1))
    sealed[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DecryptionFailed):
        RING.open(NAME, bytes(sealed))


@given(st.data())
def test_nothing_can_be_cut_off(data: st.DataObject) -> None:
    sealed = RING.seal(NAME, b"the value")
    with pytest.raises(DecryptionFailed):
        RING.open(NAME, sealed[: data.draw(st.integers(0, len(sealed) - 1))])


def test_a_value_opens_under_its_own_name_only() -> None:
    with pytest.raises(DecryptionFailed, match="another key's name") as caught:
        RING.open(b"/secrets/other", RING.seal(NAME, b"v"))
    assert caught.value.key == b"/secrets/other"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"plain", "not encrypted"),
        (b"", "not encrypted"),
        (b"\xffEAE", "cut short"),
        (b"\xffEAE\x01" + bytes(20), "cut short"),
        (b"\xffEAE\x02" + bytes(60), "version 2, which this release does not know"),
        (b"\xffEAE\x01" + bytes(60), "key 0000000000000000, which is not in the keyring"),
    ],
)
def test_the_error_says_what_is_wrong(data: bytes, reason: str) -> None:
    with pytest.raises(DecryptionFailed, match=reason) as caught:
        RING.open(NAME, data)
    assert str(NAME) in str(caught.value)
