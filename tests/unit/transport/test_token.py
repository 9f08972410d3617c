"""The token: fetched once for all, kept until it is refused."""

import asyncio

import pytest

from etcd_async._transport.token import Token
from etcd_async.errors import AuthFailed, AuthNotEnabled, ClientClosed, DeadlineExceeded, StatusCode

pytestmark = pytest.mark.loops("asyncio", "uvloop")

COMMON = (("client-api-version", "3.5"),)


class Logins:
    """A server's answers to logins, given by the test."""

    def __init__(self) -> None:
        self.pending: list[asyncio.Future[str]] = []

    async def __call__(self) -> str:
        login: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.pending.append(login)
        return await login


async def waiting(token: Token, count: int = 1) -> list[asyncio.Task[None]]:
    """Start *count* waiters and let them come to their wait, and the login to its own."""
    waiters = [asyncio.create_task(token.ready(None)) for _ in range(count)]
    for _ in range(3):
        await asyncio.sleep(0)
    return waiters


def with_token(text: str) -> tuple[tuple[str, str], ...]:
    return (*COMMON, ("token", text))


async def test_without_a_user_there_is_nothing_to_wait_for() -> None:
    token = Token(None, COMMON)
    assert token.is_current
    assert not token.has_user
    await token.ready(None)
    token.drop(token.metadata)
    assert token.is_current
    assert token.metadata == COMMON
    await token.aclose()


async def test_all_who_wait_share_one_login() -> None:
    logins = Logins()
    token = Token(logins, COMMON)
    waiters = await waiting(token, 50)
    [login] = logins.pending
    login.set_result("t1")
    await asyncio.gather(*waiters)
    assert token.metadata == with_token("t1")
    await token.ready(None)
    assert len(logins.pending) == 1


async def test_a_cancelled_waiter_does_not_take_the_login_from_the_others() -> None:
    logins = Logins()
    token = Token(logins, COMMON)
    first, second = await waiting(token, 2)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    logins.pending[0].set_result("t1")
    await second
    assert token.is_current


async def test_a_login_goes_on_when_nobody_waits_any_more() -> None:
    logins = Logins()
    token = Token(logins, COMMON)
    [only] = await waiting(token)
    only.cancel()
    await asyncio.wait([only])
    logins.pending[0].set_result("t1")
    await token.ready(None)
    assert len(logins.pending) == 1


async def test_a_waiters_own_timeout_is_its_own() -> None:
    logins = Logins()
    token = Token(logins, COMMON)
    [patient] = await waiting(token)
    with pytest.raises(DeadlineExceeded, match="login"):
        await token.ready(0.0)
    logins.pending[0].set_result("t1")
    await patient


async def test_a_failed_login_fails_all_who_wait_and_the_next_tries_again() -> None:
    logins = Logins()
    token = Token(logins, COMMON)
    waiters = await waiting(token, 3)
    logins.pending[0].set_exception(AuthFailed(StatusCode.INVALID_ARGUMENT, "no"))
    results = await asyncio.gather(*waiters, return_exceptions=True)
    assert [type(result) for result in results] == [AuthFailed] * 3
    [again] = await waiting(token)
    logins.pending[1].set_result("t2")
    await again
    assert token.metadata == with_token("t2")


async def test_a_failed_login_that_nobody_waits_for_is_not_reported() -> None:
    logins = Logins()
    token = Token(logins, COMMON)
    [only] = await waiting(token)
    only.cancel()
    await asyncio.wait([only])
    logins.pending[0].set_exception(AuthFailed(StatusCode.INVALID_ARGUMENT, "no"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not token.is_current


async def test_a_cluster_without_authentication_needs_no_token() -> None:
    logins = Logins()
    token = Token(logins, COMMON)
    [waiter] = await waiting(token)
    logins.pending[0].set_exception(AuthNotEnabled(StatusCode.FAILED_PRECONDITION, "not enabled"))
    await waiter
    assert token.is_current
    assert token.metadata == COMMON


async def test_authentication_enabled_later_is_noticed_by_a_refusal() -> None:
    logins = Logins()
    token = Token(logins, COMMON)
    [waiter] = await waiting(token)
    logins.pending[0].set_exception(AuthNotEnabled(StatusCode.FAILED_PRECONDITION, "not enabled"))
    await waiter
    token.drop(token.metadata)
    assert not token.is_current


async def test_a_refused_token_is_replaced_once_however_many_calls_had_it() -> None:
    logins = Logins()
    token = Token(logins, COMMON)
    [waiter] = await waiting(token)
    logins.pending[0].set_result("t1")
    await waiter
    old = token.metadata
    token.drop(old)
    [waiter] = await waiting(token)
    logins.pending[1].set_result("t2")
    await waiter
    token.drop(old)  # a late call that still had the old one
    assert token.is_current
    assert token.metadata == with_token("t2")


async def test_closing_ends_a_login_and_those_who_wait_for_it() -> None:
    before = asyncio.all_tasks()
    logins = Logins()
    token = Token(logins, COMMON)
    waiters = await waiting(token, 2)
    await token.aclose()
    results = await asyncio.gather(*waiters, return_exceptions=True)
    assert [type(result) for result in results] == [ClientClosed] * 2
    with pytest.raises(ClientClosed):
        await token.ready(None)
    await token.aclose()
    assert asyncio.all_tasks() == before


async def test_neither_token_nor_password_shows() -> None:
    token = Token(Logins(), COMMON)
    token.metadata = with_token("secret")
    assert "secret" not in repr(token)
