import pytest

from etcd_async import DecryptionFailed
from etcd_async._keys import END, to_range
from etcd_async.crypto import Encryption, Keyring

RING = Keyring([bytes(32)])


def test_by_default_every_key_is_covered() -> None:
    encryption = Encryption(RING)
    assert encryption.covers(b"a")
    assert encryption.covers_any(b"a", b"b")
    assert encryption.open(b"a", encryption.seal(b"a", b"v")) == b"v"


def test_values_outside_of_the_prefixes_stay_as_they_are() -> None:
    encryption = Encryption(RING, prefixes=("/secrets/", b"/keys/"))
    assert encryption.seal(b"/public/a", b"v") == b"v"
    assert encryption.open(b"/public/a", b"v") == b"v"
    assert encryption.seal(b"/secrets/a", b"v") != b"v"
    assert encryption.seal(b"/keys/a", b"v") != b"v"


@pytest.mark.parametrize(
    ("first", "end", "covered"),
    [
        (*to_range("/secrets/a"), True),
        (*to_range("/public"), False),
        (*to_range(prefix="/secrets/a"), True),
        (*to_range(prefix="/s"), True),
        (*to_range(prefix=""), True),
        (*to_range(prefix="/public/"), False),
        (*to_range(start="/a", end="/secrets/"), False),
        (*to_range(start="/a", end="/secrets/\x00"), True),
        (*to_range(start="/t", from_key=True), False),
        (*to_range(start="/a", from_key=True), True),
        (b"/secrets/zz", END, True),
    ],
)
def test_a_range_is_covered_if_any_of_it_is(first: bytes, end: bytes, covered: bool) -> None:
    assert Encryption(RING, prefixes=("/secrets/",)).covers_any(first, end) is covered


def test_plain_values_are_taken_on_request_only() -> None:
    with pytest.raises(DecryptionFailed, match="not encrypted"):
        Encryption(RING).open(b"k", b"plain")
    lenient = Encryption(RING, allow_plaintext=True)
    assert lenient.open(b"k", b"plain") == b"plain"
    with pytest.raises(DecryptionFailed):
        lenient.open(b"k", lenient.seal(b"other", b"v"))


def test_bad_arguments_are_named() -> None:
    with pytest.raises(TypeError, match="keyring must be a Keyring, not bytes"):
        Encryption(b"x" * 32)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"write \(prefix,\)"):
        Encryption(RING, prefixes="/secrets/")
    with pytest.raises(ValueError, match="at least one prefix"):
        Encryption(RING, prefixes=())
    with pytest.raises(TypeError, match="prefixes must be str or bytes, not int"):
        Encryption(RING, prefixes=(1,))  # type: ignore[arg-type]


def test_the_repr_shows_no_key() -> None:
    assert "\\x00" not in repr(Encryption(RING))
