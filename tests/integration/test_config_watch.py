"""Configurations that are watched, laid over files, and read into models."""

import asyncio
import json
import pickle
from pathlib import Path
from typing import Any

import pydantic
import pytest
from pydantic_settings import BaseSettings

from etcd_async import (
    Client,
    ConfigError,
    ConfigSource,
    DeadlineExceeded,
    EtcdError,
    RangeResult,
    Unavailable,
)
from etcd_async.config import load
from etcd_async.settings import load_settings
from etcd_async.testing import EtcdServer, FaultProxy
from tests.integration.configurations import said
from tests.support.live import running, until, within


async def test_watches_survive_cuts_and_compaction(
    client: Client, etcd_server: EtcdServer, source: ConfigSource
) -> None:
    async with (
        FaultProxy(etcd_server.endpoint) as proxy,
        Client(proxy.endpoint) as behind,
        behind.config_source("app").watch() as updates,
    ):
        assert await within(anext(updates)) == {}
        proxy.refuse()
        proxy.cut()
        await source.write({"a": 1})
        revision = await source.write({"a": 2})
        await client.compact(revision)
        proxy.accept()
        assert await within(anext(updates)) == {"a": 2}
        assert updates.revision == revision


class Settings(pydantic.BaseModel):
    host: str
    port: int = 80


async def test_a_watch_that_begins_amid_a_change_waits_for_a_server_to_tell_what_was_before(
    source: ConfigSource, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await source.write({"a": 1})
    await client.put("config/app/", json.dumps({"readers_stay_at": (await source.snapshot()).revision}))
    failures: list[EtcdError] = [DeadlineExceeded(), Unavailable([])]
    whole = client.range

    async def hindered(**options: Any) -> RangeResult:
        if options.get("revision") and failures:
            raise failures.pop()
        return await whole(**options)

    async with source.watch() as updates:
        monkeypatch.setattr(client, "range", hindered)
        assert await within(anext(updates)) == {"a": 1}
    assert failures == []


async def test_an_invalid_change_keeps_the_last_good_one_and_says_why(
    client: Client, source: ConfigSource, caplog: pytest.LogCaptureFixture
) -> None:
    await source.write({"host": "h"})
    async with source.watch(Settings) as updates:
        assert await within(anext(updates)) == Settings(host="h")
        waiting = asyncio.ensure_future(anext(updates))
        await source.write({"host": "h", "port": "no number"})

        async def refused() -> bool:
            await asyncio.sleep(0)
            return updates.error is not None

        await until(refused)
        assert "port" in str(updates.error)
        assert (
            "the configuration 'config/app/' can't be used, the one before stays in force: ValidationError"
            in caplog.text
        )
        assert "no number" not in caplog.text, "it may be a secret"
        await client.put("config/app/host", "no JSON")
        await until(lambda: said(updates, "no JSON"))
        await source.write({"host": "new"})
        assert await within(waiting) == Settings(host="new")
        assert updates.error is None


async def test_a_file_with_an_overlay(source: ConfigSource, tmp_path: Path) -> None:
    file = tmp_path / "app.yaml"
    file.write_text("host: base\nport: 1\ndb:\n  name: x\n  tags: [a, b]\n")
    await source.write({"port": 2, "db": {"tags": ["c"]}})
    merged = {"host": "base", "port": 2, "db": {"name": "x", "tags": ["c"]}}
    config = await load(file=file, overlay=source)
    assert config.current == merged
    typed = await load(file=file, overlay=source, model=Settings)
    assert typed.current == Settings(host="base", port=2)
    async with typed.watch() as updates:
        assert await within(anext(updates)) == Settings(host="base", port=2)
        await source.write({"port": 3})
        assert await within(anext(updates)) == Settings(host="base", port=3)
        assert typed.current.port == 3
        await source.write({"port": "x"})
        await source.write({"port": 4})
        assert await within(anext(updates)) == Settings(host="base", port=4)


async def test_a_file_alone(tmp_path: Path) -> None:
    file = tmp_path / "app.yaml"
    file.write_text("host: base\n")
    config = await load(file=file, model=Settings)
    assert config.current == Settings(host="base")
    with pytest.raises(RuntimeError, match="pass overlay="):
        config.watch()
    file.write_text("")
    assert (await load(file=file)).current == {}
    with pytest.raises(ValueError, match="file or overlay"):
        await load()


@pytest.mark.parametrize(
    "text",
    [
        "- a list",
        "1: number",
        "ports: {80: http}",
        "{",
        "!!python/object/apply:os.system ['true']",
        "\0",
        "a: 2026-13-01",
        'a: !!int ""',
        "a: !!timestamp x",
        f"a: {'[' * 1000}",
        "a: &a {b: *a}",
    ],
)
async def test_a_file_that_is_no_configuration(tmp_path: Path, text: str) -> None:
    file = tmp_path / "app.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"app\.yaml"):
        await load(file=file)


class FromEverywhere(BaseSettings):
    host: str = "default"
    port: int = 80
    name: str = "default"
    nested: dict[str, int] = {}


async def test_pydantic_settings(source: ConfigSource, monkeypatch: pytest.MonkeyPatch) -> None:
    await source.write({"host": "etcd", "port": 81, "nested": {"a": 1}})
    monkeypatch.setenv("PORT", "82")
    settings = await load_settings(FromEverywhere, source, name="argument")
    assert (settings.host, settings.port, settings.name, settings.nested) == ("etcd", 82, "argument", {"a": 1})
    assert type(settings) is FromEverywhere
    assert settings == FromEverywhere(host="etcd", port=82, name="argument", nested={"a": 1})
    assert pickle.loads(pickle.dumps(settings)) == settings


async def test_errors_of_settings_name_what_the_caller_gave(source: ConfigSource) -> None:
    await source.write({"port": "no number"})
    with pytest.raises(pydantic.ValidationError, match="validation error for FromEverywhere"):
        await load_settings(FromEverywhere, source)
    wrong: Any = dict
    with pytest.raises(TypeError, match="settings_cls must be a subclass of BaseSettings"):
        await load_settings(wrong, source)
    with pytest.raises(TypeError, match="source must be a ConfigSource, not type"):
        await load_settings(FromEverywhere, wrong)


async def test_what_was_yielded_is_the_users_own(source: ConfigSource, tmp_path: Path) -> None:
    file = tmp_path / "app.yaml"
    file.write_text("base: {list: [1]}\n")
    await source.write({"db": {"port": 1}})
    config = await load(file=file, overlay=source)
    config.current["base"]["list"].append(2)
    async with config.watch() as updates, source.watch() as plain:
        for yielded in (await within(anext(updates)), await within(anext(plain))):
            yielded["db"]["port"] = 2
            yielded.get("base", {"list": []})["list"].append(3)
        await source.write({"db": {"port": 2}})
        assert await within(anext(updates)) == {"base": {"list": [1]}, "db": {"port": 2}}
        assert await within(anext(plain)) == {"db": {"port": 2}}


async def test_arguments_are_checked_before_anything_is_read(source: ConfigSource) -> None:
    with pytest.raises(TypeError, match="overlay must be a ConfigSource, not str"):
        await load(file="/nowhere", overlay="app")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="model must be"):
        await load(file="/nowhere", model=7)  # type: ignore[call-overload]


async def test_an_error_is_over_when_what_was_before_is_back(client: Client, source: ConfigSource) -> None:
    await source.write({"host": "h"})
    async with source.watch(Settings) as updates:
        await within(anext(updates))
        async with running(anext(updates)):
            await client.put("config/app/host", "no JSON")
            await until(lambda: said(updates, "no JSON"))
            await client.put("config/app/host", '"h"')
            await until(lambda: said(updates, "None"))
            await source.write({"host": 5})
            await until(lambda: said(updates, "host"))
            await client.put("config/app/host", "no JSON")
            await until(lambda: said(updates, "no JSON"))
            await client.put("config/app/host", "5")
            await until(lambda: said(updates, "valid string"))
