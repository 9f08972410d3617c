"""Users, their rights, and tokens that expire under calls, watches and leases."""

import asyncio
import logging
import time
import traceback
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from etcd_async import AuthFailed, AuthOldRevision, Client, InvalidAuthToken, PermissionDenied, wire
from etcd_async._codec import encode
from etcd_async._protocol.headers import Metadata
from etcd_async._protocol.retry import MAX_STALE
from etcd_async._transport import methods
from etcd_async.testing import EtcdServer, FaultProxy
from tests.faults.auth import ANN_PASSWORD, ann, guarded_server, jwt, logins, root
from tests.faults.support import Stopwatch, start, until_renewed
from tests.support.live import take, ticking, until, within

pytestmark = pytest.mark.faults

TOKEN_TTL = 2


@pytest.fixture
async def server() -> AsyncIterator[EtcdServer]:
    """A server with users, whose tokens live for two seconds after they were used last."""
    async with guarded_server(f"--auth-token-ttl={TOKEN_TTL}") as server:
        yield server


@pytest.fixture
async def signing(tmp_path: Path) -> AsyncIterator[EtcdServer]:
    """A server with users, whose tokens are signed: they end with any change of users or roles, and after a minute."""
    async with guarded_server(jwt(tmp_path, ttl="1m")) as server:
        yield server


async def refusal(client: Client, metadata: Metadata) -> Exception:
    """Return what the server says to a token that *client* has, or had."""
    [endpoint] = client._core.caller.addresses()
    channel = client._core.caller._channels[endpoint.text]
    request = encode(wire.RangeRequest(key=b"/ann/"))
    with pytest.raises((InvalidAuthToken, AuthOldRevision)) as caught:
        await channel.unary(methods.RANGE.path, request, metadata=metadata, deadline=None)
    return caught.value


async def until_forgotten(server: EtcdServer, client: Client) -> None:
    """Wait until the server has forgotten the token that *client* uses, by the server's own clock."""
    async with root(server) as other, other.watch("/clock") as watch:
        # To ask with the token would keep it alive, so something else must expire: later than the token.
        lease = await other.leases.grant(TOKEN_TTL + 2)
        await other.put("/clock", "", lease=lease.id)
        assert [event.type for event in await take(watch, 2)] == ["put", "delete"]
    assert isinstance(await refusal(client, client._core.caller._token.metadata), InvalidAuthToken)


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
                before = await logins(server)
                async with ticking() as clock:
                    with pytest.raises(PermissionDenied):
                        await client.watch(**arguments, start_revision=revision).__aenter__()  # type: ignore[arg-type]
                    assert clock.seconds < 3
                assert await logins(server) <= before + 1  # it may have been the token's fault
        async with client.watch(prefix="/ann/") as own:  # the others have done no harm to it
            await other.put("/ann/k", "w")
            assert (await take(own, 1))[0].kv.value == b"w"


async def test_a_wrong_password_is_refused_at_once_and_never_shown(
    server: EtcdServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = "a-password-that-is-wrong"
    texts: list[str] = []
    before = await logins(server)
    async with ann(server.endpoint, wrong) as client:
        for number, call in enumerate(
            (client.get("/ann/k"), client.watch("/ann/k").__aenter__(), client.lease().__aenter__()), 1
        ):
            async with ticking() as clock:
                with pytest.raises(AuthFailed) as caught:
                    await call
                assert clock.seconds < 3
            assert await logins(server) <= before + number
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
        count = await logins(server)
        await within(asyncio.gather(*(client.put(f"/ann/{number}", "v") for number in range(200))))
        assert await logins(server) == count + 1
        assert client._core.caller._token.metadata != before
        versions = [kv.version for kv in await client.range(prefix="/ann/")]
        assert versions == [1] * 201


async def test_watches_outlive_their_token(server: EtcdServer, proxy: FaultProxy) -> None:
    async with ann(proxy.endpoint) as client, root(server) as other, client.watch(prefix="/ann/") as watch:
        await client.put("/ann/1", "v")
        await until_forgotten(server, client)
        # A new watch on the old stream, whose token the server has forgotten.
        async with client.watch("/ann/2") as second:
            await other.put("/ann/2", "v")
            assert [each.kv.key for each in await take(second, 1)] == [b"/ann/2"]
        await until_forgotten(server, client)
        proxy.cut()  # the stream itself must be opened anew
        await other.put("/ann/3", "v")
        assert [each.kv.key for each in await take(watch, 3)] == [b"/ann/1", b"/ann/2", b"/ann/3"]


@pytest.mark.slow
async def test_a_watch_and_a_lease_outlive_tokens_of_five_seconds() -> None:
    async with (
        guarded_server("--auth-token-ttl=5") as server,
        FaultProxy(server.endpoint) as proxy,
        ann(proxy.endpoint) as client,
        root(server) as other,
        client.watch(prefix="/ann/") as watch,
        client.lease(ttl=24) as lease,
    ):
        await client.put("/ann/1", "v", lease=lease)
        before = await logins(server)
        for number in (2, 3):
            expires_at = lease.expires_at

            async def is_renewed(expires_at: float = expires_at) -> bool:
                await other.get("/ann/1")
                return lease.expires_at > expires_at + 6

            await until(is_renewed, 20)  # eight seconds later: nobody has used the token meanwhile
            proxy.cut()
            await other.put(f"/ann/{number}", "v")
            async with client.watch("/ann/1", start_revision=1) as second:
                assert (await take(second, 1))[0].kv.key == b"/ann/1"
        assert [each.kv.key for each in await take(watch, 3)] == [b"/ann/1", b"/ann/2", b"/ann/3"]
        assert await logins(server) >= before + 2
        assert not lease.is_lost


async def test_watches_and_leases_outlive_a_restart_that_forgets_every_token(server: EtcdServer) -> None:
    async with (
        ann(server.endpoint) as client,
        root(server) as other,
        client.watch(prefix="/ann/") as watch,
        client.lease(ttl=8) as lease,
    ):
        await client.put("/ann/k", "v", lease=lease)
        for number in range(3):
            await server.kill()
            await server.start()
            await other.put("/ann/k", str(number), timeout=15)
            assert (await client.put("/ann/own", str(number), timeout=15)).revision > 0
            await until_renewed(lease, other)
        seen = await take(watch, 7, 15)
        assert [each.kv.value for each in seen] == [b"v", b"0", b"0", b"1", b"1", b"2", b"2"]
        assert not lease.is_lost


async def test_a_change_of_users_ends_every_signed_token_and_nothing_else(signing: EtcdServer) -> None:
    async with (
        FaultProxy(signing.endpoint) as proxy,
        ann(proxy.endpoint) as client,
        root(signing) as admin,
        client.watch(prefix="/ann/") as watch,
        client.lease(ttl=6) as lease,
    ):
        for number in range(5):
            await client.put(f"/ann/{number}", "v", lease=lease)
            token = client._core.caller._token.metadata
            await admin.auth.add_role(f"r{number}")
            assert isinstance(await refusal(client, token), AuthOldRevision)
            if number % 2:
                proxy.cut()
                await admin.put(f"/ann/{number}/cut", "v")
            async with client.watch(prefix=f"/ann/{number}", start_revision=1) as second:
                assert (await take(second, 1))[0].kv.key == f"/ann/{number}".encode()
        names = [each.kv.key.decode().removeprefix("/ann/") for each in await take(watch, 7)]
        assert names == ["0", "1", "1/cut", "2", "3", "3/cut", "4"]
        await until_renewed(lease, admin)
        assert len(await client.range(prefix="/ann/")) == 7


async def test_calls_get_through_while_users_are_changed_all_the_time(signing: EtcdServer) -> None:
    async with ann(signing.endpoint) as client, root(signing) as admin:

        async def change(number: int) -> None:
            for each in range(MAX_STALE - 2):  # the token of before is refused, too, and the last attempt is not
                await admin.auth.add_role(f"r{number}-{each}")

        for number in range(10):
            await asyncio.gather(client.put(f"/ann/{number}", "v", timeout=20), change(number))
        assert await client.count(prefix="/ann/") == 10
        assert {kv.version for kv in await client.range(prefix="/ann/")} == {1}


async def test_tokens_that_end_while_many_call_cost_one_login_each(tmp_path: Path) -> None:
    ttl = 2
    async with guarded_server(jwt(tmp_path, ttl=f"{ttl}s")) as server, ann(server.endpoint) as client:
        before, began = await logins(server), time.monotonic()
        is_over = False

        async def work(number: int) -> int:
            calls = 0
            while not is_over:
                await client.get(f"/ann/{number}")
                calls += 1
            return calls

        tasks = [start(work(number)) for number in range(200)]

        async def have_expired() -> bool:
            return await logins(server) >= before + 3

        await until(have_expired, 20)
        is_over = True
        assert all(calls for calls in await within(asyncio.gather(*tasks)))
        expiries = (time.monotonic() - began) / (ttl - 1)  # counted in whole seconds, so it may live for one only
        assert await logins(server) - before <= 1 + expiries


async def test_one_login_serves_all_who_wait_for_it(server: EtcdServer) -> None:
    async with ann(server.endpoint) as client:
        before = await logins(server)
        gets = [start(client.get(f"/ann/{number}")) for number in range(200)]
        await within(asyncio.wait(gets))
        assert [get.exception() for get in gets] == [None] * 200
        assert await logins(server) == before + 1


async def test_a_changed_password_is_told_to_all_who_call_at_the_cost_of_few_logins(server: EtcdServer) -> None:
    async with ann(server.endpoint) as client, root(server) as admin:
        await client.put("/ann/k", "v")
        await admin.auth.change_password("ann", "another")
        before, watch = await logins(server), Stopwatch()
        refused = 0

        async def call() -> None:
            nonlocal refused
            while watch.seconds < 2 or refused <= 1000:
                with pytest.raises(AuthFailed):
                    await client.put("/ann/k", "w")
                refused += 1
                await asyncio.sleep(0.01)

        await within(asyncio.gather(*(call() for _ in range(50))), 30)
        assert await logins(server) - before <= 4 + watch.seconds
        with pytest.raises(AuthFailed):
            await within(client.watch("/ann/k").__aenter__())
        await admin.auth.change_password("ann", ANN_PASSWORD)

        async def is_let_in() -> bool:
            try:
                return await client.exists("/ann/k")
            except AuthFailed:
                await asyncio.sleep(0.01)
                return False

        await until(is_let_in)
        kv = await client.get("/ann/k")
        assert kv is not None
        assert kv.version == 1


async def test_authentication_may_be_disabled_and_enabled_under_a_running_client(server: EtcdServer) -> None:
    async with (
        FaultProxy(server.endpoint) as proxy,
        ann(proxy.endpoint) as client,
        root(server) as admin,
        client.watch(prefix="/ann/") as watch,
        client.lease(ttl=6) as lease,
    ):
        await client.put("/ann/1", "v", lease=lease)
        await admin.auth.disable()
        proxy.cut()
        await client.get("/bob/1")  # may have to be asked twice, unlike a write
        await client.put("/bob/1", "v")
        await client.put("/ann/2", "v")
        assert len(await take(watch, 2)) == 2
        await until_renewed(lease, admin)
        await admin.auth.enable()
        proxy.cut()
        await client.get("/ann/3")
        await client.put("/ann/3", "v")
        with pytest.raises(PermissionDenied):
            await client.put("/bob/2", "v")
        assert (await take(watch, 1))[0].kv.key == b"/ann/3"
        await until_renewed(lease, admin)


async def test_a_client_that_began_without_authentication_logs_in_once_it_is_enabled(server: EtcdServer) -> None:
    async with root(server) as admin:
        await admin.auth.disable()
        async with ann(server.endpoint) as client, client.watch(prefix="/ann/") as watch:
            await client.put("/bob/k", "v")
            await admin.auth.enable()
            await client.put("/ann/1", "v")
            async with client.watch("/ann/1", start_revision=1) as second:
                assert (await take(second, 1))[0].kv.value == b"v"
            with pytest.raises(PermissionDenied):
                await client.put("/bob/k", "w")
            assert (await take(watch, 1))[0].kv.key == b"/ann/1"
