"""An error that is told whenever one asks keeps none of those who asked: its traceback does not grow."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from traceback import walk_tb
from typing import Any

import pytest

from etcd_async import Client, ClientClosed, Service
from etcd_async.recipes.cache import Cache
from etcd_async.testing import EtcdServer
from tests.support.live import within


async def pick(resolver: Any) -> None:
    resolver.pick()


ASKED: dict[str, tuple[Callable[[Client], Any], Callable[[Any], Awaitable[Any]]]] = {
    "resolver": (lambda client: client.resolver("billing"), pick),
    "cache": (lambda client: client.cache(prefix="/a/"), lambda cache: cache.wait_for(10**9)),
    "mirror": (lambda client: client.mirror("/a/", client, "/b/"), lambda mirror: mirror.wait()),
    "registration": (lambda client: client.register(Service("billing", "1", "a:1")), lambda each: each.registered()),
    "watch": (lambda client: client.watch("/a"), lambda watch: anext(aiter(watch))),
    "started": (lambda client: client.watch("/a"), lambda watch: watch.started()),
}


@pytest.mark.parametrize("kind", ASKED)
async def test_asking_again_and_again_what_has_ended_holds_no_frames(etcd_server: EtcdServer, kind: str) -> None:
    make, ask = ASKED[kind]
    client = Client(etcd_server.endpoint)
    async with AsyncExitStack() as stack:
        asked = await stack.enter_async_context(make(client))
        await client.aclose()
        depths = []
        for _ in range(9):
            with pytest.raises(ClientClosed) as caught:
                await within(ask(asked))
            depths.append(len(list(walk_tb(caught.value.__traceback__))))
        assert depths[-1] == depths[1]


async def test_what_failed_by_a_bug_tells_where_however_often_one_has_asked(
    etcd_server: EtcdServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def defective(cache: Cache) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Cache, "_follow_on", defective)
    client = Client(etcd_server.endpoint)
    async with client.cache(prefix="/a/") as cache:
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await within(cache.wait_for(10**9))
    with pytest.raises(ZeroDivisionError) as caught:
        await client.aclose()
    assert "defective" in {frame.f_code.co_name for frame, _ in walk_tb(caught.value.__traceback__)}
