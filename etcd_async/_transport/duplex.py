"""
Drives a machine over real streams: opens one while it is wanted, carries what is said both ways, and when the stream is
lost or falls silent waits a little and opens the next, on another endpoint if there is one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Final, Generic, TypeVar

import anyio

from etcd_async._protocol.endpoints import Endpoint
from etcd_async._protocol.machine import Machine, Reopen
from etcd_async._protocol.retry import Outcome, classify, wait
from etcd_async._transport.caller import Caller
from etcd_async._transport.callstream import CallStream
from etcd_async._transport.endings import Endings
from etcd_async._transport.methods import Method
from etcd_async._transport.tasks import Background, Tasks
from etcd_async.errors import (
    ClientClosed,
    DeadlineExceeded,
    EtcdError,
    InvalidAuthToken,
    ProtocolError,
    ResponseTooLarge,
    RpcError,
    StatusCode,
)
from etcd_async.options import Backoff

OPEN_TIMEOUT: Final = 10.0
SECOND_LOOK: Final = 0.02  # seconds for an answer that lies in the socket, because the loop itself stood still

Request = TypeVar("Request")
Response = TypeVar("Response")
Output = TypeVar("Output")


class Duplex(Generic[Request, Response, Output]):
    """
    The stream of one machine; its task starts with the first `wake`.

    Lost and silent streams, servers that stop and tokens that expire are overcome, for as long as it takes. What no
    other stream would cure (see `Endings`) is handed to `Machine.fail_all`, unless it is one part's only
    (`Machine.blame`).

    Args:
        machine: What is said and what it means.
        method: Of kind DUPLEX.
        encode: From a request to bytes.
        decode: From bytes to an answer; a ValueError means that they are malformed.
        deliver: Takes each output of the machine, in order. It must not wait, and may change the machine and `wake`.
        clock: Monotonic seconds.
        on_open: Called with each stream that was opened.
        backoff: Between streams. Only one that lived for its maximum, and said something sensible, begins it anew.
        random: For jitter.
    """

    def __init__(
        self,
        machine: Machine[Request, Response, Output],
        method: Method,
        caller: Caller,
        tasks: Tasks,
        *,
        encode: Callable[[Request], bytes],
        decode: Callable[[bytes], Response],
        deliver: Callable[[Output], None],
        clock: Callable[[], float],
        on_open: Callable[[CallStream], None] | None = None,
        backoff: Backoff | None = None,
        random: Random | None = None,
    ) -> None:
        self._machine = machine
        self._method = method
        self._caller = caller
        self._tasks = tasks
        self._encode = encode
        self._decode = decode
        self._deliver = deliver
        self._clock = clock
        self._on_open = on_open
        self._backoff = backoff or Backoff()
        self._random = random or Random()
        self._background: Background[None] | None = None
        self._stream: CallStream | None = None
        self._listening: anyio.CancelScope | None = None  # not made here: the first one needs a running loop
        self._hearing: anyio.CancelScope | None = None
        self._avoid: tuple[Endpoint, ...] = ()  # where the last stream was lost
        self._endings = Endings(caller)
        self._has_heard = False  # something sensible, on the present stream
        self._was_refused = self._may_hurry = False
        self._news = asyncio.Event()
        self._wanted = asyncio.Event()
        self._wakeup: float | None = None  # when `_speak` looks again by itself

    @property
    def stream(self) -> CallStream | None:
        """The present stream, if there is one."""
        return self._stream

    def wake(self) -> None:
        """Look at the machine again: it was changed. If the client is closed, everything in it is given up."""
        if self._background is None:
            self._start()
        elif self._background.future.done():
            self._give_up(ClientClosed())
        self._news.set()

    def _start(self) -> None:
        try:
            self._background = self._tasks.start(f"etcd_async {self._method.path}", self._run)
        except ClientClosed as error:
            self._give_up(error)

    async def _run(self) -> None:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._listen)
                await self._speak()
        finally:
            self._give_up(ClientClosed())

    async def _speak(self) -> None:
        """Send what is due, and let end what has had its time, whenever there is news or the machine asks for it."""
        while True:
            self._news.clear()
            await self._judge()
            self._say()
            self._notice_wishes()
            self._wakeup = self._machine.next_wakeup()
            with anyio.move_on_after(None if self._wakeup is None else max(0.0, self._wakeup - self._clock())):
                await self._news.wait()

    async def _judge(self) -> None:
        """Give the present stream up if it leaves something unanswered for too long."""
        stream = self._stream
        if stream is None:
            return
        if self._machine.doubts(self._clock(), stream.signs):
            stream.ask()
        if self._machine.stalled(self._clock(), stream.signs) is None:
            return
        await anyio.sleep(SECOND_LOOK)
        if stream is not self._stream:
            return
        reason = self._machine.stalled(self._clock(), stream.signs)
        if reason is not None and self._hearing is not None:
            stream.refused(DeadlineExceeded(reason))
            self._forget(stream)
            self._hearing.cancel()

    def _say(self) -> None:
        now = self._clock()
        for output in self._machine.expire(now):
            self._deliver(output)
        if self._stream is None:
            return
        try:
            for request in self._machine.to_send(now):
                self._stream.send(self._encode(request))
        except EtcdError as error:  # larger than may be sent
            self._give_up(error)

    def _notice_wishes(self) -> None:
        if self._machine.wants_stream:
            self._wanted.set()
        else:
            self._wanted.clear()
            if self._listening is not None:
                self._listening.cancel()

    async def _listen(self) -> None:
        """Hold one stream after the other, with a pause after each that was lost."""
        failures = 0
        while True:
            await self._wanted.wait()
            with anyio.CancelScope() as self._listening:
                failures = 1 if await self._hold_stream() else failures + 1
                if not self._may_hurry:
                    await anyio.sleep(wait(self._backoff, failures - 1, self._random))
                continue
            failures = 0  # nobody wanted it any more

    async def _hold_stream(self) -> bool:
        """Hold one stream until it is lost, and return whether the next one may follow soon."""
        limit, avoid = self._machine.max_answer, self._avoid
        self._avoid = ()
        self._may_hurry = False
        try:
            stream = await self._caller.open(self._method, timeout=OPEN_TIMEOUT, limit=limit, avoid=avoid)
        except EtcdError as error:
            self._ended(None, error)
            return False
        opened_at = self._clock()
        self._avoid = (stream.endpoint,)
        self._has_heard = False
        with anyio.CancelScope() as self._hearing:
            await self._hear_out(stream)
        has_lived = self._clock() - opened_at >= self._backoff.maximum
        return self._hearing.cancelled_caught or (self._has_heard and has_lived)

    async def _hear_out(self, stream: CallStream) -> None:
        """Hear the stream until it ends, and draw the conclusions."""
        try:
            self._opened(stream)
            await self._hear(stream)
            return
        except EtcdError as error:
            outputs, failure = self._machine.blame(error), error
        finally:
            self._lost(stream)
        for output in outputs:
            self._deliver(output)
        if not outputs:
            self._ended(stream, failure)

    def _opened(self, stream: CallStream) -> None:
        self._stream = stream
        self._machine.stream_opened(self._clock())
        if self._on_open is not None:
            self._on_open(stream)
        self._news.set()

    def _lost(self, stream: CallStream) -> None:
        stream.cancel()
        self._forget(stream)

    def _forget(self, stream: CallStream) -> None:
        if self._stream is stream:
            self._stream = None
            self._machine.stream_lost(self._clock())

    def _give_up(self, error: EtcdError) -> None:
        for output in self._machine.fail_all(error):
            self._deliver(output)
        self._notice_wishes()

    async def _hear(self, stream: CallStream) -> None:
        while (message := await stream.receive()) is not None:
            self._take(stream, message)
            if self._is_impatient():
                self._news.set()

    def _is_impatient(self) -> bool:
        """Return whether the machine wants something sooner than `_speak` looks by itself."""
        wakeup = self._machine.next_wakeup()
        is_sooner = wakeup is not None and (self._wakeup is None or wakeup < self._wakeup)
        return is_sooner or not self._machine.wants_stream

    def _take(self, stream: CallStream, message: bytes) -> None:
        try:
            response = self._decode(message)
        except ValueError as error:
            raise ProtocolError(f"malformed message on {self._method.path}: {error}") from error
        for output in self._machine.receive(response, self._clock()):
            if isinstance(output, Reopen):
                self._refused(stream, output.error)
                raise output.error
            self._deliver(output)
        self._has_heard, self._was_refused = True, False
        self._endings.heard()

    def _refused(self, stream: CallStream, error: RpcError) -> None:
        """Have a stale token replaced, at once if it is the first: the server that issues the next may restart soon."""
        self._has_heard = False
        is_stale = self._caller.has_user and classify(error) is Outcome.STALE_TOKEN
        self._may_hurry = is_stale and not self._was_refused
        self._was_refused = True
        stream.refused(error)

    def _ended(self, stream: CallStream | None, error: EtcdError) -> None:
        """Draw the conclusions of the end of a stream, or of the attempt to open one."""
        if isinstance(error, ResponseTooLarge):
            is_final = not self._machine.ask_for_less()
        else:
            is_final = self._endings.is_final(error, was_open=stream is not None)
        if is_final:
            self._give_up(error)
        elif stream is not None and self._endings.asks_for_login(error):
            stream.refused(InvalidAuthToken(StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token"))
