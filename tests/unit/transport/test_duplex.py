"""The driver of a duplex stream: opens, speaks, hears, loses and opens again, as its machine and the network would."""

import asyncio
import time

import pytest

from etcd_async._protocol.endpoints import parse
from etcd_async._protocol.machine import NO_SIGNS, Reopen, Signs
from etcd_async._transport.caller import Caller
from etcd_async._transport.callstream import CallStream
from etcd_async._transport.duplex import Duplex
from etcd_async._transport.methods import WATCH
from etcd_async._transport.tasks import Tasks
from etcd_async.errors import (
    ClientClosed,
    StatusCode,
    error_for,
)
from etcd_async.options import Backoff
from tests.unit.transport.fakes import SILENCE, Answer, Network
from tests.unit.transport.staging import PATIENCE, A, B, Script, lost, no_leader, noted_pauses, staged
from tests.unit.transport.support import settled

pytestmark = pytest.mark.loops("asyncio", "debug", "uvloop")


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
    pauses = noted_pauses(monkeypatch)
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
    pauses = noted_pauses(monkeypatch)
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
    pauses = noted_pauses(monkeypatch)
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
