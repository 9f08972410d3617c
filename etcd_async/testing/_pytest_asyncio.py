"""The fixture ``etcd_client`` for tests run by pytest-asyncio: one variant for each scope that their loop may have."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final, Literal

import pytest_asyncio

from etcd_async.testing._client import open_client
from etcd_async.testing.server import EtcdServer

if TYPE_CHECKING:
    from etcd_async.client import Client

_Scope = Literal["function", "class", "module", "package", "session"]
_SCOPES: Final[tuple[_Scope, ...]] = ("function", "class", "module", "package", "session")


def _fixture(scope: _Scope) -> Any:
    @pytest_asyncio.fixture(loop_scope=scope, name=f"_etcd_client_asyncio_{scope}")
    async def etcd_client(etcd_server: EtcdServer) -> AsyncIterator[Client]:
        async with open_client(etcd_server) as client:
            yield client

    return etcd_client


for _scope in _SCOPES:
    globals()[f"_etcd_client_asyncio_{_scope}"] = _fixture(_scope)
