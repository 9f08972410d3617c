"""Calls of users: when they log in, and what becomes of a token that is refused."""

import asyncio

import pytest

from etcd_async import _codec
from etcd_async._pb.etcdserverpb import AuthenticateRequest
from etcd_async._protocol.retry import MAX_STALE
from etcd_async._transport import token as token_module
from etcd_async._transport.methods import PUT, RANGE, Method
from etcd_async.errors import (
    AuthError,
    AuthFailed,
    InvalidAuthToken,
    StatusCode,
    error_for,
)
from tests.unit.transport.callers import ROOT, A, B, Clock, caller_of, stale, token, with_token
from tests.unit.transport.fakes import Network

pytestmark = pytest.mark.loops("asyncio", "uvloop")


async def test_a_user_logs_in_once_for_all_calls(network: Network) -> None:
    network.logins = [token("t1")]
    caller = caller_of(A, credentials=ROOT)
    await asyncio.gather(*(caller.unary(RANGE, b"", timeout=5.0) for _ in range(64)))
    assert {asked.metadata for asked in network.asked} == {with_token("t1")}
    [login] = network.login_payloads
    assert _codec.decode(AuthenticateRequest, login) == AuthenticateRequest(name="root", password="very secret")


@pytest.mark.parametrize("method", [RANGE, PUT])
async def test_a_refused_token_is_replaced_and_the_call_made_again(network: Network, method: Method) -> None:
    network.logins = [token("t1"), token("t2")]
    network.answers[A] = [stale(), b"answer"]
    caller = caller_of(A, credentials=ROOT)
    assert await caller.unary(method, b"", timeout=5.0) == b"answer"
    assert [asked.metadata for asked in network.asked] == [with_token("t1"), with_token("t2")]


@pytest.fixture
def logins_without_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    async def sleep(seconds: float) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(token_module, "_sleep", sleep)


@pytest.mark.usefixtures("logins_without_pause")
@pytest.mark.parametrize("method", [RANGE, PUT])
async def test_users_outlive_authentication_that_is_switched_on_and_off_all_the_time(
    network: Network, method: Method
) -> None:
    """A login that finds it off brings no token; and then it is on."""
    off = error_for(StatusCode.FAILED_PRECONDITION, "etcdserver: authentication is not enabled")
    nameless = error_for(StatusCode.INVALID_ARGUMENT, "etcdserver: user name is empty")
    network.logins = [token("t1"), off, off, token("t2"), off, token("t3")]
    network.answers[A] = [stale(), nameless, nameless, stale(), nameless, b"answer"]
    caller = caller_of(A, credentials=ROOT)
    assert await caller.unary(method, b"", timeout=5.0) == b"answer"
    assert network.asked[-1].metadata == with_token("t3")


@pytest.mark.usefixtures("logins_without_pause")
async def test_a_token_that_is_refused_again_and_again_is_final(network: Network) -> None:
    network.logins = [token("t1")]
    network.answers[A] = [stale()]
    with pytest.raises(InvalidAuthToken) as caught:
        await caller_of(A, credentials=ROOT).unary(PUT, b"", timeout=5.0)
    assert not caught.value.maybe_applied
    assert len(network.login_payloads) == len(network.asked) == MAX_STALE


async def test_without_a_user_a_demand_for_one_is_final_after_a_few_attempts(network: Network) -> None:
    network.answers[A] = [error_for(StatusCode.INVALID_ARGUMENT, "etcdserver: user name is empty")]
    caller = caller_of(A)
    with pytest.raises(AuthError):
        await caller.unary(RANGE, b"", timeout=5.0)
    assert not caller.has_user
    assert len(network.asked) == MAX_STALE


async def test_a_slow_login_leaves_the_first_attempt_what_is_left(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    caller = caller_of(A, B, clock=clock, credentials=ROOT)

    async def log_in() -> str:
        clock.now += 3.0
        return "t1"

    monkeypatch.setattr(caller._token, "_log_in", log_in)
    await caller.unary(RANGE, b"", timeout=5.0)
    assert network.asked[0].deadline == 1005.0


async def test_a_wrong_password_is_told_without_telling_the_password(network: Network) -> None:
    network.logins = [
        error_for(StatusCode.INVALID_ARGUMENT, "etcdserver: authentication failed, invalid user ID or password")
    ]
    caller = caller_of(A, credentials=ROOT)
    with pytest.raises(AuthFailed) as caught:
        await caller.log_in(timeout=5.0)
    assert "secret" not in f"{caught.value!s}{caught.value!r}{caller!r}"


async def test_logging_in_without_a_user_does_nothing(network: Network) -> None:
    await caller_of(A).log_in(timeout=5.0)
    assert not network.login_payloads
