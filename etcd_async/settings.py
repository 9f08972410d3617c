"""
Settings of pydantic-settings with a configuration in etcd among their sources; needs the extra ``settings``.

    settings = await load_settings(Settings, client.config_source("myapp"))

The order is pydantic-settings' own, with etcd last: arguments, then the environment, ``.env`` files and secrets files
go before what etcd says, and that before the defaults in the class.
"""

from __future__ import annotations

from typing import Any, TypeVar

from etcd_async.config import ConfigSource, Values

try:
    from pydantic.fields import FieldInfo
    from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
except ImportError as _missing:
    raise ImportError('etcd_async.settings needs pydantic-settings: pip install "etcd-async[settings]"') from _missing

__all__ = ["EtcdSettingsSource", "load_settings"]

_S = TypeVar("_S", bound=BaseSettings)


class EtcdSettingsSource(PydanticBaseSettingsSource):
    """
    A source for ``settings_customise_sources``, for an order of your own.

    Args:
        settings_cls: The class of the settings.
        values: What ``await source.read()`` returned: pydantic-settings itself can't wait for a server.
    """

    def __init__(self, settings_cls: type[BaseSettings], values: Values) -> None:
        super().__init__(settings_cls)
        self._values = values

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the value of a field, its key, and that it needs no parsing."""
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return all values."""
        return dict(self._values)

    def __repr__(self) -> str:
        return "EtcdSettingsSource()"  # values may be secrets


async def load_settings(settings_cls: type[_S], source: ConfigSource, **arguments: Any) -> _S:
    """
    Read *source* and make settings of it and all that *settings_cls* reads by itself.

    Args:
        settings_cls: A subclass of ``BaseSettings``.
        source: ``client.config_source(name)``.
        arguments: Go before everything else.

    Raises:
        ConfigError: The configuration can't be read as one.
        ValidationError: pydantic's; it shows values that do not fit, unless the class sets ``hide_input_in_errors``.
    """
    if not issubclass(settings_cls, BaseSettings):
        raise TypeError(f"settings_cls must be a subclass of BaseSettings, not {settings_cls!r}")
    if not isinstance(source, ConfigSource):
        raise TypeError(f"source must be a ConfigSource, not {type(source).__name__}")
    values = await source.read()
    title = settings_cls.model_config.get("title") or settings_cls.__name__

    class WithEtcd(settings_cls):  # type: ignore[valid-type, misc]  # the class is an argument
        model_config = SettingsConfigDict(title=title)  # what errors call it

        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], **sources: PydanticBaseSettingsSource
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (
                *super().settings_customise_sources(settings_cls, **sources),
                EtcdSettingsSource(settings_cls, values),
            )

    WithEtcd.__name__, WithEtcd.__qualname__ = settings_cls.__name__, settings_cls.__qualname__
    settings: _S = WithEtcd(**arguments)
    # The subclass has served its purpose; instances of it would be equal to no other settings, and not be pickled.
    object.__setattr__(settings, "__class__", settings_cls)
    return settings
