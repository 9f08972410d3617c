"""The token: fetched once for all, kept until it is refused."""

import asyncio
from random import Random

import pytest

from etcd_async._transport import token as token_module
from etcd_async._transport.token import Token
from etcd_async.errors import (
    Attempt,
    AuthFailed,
    AuthNotEnabled,
    ClientClosed,
    DeadlineExceeded,
    StatusCode,
    Unavailable,
)

pytestmark = pytest.mark.loops("asyncio", "uvloop")

COMMON = (("client-api-version", "3.5"),)
REFUSED = AuthFailed(StatusCode.INVALID_ARGUMENT, "no")


class Middling(Random):
    """Without luck, good or bad: no jitter."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


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


async def test_a_failed_login_fails_all_who_wait_each_with_an_error_of_its_own() -> None:
    logins = Logins()
    token = Token(logins, COMMON)
    waiters = await waiting(token, 3)
    logins.pending[0].set_exception(REFUSED)
    results = await asyncio.gather(*waiters, return_exceptions=True)
    assert [repr(result) for result in results] == [repr(REFUSED)] * 3
    assert len({id(result) for result in [*results, REFUSED]}) == 4


async def test_a_login_without_an_answer_is_tried_again_by_the_next_who_asks() -> None:
    logins = Logins()
    token = Token(logins, COMMON)
    waiters = await waiting(token)
    attempts = [Attempt("http://h:1", "connection refused")]
    logins.pending[0].set_exception(Unavailable(attempts))
    for waiter in waiters:
        with pytest.raises(Unavailable) as caught:
            await waiter
        assert caught.value.attempts == tuple(attempts)
    [again] = await waiting(token)
    logins.pending[1].set_result("t2")
    await again
    assert token.metadata == with_token("t2")


async def test_who_joins_a_login_does_not_fail_with_what_stood_in_its_way_before() -> None:
    logins = Logins()
    token = Token(logins, COMMON)
    [first] = await waiting(token)
    [late] = await waiting(token)
    logins.pending[0].set_exception(Unavailable([]))
    with pytest.raises(Unavailable):
        await first
    for _ in range(10):
        await asyncio.sleep(0)
    logins.pending[1].set_result("t1")
    await late
    assert token.metadata == with_token("t1")


async def test_who_joins_two_logins_that_fail_is_told() -> None:
    logins = Logins()
    token = Token(logins, COMMON)
    [first] = await waiting(token)
    [late] = await waiting(token)
    for number in range(2):
        logins.pending[number].set_exception(Unavailable([]))
        for _ in range(10):
            await asyncio.sleep(0)
    for waiter in (first, late):
        with pytest.raises(Unavailable):
            await waiter
    assert len(logins.pending) == 2


async def test_a_refusal_stands_for_a_while_that_grows_and_the_next_login_counts_anew() -> None:
    now = 100.0
    logins = Logins()
    token = Token(logins, COMMON, clock=lambda: now, random=Middling())
    for number, pause in enumerate([0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0], start=1):
        [waiter] = await waiting(token)
        assert len(logins.pending) == number
        logins.pending[-1].set_exception(REFUSED)
        for late in (waiter, *await waiting(token, 200)):
            with pytest.raises(AuthFailed):
                await late
        now += pause - 0.01
        with pytest.raises(AuthFailed):
            await token.ready(None)
        now += 0.02
    [waiter] = await waiting(token)
    logins.pending[-1].set_result("t1")
    await waiter
    now += 10
    token.drop(token.metadata)
    before = len(logins.pending)
    [waiter] = await waiting(token)
    logins.pending[-1].set_exception(REFUSED)
    with pytest.raises(AuthFailed):
        await waiter
    now += 0.26
    [waiter] = await waiting(token)
    assert len(logins.pending) == before + 2
    logins.pending[-1].set_result("t2")
    await waiter


async def test_tokens_that_are_refused_as_soon_as_they_come_are_replaced_ever_more_slowly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(round(seconds, 6))

    monkeypatch.setattr(token_module, "_sleep", sleep)
    logins = Logins()
    token = Token(logins, COMMON, clock=lambda: now, random=Middling())

    async def live(seconds: float) -> None:
        nonlocal now
        [waiter] = await waiting(token)
        logins.pending[-1].set_result(f"t{len(logins.pending)}")
        await waiter
        now += seconds
        token.drop(token.metadata)

    for _ in range(7):
        await live(0.01)
    assert pauses == [0, 0, 0.1, 0.2, 0.4, 0.8, 1.0]
    now += 10
    pauses.clear()
    for _ in range(3):
        await live(60)
    assert pauses == [0, 0, 0]


async def test_a_token_that_was_given_is_used_as_it_is_and_never_replaced() -> None:
    token = Token(None, COMMON, given="g1")
    assert token.metadata == with_token("g1")
    token.drop(token.metadata)
    assert token.is_current
    await token.ready(None)
    assert token.metadata == with_token("g1")


async def test_a_failed_login_that_nobody_waits_for_is_not_reported() -> None:
    logins = Logins()
    token = Token(logins, COMMON)
    [only] = await waiting(token)
    only.cancel()
    await asyncio.wait([only])
    logins.pending[0].set_exception(REFUSED)
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


async def test_a_token_does_not_show_even_among_the_metadata() -> None:
    logins = Logins()
    token = Token(logins, COMMON)
    [waiter] = await waiting(token)
    logins.pending[0].set_result("secret")
    await waiter
    given = Token(None, COMMON, given="secret")
    for each in (token, given):
        assert dict(each.metadata)["token"] == "secret"
        assert "secret" not in f"{each!r} {each.metadata!r} {vars(each)!r}"


async def test_a_deadline_during_the_login_tells_what_stands_in_the_way() -> None:
    token = Token(Logins(), COMMON, causes=lambda: [Attempt("http://h:1", "connection refused")])
    with pytest.raises(DeadlineExceeded, match=r"during the login \(http://h:1: connection refused\)"):
        await token.ready(0.0)
    await token.aclose()
