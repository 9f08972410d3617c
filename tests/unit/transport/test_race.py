"""Reads that take long: asked of several endpoints at once, until one answers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

import anyio
import pytest

from etcd_async import _codec
from etcd_async._pb.etcdserverpb import AuthenticateResponse
from etcd_async._protocol.endpoints import parse
from etcd_async._protocol.retry import Budget
from etcd_async._transport import race as module
from etcd_async._transport.caller import Caller
from etcd_async._transport.calls import Slow
from etcd_async._transport.failure import AttemptFailed
from etcd_async._transport.methods import LEASE_GRANT, PUT, RANGE, TXN
from etcd_async._transport.pursuit import Place
from etcd_async._transport.race import Delayed
from etcd_async.errors import Compacted, DeadlineExceeded, StatusCode, Unavailable, error_for
from etcd_async.options import Backoff, Credentials
from tests.unit.transport.fakes import SILENCE, Network

pytestmark = pytest.mark.loops("asyncio", "uvloop")

A, B, C = "http://a:1", "http://b:1", "http://c:1"
QUICK = Backoff(initial=0.0001, maximum=0.0002)
NEVER = Backoff(initial=1000.0, maximum=1000.0)


class Clock:
    """Time that passes only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Hanging:
    """An attempt that says that it is slow, and goes on."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.is_abandoned = False

    def slow(self) -> Slow:
        return Slow(self.answer, self._abandon)

    def slow_after(self, clock: Clock, seconds: float) -> Callable[[], Slow]:
        """Let so much time pass before it says so."""

        def pass_time() -> Slow:
            clock.now += seconds
            return self.slow()

        return pass_time

    def _abandon(self) -> None:
        self.is_abandoned = True


@asynccontextmanager
async def caller_of(
    *endpoints: str, clock: Callable[[], float], backoff: Backoff = NEVER, credentials: Credentials | None = None
) -> AsyncIterator[Caller]:
    caller = Caller(
        [parse(each) for each in endpoints],
        backoff=backoff,
        probes=NEVER,
        clock=clock,
        random=Random(0),
        credentials=credentials,
    )
    try:
        yield caller
    finally:
        await caller.aclose()


@dataclass
class Race:
    """A read under way, and its slow attempts in order."""

    call: asyncio.Task[bytes]
    slow: list[Hanging]

    async def result(self) -> bytes:
        return await asyncio.wait_for(self.call, 10)


async def race(network: Network, caller: Caller, hanging: int, *, timeout: float | None = 60.0) -> Race:
    """Start a read of which the first *hanging* attempts are slow, wherever they go, and wait until all are made."""
    slow = [Hanging() for _ in range(hanging)]
    network.script = [each.slow() for each in slow]
    call = asyncio.create_task(caller.unary(RANGE, b"", timeout=timeout))
    await network.until(lambda: len(network.asked) >= min(hanging + 1, len(caller.addresses())))
    for _ in range(5):
        await asyncio.sleep(0)
    return Race(call, slow)


async def test_a_slow_read_is_asked_elsewhere_and_the_first_answer_counts(network: Network) -> None:
    async with caller_of(A, B, clock=Clock()) as caller:
        made = await race(network, caller, 1)
        assert await made.result() == b"answer"
        assert made.slow[0].is_abandoned
        assert sorted(network.places()) == [A, B]


async def test_a_slow_endpoint_may_still_be_the_first_to_answer(network: Network) -> None:
    async with caller_of(A, B, clock=Clock()) as caller:
        made = await race(network, caller, 2)
        made.slow[0].answer.set_result(b"at last")
        assert await made.result() == b"at last"
        assert made.slow[1].is_abandoned
        assert all(state.is_healthy for state in caller.endpoints())


async def test_an_endpoint_that_hangs_while_another_answers_is_set_aside(network: Network) -> None:
    clock = Clock()
    async with caller_of(A, B, clock=clock) as caller:
        call = asyncio.create_task(caller.unary(RANGE, b"", timeout=60.0))
        hanging = Hanging()
        network.script = [hanging.slow_after(clock, 1.2)]
        assert await asyncio.wait_for(call, 10) == b"answer"
        [state] = [state for state in caller.endpoints() if not state.is_healthy]
        assert state.endpoint == network.places()[0]
        assert state.last_error == f"no answer for 1.2 s, while {network.places()[1]} answered"


async def test_endpoints_that_are_all_slow_are_all_asked_once_and_none_is_set_aside(network: Network) -> None:
    clock = Clock()
    async with caller_of(A, B, C, clock=clock) as caller:
        made = await race(network, caller, 3)
        clock.now += 3.0
        made.slow[2].answer.set_result(b"answer")
        assert await made.result() == b"answer"
        assert sorted(network.places()) == [A, B, C]
        assert all(state.is_healthy for state in caller.endpoints())


async def test_at_the_deadline_the_error_names_each_endpoint(network: Network) -> None:
    clock = Clock()
    async with caller_of(A, B, clock=clock) as caller:
        made = await race(network, caller, 2, timeout=5.0)
        clock.now += 5.0
        made.slow[0].answer.set_exception(DeadlineExceeded(maybe_applied=True))
        with pytest.raises(DeadlineExceeded) as caught:
            await made.result()
        assert {attempt.endpoint for attempt in caught.value.attempts} == {A, B}
        assert "no answer for 5.0 s" in str(caught.value)
        assert not caught.value.maybe_applied


async def test_a_clear_no_is_an_answer(network: Network) -> None:
    async with caller_of(A, B, clock=Clock()) as caller:
        made = await race(network, caller, 2)
        made.slow[1].answer.set_exception(
            error_for(StatusCode.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted")
        )
        with pytest.raises(Compacted):
            await made.result()
        assert made.slow[0].is_abandoned


async def test_a_failed_attempt_leaves_the_race_to_the_others(network: Network) -> None:
    async with caller_of(A, B, clock=Clock(), backoff=QUICK) as caller:
        made = await race(network, caller, 2)
        made.slow[1].answer.set_exception(AttemptFailed("it", "connection lost", sent=True))
        assert await made.result() == b"answer"  # asked there once more
        assert len(network.asked) == 3
        assert network.places()[2] == network.places()[1]


async def test_when_all_have_failed_one_is_tried_again(network: Network) -> None:
    async with caller_of(A, B, clock=Clock(), backoff=QUICK) as caller:
        made = await race(network, caller, 2)
        for slow in made.slow:
            slow.answer.set_exception(AttemptFailed("it", "connection lost", sent=True))
        assert await made.result() == b"answer"


async def test_errors_of_a_race_that_can_not_go_on_are_those_of_any_call(network: Network) -> None:
    async with caller_of(A, B, clock=Clock()) as caller:
        made = await race(network, caller, 2, timeout=5.0)
        for slow in made.slow:
            slow.answer.set_exception(AttemptFailed("it", "connection lost", sent=True))
        with pytest.raises(Unavailable) as caught:
            await made.result()
        assert {attempt.endpoint for attempt in caught.value.attempts} == {A, B}


async def test_a_cancelled_race_abandons_every_attempt(network: Network) -> None:
    async with caller_of(A, B, C, clock=Clock()) as caller:
        made = await race(network, caller, 3)
        made.call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await made.result()
        assert all(slow.is_abandoned for slow in made.slow)
        assert not [task for task in asyncio.all_tasks() if "attempt" in repr(task.get_coro())]


def spend_all(caller: Caller, now: float) -> None:
    """Leave nothing in the budget."""
    while caller._pursuit.budget.spend(now):
        pass


async def test_without_budget_nobody_else_is_asked(network: Network) -> None:
    async with caller_of(A, B, clock=Clock()) as caller:
        spend_all(caller, 1000.0)
        slow = Hanging()
        network.script = [slow.slow()]
        call = asyncio.create_task(caller.unary(RANGE, b"", timeout=60.0))
        await network.until(lambda: len(network.asked) == 1)
        for _ in range(5):
            await asyncio.sleep(0)
        slow.answer.set_result(b"at last")
        assert await asyncio.wait_for(call, 10) == b"at last"
        assert len(network.asked) == 1


async def test_who_could_not_be_paid_for_is_asked_when_the_budget_has_grown(network: Network) -> None:
    clock = Clock()
    async with caller_of(A, B, clock=clock) as caller:
        spend_all(caller, clock.now)
        network.script = [Hanging().slow()]
        call = asyncio.create_task(caller.unary(RANGE, b"", timeout=60.0))
        await network.until(lambda: len(network.asked) == 1)
        for _ in range(5):
            await asyncio.sleep(0)
        clock.now += 1.0
        assert await asyncio.wait_for(call, 10) == b"answer"


class Purse(Budget):
    """Nothing at first; counts how often it was asked."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.asked = 0
        self.is_filled = False
        self._network = network

    def spend(self, now: float) -> bool:
        self.asked += 1
        self._network.notify()
        return self.is_filled


async def test_attempts_after_all_have_failed_are_paid_for_too(network: Network) -> None:
    async with caller_of(A, B, clock=Clock(), backoff=QUICK) as caller:
        made = await race(network, caller, 2)
        purse = caller._pursuit.budget = Purse(network)
        for slow in made.slow:
            slow.answer.set_exception(AttemptFailed("it", "connection lost", sent=True))
        await network.until(lambda: purse.asked == 2 or len(network.asked) == 3)
        assert len(network.asked) == 2
        purse.is_filled = True
        assert await made.result() == b"answer"


async def test_a_login_that_the_next_attempt_needs_holds_up_none_of_the_others(network: Network) -> None:
    network.logins = [_codec.encode(AuthenticateResponse(token="token")), SILENCE]
    async with caller_of(A, B, clock=Clock(), credentials=Credentials("root", "secret")) as caller:
        await caller.log_in(timeout=60.0)
        slow = Hanging()
        network.script = [slow.slow(), error_for(StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token")]
        call = asyncio.create_task(caller.unary(RANGE, b"", timeout=60.0))
        await network.until(lambda: len(network.login_payloads) == 2)
        slow.answer.set_result(b"at last")
        assert await asyncio.wait_for(call, 10) == b"at last"


async def test_an_attempt_after_a_login_carries_the_new_token(network: Network) -> None:
    tokens = ["old", "new"]
    network.logins = [_codec.encode(AuthenticateResponse(token=token)) for token in tokens]
    async with caller_of(A, B, clock=Clock(), credentials=Credentials("root", "secret")) as caller:
        await caller.log_in(timeout=60.0)
        network.script = [Hanging().slow(), error_for(StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token")]
        assert await asyncio.wait_for(caller.unary(RANGE, b"", timeout=60.0), 10) == b"answer"
        assert [dict(asked.metadata)["token"] for asked in network.asked] == ["old", "old", "new"]


async def test_a_race_that_is_cancelled_again_and_again_abandons_what_has_just_turned_out_slow(
    network: Network,
) -> None:
    async with caller_of(A, B, C, clock=Clock(), backoff=QUICK) as caller:
        first, second, turn = Hanging(), Hanging(), asyncio.get_running_loop().create_future()
        places: list[Place] = []

        async def attempt(at: Place) -> bytes:
            places.append(at)
            network.notify()
            await (turn if len(places) == 1 else asyncio.Event().wait())
            raise Delayed(at, 1000.0, second.slow())

        call = caller._call(RANGE, 60.0)
        made = module.Race(caller._pursuit, call, attempt)
        async with anyio.create_task_group() as group:  # what anyio cancels is cancelled at each of its waits
            group.start_soon(made.run, Delayed(caller._pursuit.place(call, ()), 1000.0, first.slow()))
            await network.until(lambda: len(places) == 1)
            first.answer.set_exception(AttemptFailed("it", "connection lost", sent=True))
            await network.until(lambda: len(places) == 2)
            turn.set_result(None)
            asyncio.get_running_loop().call_soon(group.cancel_scope.cancel)  # when the attempt has said that it is slow
            await asyncio.Event().wait()
        assert second.is_abandoned


async def test_writes_and_calls_for_one_endpoint_never_race(network: Network) -> None:
    async with caller_of(A, B, clock=Clock()) as caller:
        await caller.unary(PUT, b"", timeout=60.0)
        await caller.unary(LEASE_GRANT, b"", timeout=60.0)
        await caller.unary(TXN, b"", timeout=60.0)
        await caller.unary(RANGE, b"", timeout=60.0, endpoint=caller.endpoint(A))
        await caller.unary(TXN, b"", timeout=60.0, repeatable=True)  # one that is cancelled can crash an old etcd
        assert [asked.looks for asked in network.asked] == [0, 0, 0, 0, 0]
        await caller.unary(RANGE, b"", timeout=60.0)
        assert network.asked[-1].looks > 0


async def test_an_attempt_that_turns_out_slow_as_the_race_ends_is_abandoned(network: Network) -> None:
    async with caller_of(A, B, clock=Clock()) as caller:
        first, second = Hanging(), Hanging()

        def as_the_race_ends() -> Slow:
            first.answer.set_result(b"answer")
            return second.slow()

        network.script = [first.slow(), as_the_race_ends]
        assert await asyncio.wait_for(caller.unary(RANGE, b"", timeout=60.0), 10) == b"answer"
        assert second.is_abandoned
