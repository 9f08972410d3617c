from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcd_async import ConfigError
from etcd_async.config._leaves import from_leaves, merged, to_leaves

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
KEYS = st.text(min_size=1, max_size=5) | st.sampled_from(["a/b", "%", "%2F", "%25", "a.b", ".", "..", "//"])
LISTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=2), max_leaves=4
)
TREES = st.recursive(
    st.dictionaries(KEYS, SCALARS | st.lists(LISTS, max_size=3), max_size=3),
    lambda inner: st.dictionaries(KEYS, inner | SCALARS, max_size=3),
    max_leaves=8,
)


def same(one: Any, other: Any) -> bool:
    """Equal in types, too: True is not 1, and 1 not 1.0."""
    if isinstance(one, dict):
        return type(one) is type(other) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


@given(TREES)
def test_every_configuration_comes_back_with_its_types(values: dict[str, Any]) -> None:
    assert same(from_leaves(to_leaves(values)), values)


def test_the_paths_and_values_are_what_a_person_would_write() -> None:
    assert to_leaves({"db": {"host": "h", "ports": [1, 2]}, "a/b": {}, "x.y": None, "50%": True, "ö": 1.5}) == {
        b"db/host": b'"h"',
        b"db/ports": b"[1,2]",
        b"a%2Fb": b"{}",
        b"x.y": b"null",
        b"50%25": b"true",
        "ö".encode(): b"1.5",
    }


def within(kind: type, depth: int) -> Any:
    value: Any = kind()
    for _ in range(depth):
        value = [value] if kind is list else {"a": value}
    return value


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([], TypeError, "must be a mapping, not list"),
        ({1: "x"}, TypeError, "must be str, not int, in the configuration"),
        ({"db": {None: "x"}}, TypeError, "must be str, not NoneType, in 'db'"),
        ({"db": {"": "x"}}, ValueError, "must not be empty, in 'db'"),
        ({"db": {"host": b"x"}}, TypeError, "'db/host' can't be written as JSON"),
        ({"x": float("nan")}, ValueError, "'x' can't be written as JSON"),
        ({"x": (1, 2)}, TypeError, "'x' would come back as something else"),
        ({"x": [{1: 2}]}, TypeError, "'x' would come back as something else"),
        ({"db": {"\ud800": 1}}, ValueError, "must be Unicode: .db/"),
        ({"db": {"host": "\ud800"}}, ValueError, "'db/host' can't be written as JSON"),
        ({"x": within(list, 10_000)}, ValueError, "'x' can't be written as JSON"),
        (within(dict, 10_000), ValueError, "nested too deeply, or within itself"),
    ],
)
def test_what_is_no_configuration_is_refused_by_its_path(values: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        to_leaves(values)


@pytest.mark.parametrize(
    ("leaves", "message"),
    [
        ({b"db/host": b"localhost"}, "'db/host' is no JSON; text is written in quotes"),
        ({b"db/host": b"\xff"}, "'db/host' is no JSON"),
        ({b"db": b"1", b"db/host": b'"h"'}, "'db/host' lies below 'db', which has a value of its own"),
        ({b"%": b"1", b"%25": b"2"}, "two spellings"),
        ({b"\xff": b"1"}, "no UTF-8"),
        ({b"x": b"NaN"}, "'x' is no JSON"),
        ({b"x": b"[-Infinity]"}, "'x' is no JSON"),
        ({b"a//b": b"1"}, "'a//b' has an empty part"),
        ({b"/b": b"1"}, "'/b' has an empty part"),
        ({b"deep": b"[" * 100_000}, "'deep' is no JSON"),
    ],
)
def test_keys_that_are_no_configuration_are_named(leaves: dict[bytes, bytes], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_leaves(leaves)


def test_merging_goes_into_dicts_and_replaces_everything_else() -> None:
    base = {"db": {"host": "h", "port": 1}, "list": [1, 2], "x": {"y": 1}}
    over = {"db": {"port": 2, "new": {}}, "list": [3], "x": 5}
    assert merged(base, over) == {"db": {"host": "h", "port": 2, "new": {}}, "list": [3], "x": 5}
    assert base == {"db": {"host": "h", "port": 1}, "list": [1, 2], "x": {"y": 1}}
