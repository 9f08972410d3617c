"""The driver of a duplex stream: opens, speaks, hears, loses and opens again, as its machine and the network would."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import pytest

from etcd_async import _codec
from etcd_async._pb.etcdserverpb import AuthenticateResponse
from etcd_async._protocol.endpoints import parse
from etcd_async._protocol.machine import AT_ONCE, NO_SIGNS, Reopen, Signs
from etcd_async._protocol.retry import MAX_STALE
from etcd_async._transport import duplex as module
from etcd_async._transport.caller import Caller
from etcd_async._transport.callstream import CallStream
from etcd_async._transport.duplex import Duplex
from etcd_async._transport.endings import MAX_PROTOCOL_ERRORS, MAX_REFUSALS
from etcd_async._transport.failure import AttemptFailed
from etcd_async._transport.methods import WATCH
from etcd_async._transport.tasks import Tasks
from etcd_async.errors import (
    ClientClosed,
    EtcdError,
    InvalidAuthToken,
    ProtocolError,
    RequestTooLarge,
    ResponseTooLarge,
    RpcError,
    StatusCode,
    error_for,
)
from etcd_async.options import Backoff, Credentials
from tests.unit.transport.fakes import SILENCE, Answer, FakeStream, Network

pytestmark = pytest.mark.loops("asyncio", "debug", "uvloop")

A, B = "http://a:1", "http://b:1"
PATIENCE = 10.0


@dataclass
class Script:
    """A machine that says what the test tells it to, and writes down what happens to it."""

    wants_stream: bool = False
    requests: list[str] = field(default_factory=list)
    wakeup: float | None = None
    ended: list[str] = field(default_factory=list)
    happened: list[str] = field(default_factory=list)
    on_answer: Callable[[str], list[str | Reopen]] = lambda answer: [f"heard {answer}"]
    is_open: bool = False
    max_answer: int | None = None
    can_do_with_less: bool = False
    stall: str | None = None
    culprit: str | None = None
    is_in_doubt: bool = False
    looks: int = 0
    looked: asyncio.Event = field(default_factory=asyncio.Event)

    def ask_for_less(self) -> bool:
        could, self.can_do_with_less = self.can_do_with_less, False
        return could

    def stream_opened(self, now: float) -> None:
        self.is_open = True
        self.happened.append("opened")

    def stream_lost(self, now: float) -> None:
        self.is_open = False
        self.happened.append("lost")

    def to_send(self, now: float) -> list[str]:
        assert self.is_open
        if self.wakeup is not None and self.wakeup <= now:
            self.wakeup = None
            self.requests.append("by the clock")
        requests, self.requests = self.requests, []
        return requests

    def receive(self, response: str, now: float) -> list[str | Reopen]:
        return self.on_answer(response)

    def doubts(self, now: float, signs: Signs) -> bool:
        return self.is_in_doubt

    def stalled(self, now: float, signs: Signs) -> str | None:
        self.looks += 1
        self.looked.set()
        return self.stall if self.is_open and signs == NO_SIGNS else None

    async def has_looked(self, number: int) -> None:
        """Wait until the driver has asked so often whether the stream is to be given up."""
        while self.looks < number:
            self.looked.clear()
            await self.looked.wait()

    def blame(self, error: EtcdError) -> list[str]:
        culprit, self.culprit = self.culprit, None
        return [culprit] if culprit else []

    def expire(self, now: float) -> list[str]:
        ended, self.ended = self.ended, []
        return ended

    def fail_all(self, error: EtcdError) -> list[str]:
        is_wanted, self.wants_stream = self.wants_stream, False
        return [f"failed: {type(error).__name__}"] if is_wanted else []

    def next_wakeup(self) -> float | None:
        return AT_ONCE if self.is_open and self.requests else self.wakeup


class Listener:
    """Takes what comes out."""

    def __init__(self) -> None:
        self.outputs: list[str] = []
        self._news = asyncio.Event()

    def __call__(self, output: str) -> None:
        self.outputs.append(output)
        self._news.set()

    async def heard(self, *expected: str) -> None:
        """Wait until exactly this has come out, all in all."""
        while len(self.outputs) < len(expected):
            self._news.clear()
            await self._news.wait()
        assert self.outputs == list(expected)


@dataclass
class Stage:
    """A duplex driver with everything around it."""

    network: Network
    machine: Script
    listener: Listener
    caller: Caller
    tasks: Tasks
    duplex: Duplex[str, str, str]
    late: float = 0.0  # by how much the clock is

    def clock(self) -> float:
        return time.monotonic() + self.late

    async def speaking(self, number: int = 0, *requests: str) -> FakeStream:
        """Ask for a stream, and wait until it is there and has sent *requests*."""
        self.machine.wants_stream = True
        self.machine.requests += requests
        self.duplex.wake()
        stream = await self.network.stream(number)
        assert await stream.has_sent(len(requests)) == [request.encode() for request in requests]
        return stream


@asynccontextmanager
async def staged(
    network: Network,
    *endpoints: str,
    credentials: Credentials | None = None,
    on_crash: Callable[[Exception], None] | None = None,
) -> AsyncIterator[Stage]:
    quick = Backoff(initial=0.0001, maximum=0.001)
    caller = Caller(
        [parse(each) for each in endpoints or (A,)], credentials=credentials, backoff=quick, random=Random(0)
    )
    crashes: list[Exception] = []
    tasks = Tasks(on_crash or crashes.append)
    machine, listener = Script(), Listener()
    duplex: Duplex[str, str, str] = Duplex(
        machine,
        WATCH,
        caller,
        tasks,
        encode=str.encode,
        decode=bytes.decode,
        deliver=lambda output: listener(output),
        clock=lambda: stage.clock(),
        backoff=quick,
        random=Random(0),
    )
    stage = Stage(network, machine, listener, caller, tasks, duplex)
    before = asyncio.all_tasks()
    try:
        async with asyncio.timeout(PATIENCE):
            yield stage
    finally:
        await tasks.aclose()
        await caller.aclose()
    assert not crashes
    assert all(stream.is_cancelled for stream in network.streams)
    assert asyncio.all_tasks() == before


def lost(endpoint: str = A) -> AttemptFailed:
    return AttemptFailed(endpoint, "connection lost", sent=True)


def no_leader() -> RpcError:
    return error_for(StatusCode.UNAVAILABLE, "etcdserver: no leader")


def denied() -> RpcError:
    return error_for(StatusCode.PERMISSION_DENIED, "etcdserver: permission denied")


def stale() -> InvalidAuthToken:
    return InvalidAuthToken(StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token")


async def settled() -> None:
    """Let everything that can happen now happen."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_what_the_machine_says_goes_out_and_what_it_makes_of_answers_comes_out(network: Network) -> None:
    async with staged(network) as stage:
        stream = await stage.speaking(0, "one", "two")
        assert stage.machine.happened == ["opened"]
        assert stage.duplex.stream is not None
        stream.put(b"a")
        stream.put(b"b")
        await stage.listener.heard("heard a", "heard b")


async def test_no_stream_is_opened_before_one_is_wanted(network: Network) -> None:
    async with staged(network) as stage:
        stage.duplex.wake()
        await settled()
        assert not network.asked
        await stage.speaking(0, "one")


async def test_news_while_the_stream_is_open_goes_out_at_once(network: Network) -> None:
    async with staged(network) as stage:
        stream = await stage.speaking(0, "one")
        stage.machine.requests.append("two")
        stage.duplex.wake()
        assert await stream.has_sent(2) == [b"one", b"two"]


async def test_an_answer_can_make_the_machine_speak(network: Network) -> None:
    async with staged(network) as stage:

        def reply(answer: str) -> list[str | Reopen]:
            stage.machine.requests.append(f"re: {answer}")
            return []

        stage.machine.on_answer = reply
        stream = await stage.speaking(0, "one")
        stream.put(b"a")
        assert await stream.has_sent(2) == [b"one", b"re: a"]


async def test_the_machine_speaks_when_it_said_it_would(network: Network) -> None:
    async with staged(network) as stage:
        stream = await stage.speaking(0, "one")
        stage.machine.wakeup = time.monotonic() + 0.02
        stage.duplex.wake()
        assert await stream.has_sent(2) == [b"one", b"by the clock"]


async def test_an_answer_can_make_the_machine_wake_earlier(network: Network) -> None:
    async with staged(network) as stage:

        def hurry(answer: str) -> list[str | Reopen]:
            stage.machine.wakeup = time.monotonic() + 0.01
            return []

        stage.machine.on_answer = hurry
        stage.machine.wakeup = time.monotonic() + 3600
        stream = await stage.speaking(0, "one")
        stream.put(b"a")
        assert await stream.has_sent(2) == [b"one", b"by the clock"]


@pytest.mark.parametrize("end", [lost(), None, no_leader(), error_for(StatusCode.UNKNOWN, "lease: not primary")])
async def test_a_lost_stream_is_replaced(network: Network, end: Answer) -> None:
    async with staged(network) as stage:
        stream = await stage.speaking(0, "one")
        stream.put(b"a")
        stream.put(end)
        await network.stream(1)
        assert stream.is_cancelled
        stage.machine.requests.append("again")
        stage.duplex.wake()
        assert await network.streams[1].has_sent(1) == [b"again"]
        assert stage.machine.happened == ["opened", "lost", "opened"]
        await stage.listener.heard("heard a")


async def test_the_next_stream_is_opened_on_another_endpoint(network: Network) -> None:
    async with staged(network, A, B) as stage:
        stream = await stage.speaking(0, "one")
        [first] = network.places()
        stream.put(lost(first))
        await network.stream(1)
        assert sorted(network.places()) == [A, B]


async def test_pauses_grow_while_nothing_is_heard(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[int] = []

    def noted(backoff: Backoff, failures: int, random: Random) -> float:
        pauses.append(failures)
        return 0.0

    monkeypatch.setattr(module, "wait", noted)
    async with staged(network) as stage:
        for number in range(3):
            (await stage.speaking(number)).put(None)
        good = await stage.speaking(3)
        good.put(b"a")
        await stage.listener.heard("heard a")
        stage.late += 1  # so long did it live
        good.put(None)
        (await stage.speaking(4)).put(None)
        await stage.speaking(5)
        assert pauses == [0, 1, 2, 0, 1]


async def test_a_peer_that_answers_once_and_hangs_up_is_not_asked_ever_faster(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[int] = []

    def noted(backoff: Backoff, failures: int, random: Random) -> float:
        pauses.append(failures)
        return 0.0

    monkeypatch.setattr(module, "wait", noted)
    async with staged(network) as stage:
        stage.duplex._backoff = Backoff(maximum=3600)
        for number in range(4):
            stream = await stage.speaking(number)
            stream.put(b"a")
            stream.put(None)
        await stage.speaking(4)
        assert pauses == [0, 1, 2, 3]


async def test_a_stream_that_leaves_something_unanswered_is_given_up_for_another_endpoint(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons: list[str] = []
    monkeypatch.setattr(CallStream, "refused", lambda stream, error: reasons.append(str(error)))
    async with staged(network, A, B) as stage:
        stream = await stage.speaking(0, "one")
        stage.machine.stall = "no answer within 3 s"
        stage.duplex.wake()
        second = await network.stream(1)
        stage.machine.stall = None
        assert stream.is_cancelled
        assert not second.is_cancelled
        assert sorted(network.places()) == [A, B]
        assert stage.machine.happened == ["opened", "lost", "opened"]
        assert reasons == ["no answer within 3 s"]


async def test_a_lone_endpoint_is_asked_again_with_a_pause_after_each_silence(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[int] = []

    def noted(backoff: Backoff, failures: int, random: Random) -> float:
        pauses.append(failures)
        return 0.0

    monkeypatch.setattr(module, "wait", noted)
    async with staged(network) as stage:
        stage.machine.stall = "no answer"
        for number in range(3):
            await stage.speaking(number)
            await network.streams[number].cancelled()
        stage.machine.stall = None
        await stage.speaking(3)
        assert pauses == [0, 0, 0]


async def test_an_answer_that_lay_in_the_socket_while_the_loop_stood_still_is_taken(network: Network) -> None:
    async with staged(network) as stage:
        stream = await stage.speaking(0, "one")
        stage.machine.stall = "no answer"

        def relieved(answer: str) -> list[str | Reopen]:
            stage.machine.stall = None
            return [f"heard {answer}"]

        stage.machine.on_answer = relieved
        looks = stage.machine.looks
        stage.duplex.wake()
        await stage.machine.has_looked(looks + 1)
        stream.put(b"a")
        await stage.listener.heard("heard a")
        await stage.machine.has_looked(looks + 2)
        await settled()
        assert not stream.is_cancelled


async def test_the_machine_is_told_what_was_heard_besides_answers(network: Network) -> None:
    async with staged(network) as stage:
        stream = await stage.speaking(0, "one")
        stream.signs = Signs(stream=1.0)
        stage.machine.stall = "no answer"
        looks = stage.machine.looks
        stage.duplex.wake()
        await stage.machine.has_looked(looks + 1)
        await settled()
        assert not stream.is_cancelled
        stream.signs = NO_SIGNS
        stage.duplex.wake()
        await stream.cancelled()


async def test_a_machine_in_doubt_has_the_server_pinged(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asyncio.Event()
    monkeypatch.setattr(CallStream, "ask", lambda stream: asked.set())
    async with staged(network) as stage:
        await stage.speaking(0, "one")
        assert not asked.is_set()
        stage.machine.is_in_doubt = True
        stage.duplex.wake()
        await asked.wait()


async def test_a_refusal_that_one_part_has_caused_ends_that_part_only(network: Network) -> None:
    async with staged(network) as stage:
        stream = await stage.speaking(0, "one")
        stage.machine.culprit = "one is refused"
        stream.put(denied())
        await stage.listener.heard("one is refused")
        await stage.speaking(1, "two")


async def test_a_denial_is_final_only_after_a_new_login(network: Network) -> None:
    network.logins = logins("t1", "t2")
    async with staged(network, credentials=Credentials("root", "pw")) as stage:
        (await stage.speaking(0, "one")).put(denied())
        second = await stage.speaking(1, "two")
        assert [dict(stream.metadata)["token"] for stream in network.streams] == ["t1", "t2"]
        assert not stage.listener.outputs
        second.put(denied())
        await stage.listener.heard("failed: PermissionDenied")


async def test_one_endpoint_that_knows_no_watches_is_no_reason_to_give_up(network: Network) -> None:
    unknown = error_for(StatusCode.UNIMPLEMENTED, "unknown service")
    async with staged(network, A, B) as stage:
        (await stage.speaking(0, "one")).put(unknown)
        second = await stage.speaking(1, "two")
        assert not stage.listener.outputs
        second.put(unknown)
        await stage.listener.heard("failed: RpcError")


async def test_a_refusal_that_may_pass_is_final_after_some_in_a_row(network: Network) -> None:
    async with staged(network) as stage:
        for number in range(MAX_REFUSALS):
            assert not stage.listener.outputs
            stream = await stage.speaking(number, "one")
            stream.put(error_for(StatusCode.RESOURCE_EXHAUSTED, "etcdserver: too many requests"))
        await stage.listener.heard("failed: TooManyRequests")


async def test_each_stream_is_shown_to_who_wants_to_see_it(network: Network) -> None:
    async with staged(network) as stage:
        seen: list[CallStream] = []
        stage.duplex._on_open = seen.append
        (await stage.speaking(0)).put(None)
        await stage.speaking(1)
        assert len(seen) == 2
        assert stage.duplex.stream is seen[1]


async def test_what_ends_by_time_ends_without_a_stream_too(network: Network) -> None:
    network.openings[A] = SILENCE
    async with staged(network) as stage:
        stage.machine.wants_stream = True
        stage.duplex.wake()
        await settled()
        stage.machine.ended.append("ended")
        stage.duplex.wake()
        await stage.listener.heard("ended")


async def test_a_stream_that_nobody_wants_is_closed_and_opened_when_wanted_again(network: Network) -> None:
    async with staged(network) as stage:
        stream = await stage.speaking(0, "one")
        stage.machine.wants_stream = False
        stage.duplex.wake()
        await stream.cancelled()
        await settled()
        assert len(network.streams) == 1
        assert stage.duplex.stream is None
        await stage.speaking(1, "two")


async def test_a_stream_that_an_answer_made_superfluous_is_closed(network: Network) -> None:
    async with staged(network) as stage:

        def satisfied(answer: str) -> list[str | Reopen]:
            stage.machine.wants_stream = False
            return ["enough"]

        stage.machine.on_answer = satisfied
        stream = await stage.speaking(0, "one")
        stream.put(b"a")
        await stream.cancelled()


async def test_a_stream_that_is_not_wanted_any_more_while_it_opens_is_given_up(network: Network) -> None:
    network.openings[A] = SILENCE
    async with staged(network) as stage:
        stage.machine.wants_stream = True
        stage.duplex.wake()
        await settled()
        stage.machine.wants_stream = False
        stage.duplex.wake()
        await settled()
        del network.openings[A]
        await stage.speaking(0, "one")


@pytest.mark.parametrize(
    "error", [denied(), error_for(StatusCode.UNIMPLEMENTED, "unknown service"), ResponseTooLarge("too large")]
)
async def test_what_no_stream_will_cure_is_told_to_the_users(
    network: Network, error: EtcdError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "wait", lambda *arguments: 0.0)
    async with staged(network) as stage:
        stream = await stage.speaking(0, "one")
        stream.put(error)
        await stage.listener.heard(f"failed: {type(error).__name__}")
        await settled()
        assert len(network.streams) == 1
        await stage.speaking(1, "two")  # for those who come later


async def test_after_an_answer_that_was_too_large_the_next_stream_is_asked_for_less(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "wait", lambda *arguments: 0.0)
    async with staged(network) as stage:
        stage.machine.max_answer, stage.machine.can_do_with_less = 7, True
        (await stage.speaking(0, "one")).put(ResponseTooLarge("too large"))
        stage.machine.max_answer = None
        second = await stage.speaking(1, "two")
        assert [stream.limit for stream in network.streams] == [7, None]
        second.put(ResponseTooLarge("too large"))
        await stage.listener.heard("failed: ResponseTooLarge")


async def test_a_user_who_can_not_log_in_is_told(network: Network) -> None:
    network.logins = [
        error_for(StatusCode.INVALID_ARGUMENT, "etcdserver: authentication failed, invalid user ID or password")
    ]
    async with staged(network, credentials=Credentials("root", "wrong")) as stage:
        stage.machine.wants_stream = True
        stage.duplex.wake()
        await stage.listener.heard("failed: AuthFailed")


def logins(*tokens: str) -> list[Answer]:
    return [_codec.encode(AuthenticateResponse(token=token)) for token in tokens]


async def test_a_token_that_the_stream_is_refused_for_is_replaced(network: Network) -> None:
    network.logins = logins("t1", "t2")
    async with staged(network, credentials=Credentials("root", "pw")) as stage:
        stream = await stage.speaking(0, "one")
        stream.put(stale())
        await network.stream(1)
        assert [dict(stream.metadata)["token"] for stream in network.streams] == ["t1", "t2"]


async def test_a_token_that_one_answer_refuses_is_replaced_and_the_stream_reopened(network: Network) -> None:
    network.logins = logins("t1", "t2")
    async with staged(network, credentials=Credentials("root", "pw")) as stage:
        stage.machine.on_answer = lambda answer: [Reopen(stale())]
        stream = await stage.speaking(0, "one")
        stream.put(b"refused")
        await network.stream(1)
        assert stream.is_cancelled
        assert [dict(stream.metadata)["token"] for stream in network.streams] == ["t1", "t2"]
        assert stage.listener.outputs == []


async def test_without_a_user_a_demand_for_one_is_told_after_a_few_streams(network: Network) -> None:
    async with staged(network) as stage:
        stage.machine.on_answer = lambda answer: [Reopen(stale())]
        await stage.speaking(0, "one")
        for number in range(MAX_STALE):
            assert stage.listener.outputs == []
            (await network.stream(number)).put(b"refused")
        await stage.listener.heard("failed: InvalidAuthToken")
        assert len(network.streams) == MAX_STALE


async def test_a_member_that_can_not_serve_is_left(network: Network) -> None:
    async with staged(network, A, B) as stage:
        stage.machine.on_answer = lambda answer: [Reopen(no_leader())]
        stream = await stage.speaking(0, "one")
        stream.put(b"refused")
        await network.stream(1)
        assert sorted(network.places()) == [A, B]


MALFORMED = b"\xff"


async def test_a_malformed_message_costs_the_stream_and_too_many_in_a_row_all(network: Network) -> None:
    async with staged(network) as stage:
        for number in range(MAX_PROTOCOL_ERRORS):
            stream = await stage.speaking(number, "one")
            stream.put(MALFORMED)
        await stage.listener.heard("failed: ProtocolError")


async def test_a_malformed_message_after_a_good_one_begins_the_count_anew(network: Network) -> None:
    async with staged(network) as stage:
        for number in range(MAX_PROTOCOL_ERRORS - 1):
            (await stage.speaking(number, "one")).put(MALFORMED)
        good = await stage.speaking(MAX_PROTOCOL_ERRORS - 1, "one")
        good.put(b"a")
        good.put(None)
        (await stage.speaking(MAX_PROTOCOL_ERRORS, "one")).put(ProtocolError("nonsense"))
        await stage.speaking(MAX_PROTOCOL_ERRORS + 1, "one")
        assert stage.listener.outputs == ["heard a"]


async def test_a_request_that_is_too_large_to_be_sent_is_told(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: FakeStream, payload: bytes) -> None:
        raise RequestTooLarge(StatusCode.RESOURCE_EXHAUSTED, "etcdserver: request is too large")

    async with staged(network) as stage:
        await stage.speaking(0, "one")
        monkeypatch.setattr(FakeStream, "send", refuse)
        stage.machine.requests.append("large")
        stage.duplex.wake()
        await stage.listener.heard("failed: RequestTooLarge")


async def test_closing_the_tasks_gives_up_everything_and_closes_the_stream(network: Network) -> None:
    async with staged(network) as stage:
        stream = await stage.speaking(0, "one")
        await stage.tasks.aclose()
        assert stream.is_cancelled
        assert stage.listener.outputs == ["failed: ClientClosed"]
        stage.machine.wants_stream = True
        stage.duplex.wake()
        assert stage.listener.outputs == ["failed: ClientClosed"] * 2


async def test_the_first_wish_after_the_end_is_given_up(network: Network) -> None:
    async with staged(network) as stage:
        await stage.tasks.aclose()
        stage.machine.wants_stream = True
        stage.duplex.wake()
        assert stage.listener.outputs == ["failed: ClientClosed"]


async def test_a_closed_caller_is_the_end(network: Network) -> None:
    async with staged(network) as stage:
        stream = await stage.speaking(0, "one")
        stream.put(ClientClosed())
        await stage.listener.heard("failed: ClientClosed")


async def test_a_bug_in_what_takes_the_outputs_is_a_crash(network: Network) -> None:
    crashes: list[Exception] = []
    async with staged(network, on_crash=crashes.append) as stage:

        def fail(answer: str) -> list[str | Reopen]:
            raise ZeroDivisionError("bug")

        stage.machine.on_answer = fail
        stream = await stage.speaking(0, "one")
        stream.put(b"a")
        await stage.listener.heard("failed: ClientClosed")
        with pytest.raises(ZeroDivisionError):
            await stage.tasks.aclose()
    assert len(crashes) == 1


def test_driver_caller_and_tasks_are_made_without_a_running_loop(network: Network) -> None:
    caller, tasks, machine = Caller([parse(A)]), Tasks(lambda error: None), Script()
    outputs: list[str] = []
    duplex: Duplex[str, str, str] = Duplex(
        machine,
        WATCH,
        caller,
        tasks,
        encode=str.encode,
        decode=bytes.decode,
        deliver=outputs.append,
        clock=time.monotonic,
    )

    async def main() -> None:
        machine.wants_stream = True
        duplex.wake()
        async with asyncio.timeout(PATIENCE):
            await network.stream(0)
        await tasks.aclose()
        await caller.aclose()

    asyncio.run(main())
    assert outputs == ["failed: ClientClosed"]
