"""
Between a configuration, which is a tree of dicts, and the keys of its leaves. Pure.

    {"db": {"host": "h", "ports": [1, 2]}, "a/b": {}}   is   db/host = "h"   db/ports = [1,2]   a%2Fb = {}

Everything that is not a dict with something in it is a leaf; its value is JSON, so types survive. In a part of a path
``%`` and ``/`` are written as ``%25`` and ``%2F``, so that every key of a dict is possible.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from etcd_async.errors import ConfigError

Values: TypeAlias = dict[str, Any]
"""A configuration: str keys; str, int, float, bool, None, lists of such, and dicts again."""


def to_leaves(values: Mapping[str, Any]) -> dict[bytes, bytes]:
    """
    Return the path and the value of every leaf.

    Raises:
        TypeError: A key is no str, or a value is nothing that JSON has; the message names the path.
        ValueError: A key is empty, a number is not finite, a text is no Unicode, or it is nested within itself.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"values must be a mapping, not {type(values).__name__}")
    try:
        return dict(_leaves(values, ()))
    except RecursionError:
        raise ValueError("the configuration is nested too deeply, or within itself") from None


def from_leaves(leaves: Mapping[bytes, bytes]) -> Values:
    """
    Return the configuration that *leaves* are of.

    Raises:
        ConfigError: A value is no JSON, or a leaf lies below another; the message names the path.
    """
    values: Values = {}
    for path in sorted(leaves):
        _insert(values, path, _value(path, leaves[path]))
    return values


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> Values:
    """Return *base* with what *over* has in its place: dicts are merged, anything else is replaced whole."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[key] = merged(below, value) if both else value  # type: ignore[arg-type]  # `both` says so
    return result


def _leaves(values: Mapping[str, Any], parents: tuple[str, ...]) -> Iterator[tuple[bytes, bytes]]:
    for key, value in values.items():
        if not isinstance(key, str):
            raise TypeError(f"the keys of a configuration must be str, not {type(key).__name__}, in {_shown(parents)}")
        if not key:
            raise ValueError(f"a key of a configuration must not be empty, in {_shown(parents)}")
        path = (*parents, key)
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, path)
        else:
            yield _path(path), _json(value, path)


def _path(parts: tuple[str, ...]) -> bytes:
    try:
        return "/".join(map(_escaped, parts)).encode()
    except UnicodeEncodeError:
        raise ValueError(f"a key of a configuration must be Unicode: {_shown(parts)}") from None


def _json(value: Any, path: tuple[str, ...]) -> bytes:
    try:
        text = json.dumps(
            dict(value) if isinstance(value, Mapping) else value,
            ensure_ascii=False,
            allow_nan=False,
            separators=(",", ":"),
        )
        raw = text.encode()
    except TypeError as error:
        raise TypeError(f"{_shown(path)} can't be written as JSON: {error}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{_shown(path)} can't be written as JSON: {error}") from None
    if json.loads(text) != value:
        raise TypeError(f"{_shown(path)} would come back as something else: use what JSON has, with str keys")
    return raw


def _value(path: bytes, text: bytes) -> Any:
    try:
        return json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError):
        shown = path.decode(errors="replace")
        raise ConfigError(f'the value of {shown!r} is no JSON; text is written in quotes: "text"') from None


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _insert(values: Values, path: bytes, value: Any) -> None:
    try:
        *parents, last = map(_plain, path.decode().split("/"))
    except UnicodeDecodeError:
        raise ConfigError(f"the path {path!r} is no UTF-8") from None
    if not (last and all(parents)):
        raise ConfigError(f"the path {path.decode()!r} has an empty part")
    place: Any = values
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise ConfigError(f"{path.decode()!r} lies below {parent!r}, which has a value of its own")
    if last in place:
        raise ConfigError(f"{path.decode()!r} is there in two spellings")
    place[last] = value


def _escaped(part: str) -> str:
    return part.replace("%", "%25").replace("/", "%2F")


def _plain(part: str) -> str:
    return part.replace("%2F", "/").replace("%25", "%")


def _shown(path: tuple[str, ...]) -> str:
    return repr("/".join(path)) if path else "the configuration"
