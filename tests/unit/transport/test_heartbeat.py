"""Signs of life: asked for while something is open, and only then."""

import asyncio
import time
from itertools import pairwise

import pytest
from h2.errors import ErrorCodes
from h2.events import PingReceived

from etcd_async._protocol.machine import Signs
from etcd_async._transport import connector
from etcd_async._transport import timers as module
from etcd_async._transport.failure import AttemptFailed
from etcd_async._transport.timers import Heartbeat
from etcd_async.errors import DeadlineExceeded
from etcd_async.options import DEFAULT_TIMEOUT, TransportOptions
from tests.support.h2server import H2Server, prefixed
from tests.support.live import within
from tests.unit.transport.support import PATH, call, channel_to, options, warm

pytestmark = pytest.mark.loops("asyncio", "uvloop")

QUICK = 0.03
GRAIN = 0.001  # between the look at the clock and that of the test


async def test_a_silent_server_is_pinged_for_as_long_as_a_call_waits() -> None:
    async with H2Server() as server, channel_to(server, options(ping_interval=QUICK)) as channel:
        task = call(channel)
        request = await server.request()
        await request.peer.event(PingReceived, 4)
        request.answer(b"after all")
        assert await within(task) == b"after all"


async def test_an_idle_stream_is_pinged_too() -> None:
    async with H2Server() as server, channel_to(server, options(ping_interval=QUICK)) as channel:
        stream = await channel.open(PATH)
        await (await server.request()).peer.event(PingReceived, 2)
        stream.cancel()


async def test_an_idle_connection_is_never_pinged() -> None:
    async with H2Server() as server, channel_to(server, options(ping_interval=QUICK)) as channel:
        await warm(server, channel)
        connection = channel._connector.current
        assert connection is not None
        heart = connection._heartbeat
        before = heart._pinged  # a call that took its time was worth a ping
        while heart.is_running:  # noqa: ASYNC110 - it stops without telling
            await asyncio.sleep(QUICK / 4)
        assert heart._pinged == before
        assert channel.is_connected


async def test_no_answer_to_a_ping_ends_the_connection_at_once_with_the_reason() -> None:
    made = options(ping_interval=QUICK, ping_timeout=QUICK)
    async with H2Server() as server, channel_to(server, made) as channel:
        task = call(channel)
        request = await (await server.request()).whole()
        server.greets = False  # hears nothing from here on
        with pytest.raises(AttemptFailed, match="no sign of life") as caught:
            await within(task)
        assert caught.value.sent
        await request.peer.lost()


async def test_calls_too_short_and_too_seldom_for_a_ping_notice_a_dead_connection_too() -> None:
    """Each call is over before the interval is; the silence before it counts."""
    made = options(ping_interval=4 * QUICK, ping_timeout=QUICK)
    async with H2Server() as server, channel_to(server, made) as channel:
        await warm(server, channel)
        dead = await server.peer()
        server.greets = False  # hears nothing from here on
        async with asyncio.timeout(10):
            while not dead.is_lost:
                with pytest.raises((DeadlineExceeded, AttemptFailed)):
                    await channel.unary(PATH, b"", deadline=time.monotonic() + QUICK)
                await asyncio.sleep(5 * QUICK)  # so that each tick of the interval finds nothing open


async def test_bytes_that_cannot_be_written_do_not_delay_that_end() -> None:
    made = options(ping_interval=QUICK, ping_timeout=QUICK)
    async with H2Server() as server, channel_to(server, made) as channel:
        await warm(server, channel)
        peer = await server.peer()
        peer.transport.pause_reading()
        connection = channel._connector.current
        assert connection is not None
        connection._transport.write(bytes(20_000_000))
        assert connection._is_paused
        task = call(channel)
        with pytest.raises(AttemptFailed, match="no sign of life") as caught:
            await within(task)
        assert not caught.value.sent
        peer.transport.abort()


class Scene:
    """A heartbeat whose peer the test plays."""

    def __init__(self, interval: float = QUICK, floor: float = 0.0, *, is_awaited: bool = False) -> None:
        self.pings: list[float] = []
        self.silences: list[float] = []
        self.gave_up = asyncio.Event()
        self.pinged = asyncio.Event()
        self.is_idle = False
        self.is_awaited = is_awaited
        self.answers = True
        self.heart = Heartbeat(
            interval,
            QUICK,
            floor=floor,
            is_idle=lambda: self.is_idle,
            is_awaited=lambda: self.is_awaited,
            ping=self.ping,
            give_up=lambda seconds: self.gave_up.set(),
        )
        self.heart.heard = time.monotonic()

    async def has_pinged(self, number: int) -> list[float]:
        """Wait for the next pings and return when they were sent."""
        while len(self.pings) < number:
            self.pinged.clear()
            await within(self.pinged.wait())
        return self.pings

    def ping(self) -> None:
        self.pings.append(self.heart._pinged)
        self.silences.append(time.monotonic() - self.heart.heard)
        self.pinged.set()
        if self.answers:
            self.heart.heard = time.monotonic()


async def test_anything_heard_counts_and_postpones_the_next_ping() -> None:
    scene = Scene()
    scene.heart.start()
    started = time.monotonic()
    while time.monotonic() - started < 4 * QUICK:
        scene.heart.heard = time.monotonic()
        await asyncio.sleep(QUICK / 10)
    await within(scene.pinged.wait())
    scene.heart.stop()
    assert min(scene.silences) >= QUICK  # each ping, also one of a moment in which this loop was held up
    assert not scene.gave_up.is_set()


async def test_a_loop_that_stood_still_looks_a_second_time_before_giving_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SECOND_LOOK", 5.0)  # for this loop may stand still again
    scene = Scene()
    scene.answers = False
    scene.heart.start()
    await within(scene.pinged.wait())
    time.sleep(3 * QUICK)  # noqa: ASYNC251 - the loop is to stand still
    asyncio.get_running_loop().call_soon(lambda: asyncio.get_running_loop().call_soon(scene.ping))
    scene.answers = True
    await asyncio.sleep(QUICK)
    assert not scene.gave_up.is_set()
    scene.heart.stop()


async def test_a_call_that_waits_has_the_peer_asked_long_before_the_interval_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "HURRY", QUICK)
    scene = Scene(interval=3600, floor=0.0, is_awaited=True)
    scene.heart.start()
    asked_at, *_ = await scene.has_pinged(1)
    assert asked_at >= scene.heart.heard - QUICK
    scene.heart.stop()


async def test_a_stream_alone_waits_for_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HURRY", QUICK / 10)
    scene = Scene(interval=2 * QUICK)
    started = time.monotonic()
    scene.heart.start()
    asked_at, *_ = await scene.has_pinged(1)
    assert asked_at - started >= 2 * QUICK * 0.9
    scene.heart.stop()


async def test_however_many_calls_wait_pings_keep_their_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HURRY", QUICK / 10)
    scene = Scene(interval=3600, floor=2 * QUICK, is_awaited=True)
    scene.heart.start()
    pings = await scene.has_pinged(3)
    assert all(later - sooner >= 2 * QUICK - GRAIN for sooner, later in pairwise(pings))
    scene.heart.stop()


async def test_the_distance_is_kept_over_idle_times_too() -> None:
    scene = Scene(interval=QUICK, floor=4 * QUICK)
    scene.heart.start()
    await scene.has_pinged(1)
    scene.heart.stop()
    scene.heart.heard -= 3600
    scene.heart.start()
    first, second, *_ = await scene.has_pinged(2)
    assert second - first >= 4 * QUICK - GRAIN
    scene.heart.stop()


def test_two_pings_are_never_closer_than_the_servers_floor() -> None:
    assert module.PING_FLOOR > 5
    assert TransportOptions().ping_interval >= 5
    with pytest.raises(ValueError, match="at least 5 s"):
        TransportOptions(ping_interval=4.9)


def test_a_call_on_a_dead_connection_learns_of_it_within_its_default_timeout() -> None:
    """With a second to spare, in which a read is repeated on another connection."""
    assert module.HURRY + TransportOptions().ping_timeout <= DEFAULT_TIMEOUT - 1


@pytest.mark.loops("asyncio")
async def test_a_complaint_about_pings_doubles_their_distance_on_the_connections_to_come() -> None:
    async with H2Server() as server, channel_to(server, options(ping_interval=QUICK)) as channel:
        await warm(server, channel)
        for number, times in enumerate((2, 4)):
            peer = await server.peer(number)
            peer.goaway(2**31 - 1, ErrorCodes.ENHANCE_YOUR_CALM, b"too_many_pings")
            await peer.lost()
            await warm(server, channel)
            connection = channel._connector.current
            assert connection is not None
            assert connection._heartbeat._interval == pytest.approx(times * QUICK)
            assert connection._heartbeat._floor == pytest.approx(times * QUICK)


async def test_no_number_of_complaints_puts_an_end_to_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connector, "LONGEST_PING_INTERVAL", 3 * QUICK)
    async with H2Server() as server, channel_to(server, options(ping_interval=QUICK)) as channel:
        await warm(server, channel)
        for number in range(3):
            peer = await server.peer(number)
            peer.goaway(2**31 - 1, ErrorCodes.ENHANCE_YOUR_CALM, b"too_many_pings")
            await peer.lost()
            await warm(server, channel)
        connection = channel._connector.current
        assert connection is not None
        assert connection._heartbeat._interval == pytest.approx(3 * QUICK)


async def test_silence_is_given_up_once() -> None:
    scene = Scene()
    scene.answers = False
    scene.heart.start()
    await within(scene.gave_up.wait())
    assert not scene.heart.is_running
    assert len(scene.pings) == 1


async def test_a_peer_that_is_heard_may_be_asked_too_and_its_answer_is_a_proof() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        stream = await channel.open(PATH)
        request = await server.request()
        request.send_headers()
        request.send_data(prefixed(b"whole")[:-1])
        await request.peer.echo()
        connection = stream.connection
        assert stream.signs == Signs(stream.signs.stream, connection.heard)
        before = time.monotonic()
        connection.ask()
        connection.ask()
        await request.peer.event(PingReceived)
        await request.peer.echo()
        assert len(request.peer.events(PingReceived)) == 1
        signs = stream.signs
        assert signs.stream < before <= signs.asked <= signs.answered <= signs.connection
        stream.cancel()


async def test_answers_belong_to_pings_in_their_order() -> None:
    scene = Scene(floor=0.0, interval=3600)
    scene.heart.answered()  # to nothing
    scene.heart.start()
    scene.heart.ask()
    scene.heart.ask()  # the first is not answered yet
    assert len(scene.pings) == 1
    scene.heart.answered()
    asked, answered = scene.heart.proof
    assert asked <= scene.pings[0] <= answered == scene.heart.heard
    scene.heart.ask()
    assert len(scene.pings) == 2
    assert scene.heart.proof == (asked, answered)
    scene.heart.stop()


async def test_asking_keeps_the_distance_of_pings_and_the_idle_in_peace() -> None:
    scene = Scene(floor=3600, interval=3600)
    scene.heart.ask()
    assert not scene.pings
    scene.heart.start()
    for _ in range(3):
        scene.heart.ask()
        scene.heart.answered()
    assert len(scene.pings) == 1
    scene.heart.stop()


async def test_a_peer_that_is_asked_and_silent_is_given_up() -> None:
    scene = Scene(interval=3600)
    scene.answers = False
    scene.heart.start()
    scene.heart.ask()
    await within(scene.gave_up.wait())
