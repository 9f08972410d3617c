"""Users, their rights, and tokens that expire under calls, watches and leases."""

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator

import pytest

from etcd_async import AuthFailed, Client, InvalidAuthToken, PermissionDenied, wire
from etcd_async._codec import encode
from etcd_async.testing import EtcdServer, FaultProxy
from tests.faults.auth import ANN_PASSWORD, ROOT_PASSWORD, enable_auth
from tests.faults.support import QUICK, Stopwatch, start
from tests.support.live import metric, take, until, within

pytestmark = pytest.mark.faults

TOKEN_TTL = 1


@pytest.fixture
async def server() -> AsyncIterator[EtcdServer]:
    """A server with users, whose tokens live for a second after they were used last."""
    arguments = (*QUICK, f"--auth-token-ttl={TOKEN_TTL}", "--bcrypt-cost=4")
    async with EtcdServer(extra_args=arguments) as server:
        async with Client(server.endpoint) as client:
            await enable_auth(client)
        yield server


def ann(endpoint: str, password: str = ANN_PASSWORD) -> Client:
    return Client(endpoint, user="ann", password=password)


def root(server: EtcdServer) -> Client:
    return Client(server.endpoint, user="root", password=ROOT_PASSWORD)


async def until_forgotten(server: EtcdServer, client: Client) -> None:
    """Wait until the server has forgotten the token that *client* uses, by the server's own clock."""
    async with root(server) as other, other.watch("/clock") as watch:
        # To ask with the token would keep it alive, so something else must expire: later than the token.
        lease = await other.leases.grant(TOKEN_TTL + 2)
        await other.put("/clock", "", lease=lease.id)
        assert [event.type for event in await take(watch, 2)] == ["put", "delete"]
    [endpoint] = client._core.caller.endpoints()
    channel = client._core.caller._channels[endpoint.endpoint]
    request = encode(wire.RangeRequest(key=b"/ann/"))
    metadata = client._core.caller._token.metadata
    with pytest.raises(InvalidAuthToken):
        await channel.unary("/etcdserverpb.KV/Range", request, metadata=metadata, deadline=None)


async def test_a_user_has_its_rights_and_no_more(server: EtcdServer) -> None:
    async with ann(server.endpoint) as client:
        await client.put("/ann/k", "v")
        assert await client.exists("/ann/k")
        assert await client.count(prefix="/ann/") == 1
        for call in (client.get("/bob/k"), client.put("/bob/k", "v"), client.range(prefix="/")):
            with pytest.raises(PermissionDenied) as caught:
                await call
            assert not caught.value.maybe_applied
        async with client.lock("/ann/lock", ttl=5) as lock, client.watch(prefix="/ann/") as watch:
            await client.put("/ann/k", "w")
            assert (await take(watch, 1))[0].kv.value == b"w"
            assert not lock.is_lost


async def test_a_watch_without_permission_raises_on_entering(server: EtcdServer) -> None:
    async with ann(server.endpoint) as client, root(server) as other:
        await client.put("/ann/k", "v")
        for arguments in ({"key": "/bob/k"}, {"prefix": "/bob/"}, {"prefix": "/a"}, {"start": "/ann/", "end": "/b"}):
            for revision in (None, 1):
                watch = Stopwatch()
                with pytest.raises(PermissionDenied):
                    await within(client.watch(**arguments, start_revision=revision).__aenter__())  # type: ignore[arg-type]
                assert watch.seconds < 3
        async with client.watch(prefix="/ann/") as own:  # the others have done no harm to it
            await other.put("/ann/k", "w")
            assert (await take(own, 1))[0].kv.value == b"w"


async def test_a_wrong_password_is_refused_at_once_and_never_shown(
    server: EtcdServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = "a-password-that-is-wrong"
    texts: list[str] = []
    async with ann(server.endpoint, wrong) as client:
        for call in (client.get("/ann/k"), client.watch("/ann/k").__aenter__(), client.lease().__aenter__()):
            watch = Stopwatch()
            with pytest.raises(AuthFailed) as caught:
                await within(call)
            assert watch.seconds < 2
            texts += [*traceback.format_exception(caught.value), repr(caught.value), repr(client)]
    with pytest.raises(AuthFailed) as refused:
        await Client.connect(server.endpoint, user="ann", password=wrong)
    texts += [*traceback.format_exception(refused.value), caplog.text]
    assert wrong not in "".join(texts)


async def test_passwords_and_tokens_never_show(
    server: EtcdServer, proxy: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with ann(proxy.endpoint) as client:
        await client.put("/ann/k", "v")
        token = dict(client._core.caller._token.metadata)["token"]
        with pytest.raises(PermissionDenied) as denied:
            await client.get("/bob/k")
        proxy.blackhole()
        with pytest.raises(TimeoutError) as late:
            await client.get("/ann/k", timeout=0.2)
        errors = [*traceback.format_exception(denied.value), *traceback.format_exception(late.value)]
        shown = "".join([*errors, repr(client), repr(client._core.caller._credentials), caplog.text])
        proxy.heal()
    message = wire.AuthUserAddRequest(name="bob", password="bobs-password")
    assert token not in shown
    assert ANN_PASSWORD not in shown
    assert "bobs-password" not in repr(message)


async def test_calls_outlive_their_token(server: EtcdServer) -> None:
    async with ann(server.endpoint) as client:
        await client.put("/ann/k", "0")
        before = client._core.caller._token.metadata
        await until_forgotten(server, client)
        await within(asyncio.gather(*(client.put(f"/ann/{number}", "v") for number in range(50))))
        assert client._core.caller._token.metadata != before
        versions = [kv.version for kv in await client.range(prefix="/ann/")]
        assert versions == [1] * 51


async def test_watches_outlive_their_token(server: EtcdServer, proxy: FaultProxy) -> None:
    async with (
        ann(proxy.endpoint) as client,
        root(server) as other,
        client.watch(prefix="/ann/") as watch,
        client.lease(ttl=3) as lease,
    ):
        await client.put("/ann/1", "v", lease=lease)
        await until_forgotten(server, client)
        # A new watch on the old stream, whose token the server has forgotten.
        async with client.watch("/ann/2") as second:
            await other.put("/ann/2", "v")
            assert [each.kv.key for each in await take(second, 1)] == [b"/ann/2"]
        await until_forgotten(server, client)
        proxy.cut()  # the stream itself must be opened anew
        await other.put("/ann/3", "v")
        seen = await take(watch, 3)
        assert [each.kv.key for each in seen] == [b"/ann/1", b"/ann/2", b"/ann/3"]
        expires_at = lease.expires_at

        async def is_renewed() -> bool:
            await client.get("/ann/1")
            return lease.expires_at > expires_at + 2

        await until(is_renewed)
        assert not lease.is_lost


async def test_a_restarted_server_that_knows_no_token_is_no_hindrance(server: EtcdServer) -> None:
    async with ann(server.endpoint) as client, root(server) as other:
        await client.put("/ann/k", "v")
        async with client.watch(prefix="/ann/") as watch:
            await server.kill()
            await server.start()
            await other.put("/ann/k", "w", timeout=15)
            assert (await take(watch, 1, 15))[0].kv.value == b"w"
            assert (await client.put("/ann/k", "x", timeout=15)).revision > 0


async def test_one_login_serves_all_who_wait_for_it(server: EtcdServer) -> None:
    async with ann(server.endpoint) as client:
        gets = [start(client.get(f"/ann/{number}")) for number in range(100)]
        await within(asyncio.wait(gets))
        assert [get.exception() for get in gets] == [None] * 100
        labels = 'grpc_method="Authenticate",grpc_service="etcdserverpb.Auth",grpc_type="unary"'
        assert await metric(server, f"grpc_server_started_total{{{labels}}}") == 1
