from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcd_async._keys import END, FIRST, prefix_end, to_bytes, to_key, to_range


@pytest.mark.parametrize(
    ("prefix", "end"),
    [
        (b"a", b"b"),
        (b"/a/", b"/a0"),
        (b"a\xff", b"b"),
        (b"a\xff\xff", b"b"),
        (b"\x00", b"\x01"),
        (b"\xff", END),
        (b"\xff\xff", END),
        (b"", END),
    ],
)
def test_the_end_of_a_prefix(prefix: bytes, end: bytes) -> None:
    assert prefix_end(prefix) == end


@given(st.binary(min_size=1, max_size=4), st.binary(min_size=1, max_size=6))
def test_a_key_is_in_the_range_of_a_prefix_if_and_only_if_it_starts_with_it(prefix: bytes, key: bytes) -> None:
    first, end = to_range(prefix=prefix)
    assert (first <= key and (end == END or key < end)) == key.startswith(prefix)


def test_keys_and_values_are_text_or_bytes() -> None:
    assert to_key("é") == b"\xc3\xa9"
    assert to_key(b"\xff") == b"\xff"
    assert to_bytes(bytearray(b"ab")) == b"ab"
    assert to_bytes(memoryview(b"ab")) == b"ab"
    assert to_bytes("") == b""


def test_a_key_must_not_be_empty() -> None:
    with pytest.raises(ValueError, match="name must not be empty"):
        to_key("", "name")


@pytest.mark.parametrize("wrong", [None, 1, 1.5, ["a"], object()])
def test_another_type_is_refused_by_name(wrong: Any) -> None:
    with pytest.raises(TypeError, match="old must be str or bytes, not"):
        to_key(wrong, "old")


def test_one_key_has_no_end() -> None:
    assert to_range("a") == (b"a", b"")


def test_every_key_is_the_empty_prefix_or_the_range_from_the_empty_key() -> None:
    assert to_range(prefix="") == (FIRST, END)
    assert to_range(start="", from_key=True) == (FIRST, END)


def test_a_range_excludes_its_end() -> None:
    assert to_range(start="a", end="z") == (b"a", b"z")
    assert to_range(start="", end="z") == (FIRST, b"z")
    assert to_range(start="a", from_key=True) == (b"a", END)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({}, "exactly one of"),
        ({"key": "a", "prefix": "b"}, "exactly one of"),
        ({"prefix": "a", "start": "b", "end": "c"}, "exactly one of"),
        ({"prefix": "a", "end": "b"}, "end and from_key go with start"),
        ({"key": "a", "from_key": True}, "end and from_key go with start"),
        ({"start": "a"}, "either end or from_key"),
        ({"start": "a", "end": "b", "from_key": True}, "either end or from_key"),
        ({"start": "b", "end": "a"}, "end must sort after start"),
        ({"start": "a", "end": "a"}, "end must sort after start"),
        ({"start": "a", "end": ""}, "end must not be empty"),
        ({"start": "", "end": "\0"}, "end must not be a single zero byte"),
    ],
)
def test_contradictions_are_refused(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        to_range(**arguments)
