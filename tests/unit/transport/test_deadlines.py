"""The one timer of a connection's deadlines."""

import asyncio
import time

import pytest

from etcd_async._protocol.exchange import Exchange
from etcd_async._protocol.grpc import Head
from etcd_async._transport.timers import Deadlines
from tests.support.live import within

pytestmark = pytest.mark.loops("asyncio", "uvloop")


class Waiting(Exchange):
    """An exchange that only waits for its deadline."""

    __slots__ = ()

    def __init__(self, deadline: float | None) -> None:
        super().__init__(b"", None, deadline)

    @property
    def is_sent(self) -> bool:
        return True

    def on_head(self, head: Head, is_last: bool) -> None:
        raise NotImplementedError

    def on_data(self, payload: bytes) -> None:
        raise NotImplementedError

    def on_failed(self, error: Exception) -> None:
        raise NotImplementedError

    def on_lost(self, reason: str, *, is_sent: bool) -> None:
        raise NotImplementedError


class Scene:
    """Exchanges, what became of them, and how often all of them were looked at."""

    def __init__(self, *delays: float | None) -> None:
        now = time.monotonic()
        self.waiting = [Waiting(None if delay is None else now + delay) for delay in delays]
        self.late: list[float] = []
        self.looks = 0
        self.deadlines = Deadlines(self.unfinished, self.expire)
        self._change = asyncio.Event()

    def unfinished(self) -> list[Exchange]:
        self.looks += 1
        return list(self.waiting)

    def expire(self, exchange: Exchange) -> None:
        assert isinstance(exchange, Waiting)
        assert exchange.deadline is not None
        self.waiting.remove(exchange)
        self.late.append(time.monotonic() - exchange.deadline)
        self._change.set()

    async def has_expired(self, number: int) -> None:
        while len(self.late) < number:
            self._change.clear()
            await within(self._change.wait())


async def test_each_exchange_expires_at_its_deadline_and_never_before() -> None:
    scene = Scene(0.03, None, 0.01, 0.02)
    for exchange in scene.waiting:
        if exchange.deadline is not None:
            scene.deadlines.watch(exchange.deadline)
    await scene.has_expired(3)
    assert all(late >= 0 for late in scene.late)
    assert len(scene.waiting) == 1


async def test_thousands_of_deadlines_in_a_row_do_not_each_cost_a_look_at_all() -> None:
    scene = Scene(*(0.01 + number / 20_000 for number in range(2000)))
    scene.deadlines.watch(min(exchange.deadline or 0 for exchange in scene.waiting))
    await scene.has_expired(2000)
    assert scene.looks < 100


async def test_stopped_deadlines_expire_nothing() -> None:
    scene = Scene(0.0)
    scene.deadlines.watch(time.monotonic())
    scene.deadlines.stop()
    later = asyncio.Event()
    asyncio.get_running_loop().call_later(0.02, later.set)
    await within(later.wait())
    assert not scene.late
