"""A configuration of a file, with what etcd has to say laid over it."""

from __future__ import annotations

import os
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, overload

import anyio.to_thread

from etcd_async.config._leaves import Values, merged
from etcd_async.config._source import ConfigSource
from etcd_async.config._validation import Model, validated
from etcd_async.config._watch import ConfigWatch
from etcd_async.errors import ConfigError

T = TypeVar("T")


class Config(Generic[T]):
    """
    The configuration of an application: a base, and an overlay from etcd; made by `load`.

    Attributes:
        current: What is in force: the dict, or what the model made of it. `watch` keeps it up to date.
    """

    def __init__(self, base: Values, overlay: ConfigSource | None, model: Model[T] | None, current: T) -> None:
        self._base = base
        self._overlay = overlay
        self._model = model
        self.current: T = current

    def watch(self) -> ConfigUpdates[T]:
        """
        Follow the overlay: ``async with config.watch() as updates: async for current in updates``.

        It yields what is in force first, then each change that is different and valid; `current` is the same. One that
        is not valid changes nothing: ``updates.error`` says why.
        """
        return ConfigUpdates(self)

    def made_of(self, values: Values) -> T:
        """Return what the model makes of the base with *values* over it."""
        made: T = validated(self._model, merged(deepcopy(self._base), values))
        return made

    @property
    def overlay(self) -> ConfigSource | None:
        """Where the overlay comes from."""
        return self._overlay


class ConfigUpdates(Generic[T]):
    """The changes of a `Config`, as an async iterator; made by `Config.watch`."""

    def __init__(self, config: Config[T]) -> None:
        if config.overlay is None:
            raise RuntimeError("a configuration without overlay does not change: pass overlay= to load")
        self._config = config
        self._watch: ConfigWatch[T] = config.overlay.watch(config.made_of)

    @property
    def error(self) -> Exception | None:
        """Why the newest configuration could not be used; None if it could."""
        return self._watch.error

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        self._config.current = await anext(self._watch)
        return self._config.current

    async def __aenter__(self) -> Self:
        await self._watch.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._watch.__aexit__(exc_type, exc, traceback)


@overload
async def load(
    *, file: str | os.PathLike[str] | None = ..., overlay: ConfigSource | None = ..., model: None = ...
) -> Config[Values]: ...
@overload
async def load(
    *, file: str | os.PathLike[str] | None = ..., overlay: ConfigSource | None = ..., model: Model[T]
) -> Config[T]: ...
async def load(
    *,
    file: str | os.PathLike[str] | None = None,
    overlay: ConfigSource | None = None,
    model: Model[Any] | None = None,
) -> Config[Any]:
    """
    Read a YAML file, lay the configuration in etcd over it, and make settings of it.

    Dicts are merged entry by entry, anything else is replaced by the overlay's.

    Args:
        file: The base; needs the extra ``yaml``. Only plain YAML is read: no tags that make objects.
        overlay: ``client.config_source(name)``.
        model: A pydantic model, or any callable that takes the dict; without one the dict itself is `Config.current`.

    Raises:
        OSError: The file can't be read.
        ConfigError: It is no YAML, or not a mapping with text as its keys; or the overlay can't be read as one.
        Exception: Whatever *model* raises: pydantic's ``ValidationError``, for instance.
    """
    if file is None and overlay is None:
        raise ValueError("file or overlay must be given")
    if not isinstance(overlay, ConfigSource | None):
        raise TypeError(f"overlay must be a ConfigSource, not {type(overlay).__name__}")
    if not (model is None or callable(model) or hasattr(model, "model_validate")):
        raise TypeError(f"model must be a pydantic model or a callable, not {type(model).__name__}")
    base = {} if file is None else await anyio.to_thread.run_sync(_read, Path(file))
    over = {} if overlay is None else await overlay.read()
    return Config(base, overlay, model, validated(model, merged(deepcopy(base), over)))


def _read(path: Path) -> Values:
    if find_spec("yaml") is None:
        raise ImportError('YAML files need PyYAML: pip install "etcd-async[yaml]"')
    import yaml

    raw = path.read_bytes()
    try:
        values = yaml.safe_load(raw)
        has_text_keys = not isinstance(values, dict) or _has_text_keys(values)
    except Exception as error:  # YAMLError, and whatever PyYAML makes of `2026-13-01`, `!!int ""` or a deep nesting
        raise ConfigError(f"{path} is no YAML: {error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict) or not has_text_keys:
        raise ConfigError(f"{path} must hold a mapping with text as its keys")
    return values


def _has_text_keys(values: Values) -> bool:
    """Return whether all keys are text, also further down, so that an overlay's can be the same."""
    below = (value for value in values.values() if isinstance(value, dict))
    return all(isinstance(key, str) for key in values) and all(map(_has_text_keys, below))
