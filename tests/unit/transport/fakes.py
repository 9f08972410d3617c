"""Stand-ins for channels and streams, which answer as the test says; nothing here imitates etcd."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass

from etcd_async import _codec
from etcd_async._pb.etcdserverpb import StatusResponse
from etcd_async._protocol.endpoints import Endpoint
from etcd_async._protocol.headers import Metadata
from etcd_async._protocol.machine import NO_SIGNS
from etcd_async.options import TLS, Backoff, TransportOptions

_HEALTHY = _codec.encode(StatusResponse(leader=1))


class Silence:
    """An answer that never comes."""


SILENCE = Silence()
Answer = bytes | Exception | Silence | None


async def given(answer: Answer) -> bytes | None:
    """Return, or raise, what the test has put down."""
    if isinstance(answer, Silence):
        await asyncio.Event().wait()
    if isinstance(answer, Exception):
        raise answer
    assert not isinstance(answer, Silence)
    return answer


class FakeStream:
    """A stream that hands out what the test puts into it."""

    def __init__(self, path: str, metadata: Metadata, answers: list[Answer], limit: int | None) -> None:
        self.limit = limit
        self.path = path
        self.metadata = metadata
        self.sent: list[bytes] = []
        self.is_ended = False
        self.is_cancelled = False
        self.signs = NO_SIGNS
        self._answers = deque(answers)
        self._news = asyncio.Event()
        self._done = asyncio.Event()

    def put(self, answer: Answer) -> None:
        """Let `receive` come to this."""
        self._answers.append(answer)
        self._news.set()

    def send(self, payload: bytes, *, end: bool = False) -> None:
        self.sent.append(payload)
        self.is_ended = end
        self._done.set()

    def cancel(self) -> None:
        self.is_cancelled = True
        self._done.set()

    async def has_sent(self, count: int) -> list[bytes]:
        """Wait until *count* messages were sent, and return them."""
        while len(self.sent) < count:
            await self._change()
        return self.sent

    async def cancelled(self) -> None:
        """Wait until the stream was given up."""
        while not self.is_cancelled:
            await self._change()

    async def receive(self) -> bytes | None:
        while not self._answers:
            self._news.clear()
            await self._news.wait()
        return await given(self._answers.popleft())

    async def _change(self) -> None:
        self._done.clear()
        await self._done.wait()


@dataclass
class Asked:
    """One attempt that reached a channel."""

    endpoint: str
    path: str
    payload: bytes
    metadata: Metadata
    deadline: float | None
    patience: float | None = None
    looks: int = 0


class Network:
    """
    All endpoints of a test.

    Attributes:
        answers: By endpoint, what each attempt gets, in order; the last one is kept.
        script: What the next attempts get, wherever they go, before *answers*; or a function that returns it.
        logins: What each login gets, in the same way, wherever it is made.
        probes: What each request for a status gets, in the same way, by endpoint.
        openings: By endpoint, why streams can't be opened there.
        asked: Every attempt but logins and probes, in order.
        probed: The endpoint of every probe.
        streams: Every stream, in order.
        channels: Every channel, in order.
    """

    def __init__(self) -> None:
        self.answers: defaultdict[str, list[Answer]] = defaultdict(lambda: [b"answer"])
        self.script: list[Answer | Callable[[], Answer]] = []
        self.logins: list[Answer] = []
        self.probes: defaultdict[str, list[Answer]] = defaultdict(lambda: [_HEALTHY])
        self.probed: list[str] = []
        self.openings: dict[str, Answer] = {}
        self.messages: list[Answer] = []
        self.asked: list[Asked] = []
        self.login_payloads: list[bytes] = []
        self.streams: list[FakeStream] = []
        self.channels: list[FakeChannel] = []
        self._opened = asyncio.Event()
        self._changed = asyncio.Event()

    def channel(
        self,
        endpoint: Endpoint,
        *,
        tls: TLS | None,
        options: TransportOptions,
        backoff: Backoff,
        on_change: Callable[[], None],
        on_slow: Callable[[], None],
    ) -> FakeChannel:
        """Stand in for the class `Channel`."""
        channel = FakeChannel(self, endpoint, options, on_change, on_slow)
        self.channels.append(channel)
        return channel

    def places(self) -> list[str]:
        """Return the endpoints of all attempts."""
        return [each.endpoint for each in self.asked]

    async def stream(self, number: int) -> FakeStream:
        """Wait for a stream to be opened, counted from 0, and return it."""
        while len(self.streams) <= number:
            self._opened.clear()
            await self._opened.wait()
        return self.streams[number]

    def opened(self, stream: FakeStream) -> None:
        """Take note of a stream."""
        self.streams.append(stream)
        self._opened.set()

    def next_answers(self, endpoint: str) -> list[Answer]:
        """Return what an attempt there gets first, and what those after it."""
        if not self.script:
            return self.answers[endpoint]
        scripted = self.script.pop(0)
        return [scripted() if callable(scripted) else scripted]

    def notify(self) -> None:
        """Let `until` look again."""
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until *condition* holds; it is asked with every attempt, login and probe."""
        async with asyncio.timeout(10):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


class FakeChannel:
    """One endpoint of a `Network`."""

    def __init__(
        self,
        network: Network,
        endpoint: Endpoint,
        options: TransportOptions,
        on_change: Callable[[], None],
        on_slow: Callable[[], None],
    ) -> None:
        self.endpoint = endpoint
        self.options = options
        self.on_change = on_change
        self.on_slow = on_slow
        self.is_closed = self.has_left = False
        self.is_connected = self.is_idle = True
        self.renewed: list[float] = []
        self._network = network

    async def unary(
        self,
        path: str,
        payload: bytes,
        *,
        metadata: Metadata = (),
        deadline: float | None,
        patience: float | None = None,
        looks: int = 0,
    ) -> bytes:
        network = self._network
        if path.endswith("/Authenticate"):
            network.login_payloads.append(payload)
            network.notify()
            answers = network.logins
        elif path.endswith("/Status"):
            network.probed.append(self.endpoint.text)
            network.notify()
            answers = network.probes[self.endpoint.text]
        else:
            asked = Asked(self.endpoint.text, path, payload, metadata, deadline, patience, looks)
            network.asked.append(asked)
            network.notify()
            answers = network.next_answers(self.endpoint.text)
        answer = await given(answers.pop(0) if len(answers) > 1 else answers[0])
        assert answer is not None
        return answer

    async def open(
        self,
        path: str,
        *,
        metadata: Metadata = (),
        deadline: float | None = None,
        patience: float | None = None,
        limit: int | None = None,
    ) -> FakeStream:
        network = self._network
        network.asked.append(Asked(self.endpoint.text, path, b"", metadata, deadline, patience))
        await given(network.openings.get(self.endpoint.text))
        stream = FakeStream(path, metadata, network.messages, limit)
        network.opened(stream)
        return stream

    def renew(self, *, since: float) -> None:
        self.renewed.append(since)

    async def leave(self, grace: float) -> None:
        self.has_left = True

    async def aclose(self) -> None:
        self.is_closed = True
