"""A duplex stream's driver on a network of fakes, with a machine that follows a script."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import pytest

from etcd_async._protocol.endpoints import parse
from etcd_async._protocol.machine import AT_ONCE, NO_SIGNS, Reopen, Signs
from etcd_async._transport import duplex as module
from etcd_async._transport.caller import Caller
from etcd_async._transport.duplex import Duplex
from etcd_async._transport.failure import AttemptFailed
from etcd_async._transport.methods import WATCH
from etcd_async._transport.tasks import Tasks
from etcd_async.errors import (
    EtcdError,
    RpcError,
    StatusCode,
    error_for,
)
from etcd_async.options import Backoff, Credentials
from tests.unit.transport.fakes import FakeStream, Network

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


def noted_pauses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have the driver pause for no time, and return the list to which it adds after how many failures it would."""
    pauses: list[int] = []

    def noted(backoff: Backoff, failures: int, random: Random) -> float:
        pauses.append(failures)
        return 0.0

    monkeypatch.setattr(module, "wait", noted)
    return pauses
