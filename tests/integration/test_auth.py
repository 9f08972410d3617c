"""Users: who may do what, how they are made, and how refusals look."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

import etcd_async
from etcd_async import (
    AuthError,
    AuthFailed,
    Client,
    Permission,
    PermissionDenied,
    Role,
    RoleExists,
    RoleNotFound,
    RpcError,
    Service,
    StatusCode,
    User,
    UserExists,
    UserNotFound,
)
from etcd_async.auth import Auth
from etcd_async.testing import EtcdServer
from tests.support.live import take, until, within


@pytest.fixture
async def server() -> AsyncIterator[EtcdServer]:
    """A server of its own, whose passwords are cheap to check."""
    async with EtcdServer(extra_args=["--bcrypt-cost=4"]) as server:
        yield server


@pytest.fixture
async def guarded(server: EtcdServer) -> EtcdServer:
    """A server with a root and a user ``app`` who may read and write ``/app/``."""
    async with Client(server.endpoint) as client:
        auth = client.auth
        await auth.add_user("root", "root's")
        await auth.add_role("root")
        await auth.grant_role("root", "root")
        await auth.add_user("app", "app's")
        await auth.add_role("app")
        await auth.grant_role("app", "app")
        await auth.grant_permission("app", prefix="/app/")
        await auth.enable()
    return server


def root(server: EtcdServer, **options: Any) -> Client:
    return Client(server.endpoint, user="root", password="root's", **options)


def app(server: EtcdServer, **options: Any) -> Client:
    return Client(server.endpoint, user="app", password="app's", **options)


async def test_users_live_from_add_to_delete(server: EtcdServer) -> None:
    async with Client(server.endpoint) as client:
        auth = client.auth
        assert await auth.list_users() == []
        await auth.add_user("zoë", "pw")
        await auth.add_user("ann")
        assert await auth.list_users() == ["ann", "zoë"]
        assert await auth.get_user("zoë") == User("zoë")
        for role in ("readers", "admins"):
            await auth.add_role(role)
            await auth.grant_role("zoë", role)
        await auth.grant_role("zoë", "admins")
        assert await auth.get_user("zoë") == User("zoë", ("admins", "readers"))
        await auth.revoke_role("zoë", "admins")
        await auth.delete_role("readers")
        assert await auth.get_user("zoë") == User("zoë")
        await auth.change_password("zoë", "other")
        await auth.delete_user("zoë")
        assert await auth.list_users() == ["ann"]


async def test_roles_and_their_permissions_live_from_add_to_delete(server: EtcdServer) -> None:
    async with Client(server.endpoint, namespace="/not/added/") as client:
        auth = client.auth
        assert await auth.list_roles() == []
        await auth.add_role("r")
        await auth.grant_permission("r", "/key", access="read")
        await auth.grant_permission("r", prefix="/p/", access="write")
        await auth.grant_permission("r", start="/s", end="/t")
        await auth.grant_permission("r", start="/x", from_key=True, access="read")
        assert await auth.get_role("r") == Role(
            "r",
            (
                Permission("read", b"/key"),
                Permission("write", b"/p/", b"/p0"),
                Permission("readwrite", b"/s", b"/t"),
                Permission("read", b"/x", b"\0"),
            ),
        )
        await auth.grant_permission("r", prefix="/p/", access="read")  # takes the place of the first
        await auth.revoke_permission("r", "/key")
        await auth.revoke_permission("r", start="/s", end="/t")
        await auth.revoke_permission("r", start="/x", from_key=True)
        [permission] = (await auth.get_role("r")).permissions
        assert permission == Permission("read", b"/p/", b"/p0")
        assert permission.prefix == b"/p/"
        await auth.revoke_permission("r", prefix="/p/")
        await auth.grant_permission("r", prefix="")
        [permission] = (await auth.get_role("r")).permissions
        assert (permission.key, permission.range_end, permission.prefix) == (b"\0", b"\0", b"")
        assert await auth.list_roles() == ["r"]
        await auth.delete_role("r")
        assert await auth.list_roles() == []


def test_only_the_range_of_a_prefix_has_one() -> None:
    assert Permission("read", b"/p/", b"/p0").prefix == b"/p/"
    assert Permission("read", b"a\xff", b"b").prefix == b"a\xff"
    for other in (Permission("read", b"/p/"), Permission("read", b"/p/", b"/p1"), Permission("read", b"/x", b"\0")):
        assert other.prefix is None


async def test_authentication_is_enabled_and_disabled(server: EtcdServer) -> None:
    async with Client(server.endpoint) as client:
        with pytest.raises(AuthError, match="root user does not exist"):
            await client.auth.enable()
        await client.auth.add_user("root", "root's")
        with pytest.raises(AuthError, match="root user does not have root role"):
            await client.auth.enable()
        await client.auth.add_role("root")
        await client.auth.grant_role("root", "root")
        await client.auth.enable()
        with pytest.raises(AuthError, match="user name is empty"):
            await client.get("k")
    async with root(server) as admin:
        await admin.put("k", "v")
        with pytest.raises(AuthError, match="invalid auth management"):
            await admin.auth.delete_user("root")
        await admin.auth.disable()
        await admin.put("k", "w")  # as a user of a cluster without any
        async with Client(server.endpoint) as client:
            assert await client.exists("k")
        await admin.auth.enable()
        await admin.put("k", "x")


async def test_the_state_of_authentication_is_told(server: EtcdServer) -> None:
    async with Client(server.endpoint) as client:
        if server.version.startswith("3.4."):
            with pytest.raises(RpcError) as caught:
                await client.auth.status()
            assert caught.value.code is StatusCode.UNIMPLEMENTED
            return
        before = await client.auth.status()
        assert not before.is_enabled
        await client.auth.add_user("root", "root's")
        await client.auth.add_role("root")
        await client.auth.grant_role("root", "root")
        await client.auth.enable()
    async with root(server) as admin:
        after = await admin.auth.status()
        assert after.is_enabled
        assert after.revision > before.revision


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda auth: auth.add_user("app", "pw"), UserExists),
        (lambda auth: auth.add_role("app"), RoleExists),
        (lambda auth: auth.get_user("nobody"), UserNotFound),
        (lambda auth: auth.delete_user("nobody"), UserNotFound),
        (lambda auth: auth.change_password("nobody", "pw"), UserNotFound),
        (lambda auth: auth.grant_role("nobody", "app"), UserNotFound),
        (lambda auth: auth.revoke_role("nobody", "app"), UserNotFound),
        (lambda auth: auth.grant_role("app", "none"), RoleNotFound),
        (lambda auth: auth.get_role("none"), RoleNotFound),
        (lambda auth: auth.delete_role("none"), RoleNotFound),
        (lambda auth: auth.grant_permission("none", "/k"), RoleNotFound),
        (lambda auth: auth.revoke_permission("none", "/k"), RoleNotFound),
        (lambda auth: auth.revoke_permission("app", "/k"), AuthError),
        (lambda auth: auth.revoke_role("app", "root"), AuthError),
        (lambda auth: auth.delete_role("root"), AuthError),
        (lambda auth: auth.revoke_role("root", "root"), AuthError),
    ],
)
async def test_what_can_not_be_is_a_typed_error(
    guarded: EtcdServer, call: Callable[[Auth], Awaitable[object]], error: type[AuthError]
) -> None:
    async with root(guarded) as admin:
        with pytest.raises(error) as caught:
            await call(admin.auth)
        assert not caught.value.maybe_applied


@pytest.mark.parametrize(
    ("call", "error", "complaint"),
    [
        (lambda auth: auth.add_user("", "pw"), ValueError, "name must not be empty"),
        (lambda auth: auth.add_user(1, "pw"), TypeError, "name must be str, not int"),
        (lambda auth: auth.add_user("u", ""), ValueError, "password must not be empty; add_user without one"),
        (lambda auth: auth.add_user("u", b"pw"), TypeError, "password must be str, not bytes"),
        (lambda auth: auth.add_user("u", "pw\udc80"), ValueError, "password is not text that UTF-8 can hold"),
        (lambda auth: auth.change_password("u", ""), ValueError, "password must not be empty"),
        (lambda auth: auth.change_password("u", None), TypeError, "password must be str, not NoneType"),
        (lambda auth: auth.delete_user(""), ValueError, "name must not be empty"),
        (lambda auth: auth.get_user(b"u"), TypeError, "name must be str, not bytes"),
        (lambda auth: auth.grant_role("u", ""), ValueError, "role must not be empty"),
        (lambda auth: auth.grant_role("", "r"), ValueError, "user must not be empty"),
        (lambda auth: auth.revoke_role("u", None), TypeError, "role must be str"),
        (lambda auth: auth.add_role(""), ValueError, "name must not be empty"),
        (lambda auth: auth.delete_role(""), ValueError, "name must not be empty"),
        (lambda auth: auth.get_role(""), ValueError, "name must not be empty"),
        (lambda auth: auth.grant_permission("", "/k"), ValueError, "role must not be empty"),
        (lambda auth: auth.grant_permission("r"), ValueError, "exactly one of key, prefix and start"),
        (
            lambda auth: auth.grant_permission("r", "/k", prefix="/k"),
            ValueError,
            "exactly one of key, prefix and start",
        ),
        (lambda auth: auth.grant_permission("r", ""), ValueError, "key must not be empty"),
        (lambda auth: auth.grant_permission("r", start="b", end="a"), ValueError, "end must sort after start"),
        (lambda auth: auth.grant_permission("r", "/k", access="all"), ValueError, "access must be .*, not 'all'"),
        (lambda auth: auth.grant_permission("r", "/k", access=2), ValueError, "access must be .*, not 2"),
        (lambda auth: auth.revoke_permission("r", start="a"), ValueError, "start needs either end or from_key"),
        (lambda auth: auth.status(timeout="5"), TypeError, "timeout must be a number"),
    ],
)
async def test_a_wrong_argument_is_named_and_nothing_is_asked_of_the_server(
    dead_endpoint: str, call: Callable[[Any], Awaitable[object]], error: type[Exception], complaint: str
) -> None:
    async with Client(dead_endpoint) as client:
        with pytest.raises(error, match=complaint) as caught:
            await call(client.auth)
        assert "pw" not in str(caught.value)
        assert client._core.caller._channels == {}


async def test_a_user_does_what_its_role_allows_and_no_more(guarded: EtcdServer) -> None:
    async with app(guarded) as client, root(guarded) as admin:
        await client.put("/app/k", "v")
        assert await client.exists("/app/k")
        with pytest.raises(PermissionDenied) as caught:
            await client.put("/other", "v")
        assert not caught.value.maybe_applied
        with pytest.raises(PermissionDenied):
            await client.range(prefix="/")
        with pytest.raises(PermissionDenied):
            await client.auth.add_user("friend", "pw")
        assert await client.auth.get_user("app") == User("app", ("app",))
        assert (await client.auth.get_role("app")).permissions[0].prefix == b"/app/"
        await admin.auth.grant_permission("app", "/other", access="write")
        await client.put("/other", "v")
        with pytest.raises(PermissionDenied):
            await client.get("/other")
        await admin.auth.revoke_permission("app", "/other")
        with pytest.raises(PermissionDenied):
            await client.put("/other", "v")


async def test_who_may_write_but_not_read_is_registered_anew_after_its_lease(guarded: EtcdServer) -> None:
    service = Service("billing", "1", "10.0.0.5:80")
    async with app(guarded) as client, root(guarded) as admin:
        await admin.auth.grant_permission("app", prefix="services/", access="write")
        async with client.register(service, ttl=3) as registration:
            await admin.leases.revoke(registration.lease_id)

            async def is_back() -> bool:
                return await admin.discover("billing") == [service]

            await until(is_back)


async def test_a_watch_outside_the_role_is_refused_and_one_inside_works(guarded: EtcdServer) -> None:
    async with app(guarded) as client:
        for outside in (client.watch("/other"), client.watch("/other", start_revision=1)):
            with pytest.raises(PermissionDenied):
                await within(outside.__aenter__())
        async with client.watch(prefix="/app/") as watch:
            await client.put("/app/k", "v")
            (event,) = await take(watch, 1)
        assert event.kv.key == b"/app/k"


async def test_leases_and_locks_work_for_a_user(guarded: EtcdServer) -> None:
    async with app(guarded, namespace="/app/") as client:
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


async def test_a_user_without_a_password_can_not_log_in_with_any(guarded: EtcdServer) -> None:
    async with root(guarded) as admin:
        await admin.auth.add_user("robot")
    with pytest.raises(etcd_async.EtcdError):
        await Client.connect(guarded.endpoint, user="robot", password="any")


async def test_a_client_without_user_is_refused_where_one_is_needed(guarded: EtcdServer) -> None:
    async with Client(guarded.endpoint) as client:
        with pytest.raises(AuthError):
            await client.get("/app/k")


async def test_a_user_on_a_server_without_users_is_no_obstacle(etcd_server: EtcdServer) -> None:
    client = await Client.connect(etcd_server.endpoint, user="app", password="app's")
    assert await client.get("/app/k") is None
    await client.aclose()


async def test_a_token_that_was_given_is_used_until_it_is_refused_and_never_shown(guarded: EtcdServer) -> None:
    async with app(guarded) as client:
        await client.put("/app/k", "v")
        token = str(dict(client._core.caller._token.metadata)["token"])
    async with root(guarded) as admin, Client(guarded.endpoint, token=token) as client:
        assert await client.exists("/app/k")
        with pytest.raises(PermissionDenied):
            await client.get("/other")
        async with client.watch("/app/k") as watch:
            await client.put("/app/k", "w")
            assert (await take(watch, 1))[0].kv.value == b"w"
        await admin.auth.change_password("app", "other")  # forgets the user's tokens
        with pytest.raises(AuthError) as caught:
            await within(client.put("/app/k", "x"))
        assert isinstance(caught.value, etcd_async.InvalidAuthToken | etcd_async.AuthOldRevision)
        assert not caught.value.maybe_applied
        with pytest.raises(AuthError):
            await within(client.watch("/app/k").__aenter__())
        assert token not in f"{client!r} {client._core.caller!r} {vars(client._core.caller._token)!r} {caught.value!r}"
