"""Users: what a client may do as one, and how refusals look."""

from collections.abc import AsyncIterator

import pytest

from etcd_async import AuthError, AuthFailed, Client, PermissionDenied
from etcd_async.testing import EtcdServer
from etcd_async.wire import (
    AuthEnableRequest,
    AuthRoleAddRequest,
    AuthRoleGrantPermissionRequest,
    AuthUserAddRequest,
    AuthUserGrantRoleRequest,
    Permission,
    PermissionType,
)
from tests.support.live import take, within


@pytest.fixture
async def guarded() -> AsyncIterator[EtcdServer]:
    """A server with a root and a user ``app`` who may read and write ``/app/``."""
    async with EtcdServer() as server, Client(server.endpoint) as client:
        permission = Permission(perm_type=PermissionType.READWRITE, key=b"/app/", range_end=b"/app0")
        for path, message in [
            ("UserAdd", AuthUserAddRequest(name="root", password="root's")),
            ("UserAdd", AuthUserAddRequest(name="app", password="app's")),
            ("RoleAdd", AuthRoleAddRequest(name="root")),
            ("RoleAdd", AuthRoleAddRequest(name="app")),
            ("UserGrantRole", AuthUserGrantRoleRequest(user="root", role="root")),
            ("UserGrantRole", AuthUserGrantRoleRequest(user="app", role="app")),
            ("RoleGrantPermission", AuthRoleGrantPermissionRequest(name="app", perm=permission)),
            ("AuthEnable", AuthEnableRequest()),
        ]:
            await client.rpc(f"/etcdserverpb.Auth/{path}", message)
        yield server


async def test_a_user_does_what_its_role_allows_and_no_more(guarded: EtcdServer) -> None:
    async with Client(guarded.endpoint, user="app", password="app's") as client:
        await client.put("/app/k", "v")
        assert await client.exists("/app/k")
        with pytest.raises(PermissionDenied) as caught:
            await client.put("/other", "v")
        assert not caught.value.maybe_applied
        with pytest.raises(PermissionDenied):
            await client.range(prefix="/")


async def test_a_watch_outside_the_role_is_refused_and_one_inside_works(guarded: EtcdServer) -> None:
    async with Client(guarded.endpoint, user="app", password="app's") as client:
        for outside in (client.watch("/other"), client.watch("/other", start_revision=1)):
            with pytest.raises(PermissionDenied):
                await within(outside.__aenter__())
        async with client.watch(prefix="/app/") as watch:
            await client.put("/app/k", "v")
            (event,) = await take(watch, 1)
        assert event.kv.key == b"/app/k"


async def test_leases_and_locks_work_for_a_user(guarded: EtcdServer) -> None:
    async with Client(guarded.endpoint, user="app", password="app's", namespace="/app/") as client:
        async with client.lease(5) as lease, client.lock("x", ttl=5):
            await client.put("k", "v", lease=lease)
            assert not await client.lock("x").try_acquire()
        assert not await client.exists("k")


async def test_a_wrong_password_is_told_by_connect_and_by_the_first_call(guarded: EtcdServer) -> None:
    with pytest.raises(AuthFailed) as caught:
        await Client.connect(guarded.endpoint, user="app", password="secret guess")
    assert "secret guess" not in str(caught.value)
    async with Client(guarded.endpoint, user="nobody", password="secret guess") as client:
        with pytest.raises(AuthFailed):
            await client.get("/app/k")


async def test_a_client_without_user_is_refused_where_one_is_needed(guarded: EtcdServer) -> None:
    async with Client(guarded.endpoint) as client:
        with pytest.raises(AuthError):
            await client.get("/app/k")


async def test_a_user_on_a_server_without_users_is_no_obstacle(etcd_server: EtcdServer) -> None:
    client = await Client.connect(etcd_server.endpoint, user="app", password="app's")
    assert await client.get("/app/k") is None
    await client.aclose()
