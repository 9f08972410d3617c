"""
One call on several endpoints: which one, with which token, until when, and what to do if it fails.

What to do is decided in `_protocol.retry`, where to go next in `_protocol.endpoints`; here both are carried out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final, TypeVar

import anyio

from etcd_async import _codec
from etcd_async._pb.etcdserverpb import AuthenticateRequest, AuthenticateResponse
from etcd_async._protocol.endpoints import Endpoint, EndpointState, Pool, parse
from etcd_async._protocol.headers import Metadata
from etcd_async._protocol.retry import Action, Outcome
from etcd_async._transport.attempts import Call, attempt_deadline, outcome_of, reason_of
from etcd_async._transport.callstream import CallStream
from etcd_async._transport.channel import Channel
from etcd_async._transport.failure import AttemptFailed
from etcd_async._transport.methods import AUTHENTICATE, Kind, Method
from etcd_async._transport.stream import Stream
from etcd_async._transport.token import Token
from etcd_async.errors import Attempt, ClientClosed, DeadlineExceeded, EtcdError, RpcError, StatusCode
from etcd_async.options import TLS, Backoff, Credentials, TransportOptions

COMMON_METADATA: Final[Metadata] = (("client-api-version", "3.5"),)
HAS_LEADER: Final[Metadata] = (("hasleader", "true"),)
"""Ends a stream on a member that has lost its leader, instead of leaving it silent: clientv3.WithRequireLeader."""

LOGIN_TIMEOUT: Final = 10.0  # a login is shared, so it is not bound to the timeout of any one call
SHORTEST_CONNECT_TIMEOUT: Final = 1.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an attempt goes, and as whom."""

    endpoint: Endpoint
    channel: Channel
    metadata: Metadata


class Caller:
    """
    Makes calls, on whichever endpoint answers; made without a running loop, used in one.

    Args:
        endpoints: At least one; the same one twice counts once.
        tls: For endpoints with TLS.
        options: Of each connection. Of several endpoints each may take only its share of the time to connect.
        credentials: Whom to log in as.
        token: What calls carry instead of logging in.
        backoff: Between rounds of attempts, and until a failed endpoint is tried again.
        clock: Monotonic seconds, the same as the channels' own.
        random: For jitter, and for which endpoint comes first.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        *,
        tls: TLS | None = None,
        options: TransportOptions | None = None,
        credentials: Credentials | None = None,
        token: str | None = None,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic,
        random: Random | None = None,
    ) -> None:
        self._backoff = backoff or Backoff()
        self._random = random or Random()
        self._clock = clock
        self._pool = Pool(endpoints, backoff=self._backoff, random=self._random)
        self._tls = tls
        self._options = _for_several(options or TransportOptions(), len(self._pool))
        self._channels: dict[str, Channel] = {}
        self._credentials = credentials
        log_in = self._authenticate if credentials else None
        self._token = Token(log_in, COMMON_METADATA, given=token, causes=self._causes, clock=clock, random=self._random)
        self._closed = asyncio.Event()

    def __repr__(self) -> str:
        return ", ".join(state.endpoint for state in self.endpoints())

    @property
    def has_user(self) -> bool:
        """True if calls are made as a user, so that a refused token can be replaced."""
        return self._token.has_user

    @property
    def max_send_bytes(self) -> int:
        """The largest message that may be sent."""
        return self._options.max_send_bytes

    def endpoints(self) -> tuple[EndpointState, ...]:
        """Return what is known of every endpoint."""
        return self._pool.state()

    def addresses(self) -> tuple[Endpoint, ...]:
        """Return every endpoint that calls may go to."""
        return self._pool.endpoints

    def endpoint(self, text: str) -> Endpoint:
        """
        Return the endpoint of that spelling, for a call that must go there; it need not be one of `addresses`.

        Raises:
            ValueError: *text* can't be read.
        """
        return parse(text)

    async def unary(
        self,
        method: Method,
        payload: bytes,
        *,
        timeout: float | None,
        repeatable: bool | None = None,
        endpoint: Endpoint | None = None,
    ) -> bytes:
        """
        Send one request and return its answer; safe to cancel.

        Args:
            method: Of kind UNARY.
            payload: The encoded request.
            timeout: Seconds for everything: login, connection, all attempts; None for no limit.
            repeatable: Overrides the method's own; True for one that is not repeatable means that this call only reads.
            endpoint: The only one to ask, of those that the client knows or not (`endpoint`); None for any.

        Raises:
            RpcError: The server's answer; ``maybe_applied`` tells the truth about writes.
            Unavailable: No endpoint answered; names each with the reason.
            DeadlineExceeded: *timeout* passed.
            ProtocolError, ResponseTooLarge: The answer could not be taken.
            ClientClosed: The client was closed, before or during the call.
        """
        now = self._clock()
        deadline = None if timeout is None else now + timeout
        repeatable = method.repeatable if repeatable is None else repeatable
        token = self._token
        if method.needs_token and not token.is_current:
            await token.ready(timeout)
            now = self._clock()
        at = endpoint or self._pool.choose(now)
        metadata = token.metadata if method.needs_token else COMMON_METADATA
        channel = self._channels.get(at.text) or self._channel(at)
        untried = 1 if endpoint else len(self._pool)
        until = attempt_deadline(deadline, now, repeatable=repeatable, untried=untried)
        try:
            answer = await channel.unary(method.path, payload, metadata=metadata, deadline=until)
        except (EtcdError, AttemptFailed) as error:
            failure = error
        else:
            self._pool.succeeded(at)
            return answer

        async def attempt(at: _Place, until: float | None) -> bytes:
            return await at.channel.unary(method.path, payload, metadata=at.metadata, deadline=until)

        call = self._call(method, deadline, repeatable=repeatable, only=endpoint)
        await self._recover(call, _Place(at, channel, metadata), failure)
        return await self._attempt(call, attempt)

    async def ask(self, method: Method, payload: bytes, *, timeout: float | None) -> bytes:
        """Send one request on a duplex stream of its own and return its first answer; errors are those of `unary`."""

        async def attempt(at: _Place, until: float | None) -> bytes:
            stream = await at.channel.open(method.path, metadata=at.metadata, deadline=until)
            try:
                stream.send(payload, end=True)
                answer = await stream.receive()
            finally:
                stream.cancel()
            if answer is None:
                raise AttemptFailed(at.endpoint.text, "the server ended the stream without an answer", sent=True)
            return answer

        return await self._attempt(self._call(method, self._deadline(timeout)), attempt)

    async def open(
        self,
        method: Method,
        payload: bytes | None = None,
        *,
        timeout: float | None,
        limit: int | None = None,
        endpoint: Endpoint | None = None,
        avoid: Collection[Endpoint] = (),
    ) -> CallStream:
        """
        Open a server stream for one request, or a duplex stream for requests to come.

        Args:
            method: Of kind SERVER_STREAM or DUPLEX.
            payload: The one request, encoded; None for a duplex stream.
            timeout: Seconds until it must be open, login and connection included; the stream itself has no deadline.
            limit: Largest message to receive, in bytes, if that is less than ``max_receive_bytes``.
            endpoint: The only one to go to; None for any.
            avoid: Where not to go while there is anywhere else, such as where the last stream fell silent.

        Raises:
            Unavailable: No endpoint could be connected to; names each with the reason.
            DeadlineExceeded: *timeout* passed.
            ClientClosed: The client was closed.
        """

        async def attempt(at: _Place, until: float | None) -> CallStream:
            stream = await self._open(method, at, until, limit)
            try:
                if payload is not None:
                    stream.send(payload, end=True)
            except EtcdError:  # larger than may be sent
                stream.cancel()
                raise
            return CallStream(stream, at.endpoint, lambda error: self._note(at, error))

        call = self._call(method, self._deadline(timeout), only=endpoint)
        call.tried.update(avoid)
        return await self._attempt(call, attempt)

    async def log_in(self, *, timeout: float | None) -> None:
        """Make sure that user and password are accepted, if there are any; errors are those of `unary`."""
        if not self._token.is_current:
            await self._token.ready(timeout)

    async def aclose(self) -> None:
        """End every call and stream with `ClientClosed`, and the connections; from any task, any number of times."""
        self._closed.set()
        await self._token.aclose()
        async with anyio.create_task_group() as group:
            for channel in self._channels.values():
                group.start_soon(channel.aclose)

    async def _attempt(self, call: Call, attempt: Callable[[_Place, float | None], Awaitable[T]]) -> T:
        """Make attempts until one succeeds or no other may be made."""
        while True:
            now = self._clock()
            if call.method.needs_token and not self._token.is_current:
                await self._token.ready(call.remaining(now))
            at = self._place(call, now)
            try:
                result = await attempt(at, call.until(now))
            except (EtcdError, AttemptFailed) as error:
                failure = error
            else:
                self._pool.succeeded(at.endpoint)
                return result
            await self._recover(call, at, failure)

    def _place(self, call: Call, now: float) -> _Place:
        endpoint = call.only or self._pool.choose(now, call.tried)
        metadata = self._token.metadata if call.method.needs_token else COMMON_METADATA
        return _Place(endpoint, self._channels.get(endpoint.text) or self._channel(endpoint), metadata)

    async def _recover(self, call: Call, at: _Place, error: EtcdError | AttemptFailed) -> None:
        """Wait until the next attempt is due; raise if there is none."""
        self._note(at, error)
        decision = call.failed(at.endpoint, error)
        remaining = call.remaining(self._clock())
        if decision.action is Action.GIVE_UP or (remaining is not None and remaining <= decision.delay):
            raise call.final(error) from error.__cause__
        if decision.delay:
            with anyio.move_on_after(decision.delay):
                await self._closed.wait()

    def _note(self, at: _Place, error: EtcdError | AttemptFailed) -> None:
        """Draw the conclusions of a failure for calls to come."""
        if outcome_of(error) is Outcome.STALE_TOKEN:
            self._token.drop(at.metadata)
        if isinstance(error, AttemptFailed | DeadlineExceeded) or _is_unavailable(error):
            self._pool.failed(at.endpoint, self._clock(), reason_of(error))

    async def _open(self, method: Method, at: _Place, until: float | None, limit: int | None) -> Stream:
        metadata = at.metadata + HAS_LEADER if method.kind is Kind.DUPLEX else at.metadata
        with anyio.move_on_after(None if until is None else until - self._clock()):
            return await at.channel.open(method.path, metadata=metadata, limit=limit)
        raise DeadlineExceeded("the deadline passed while connecting")

    def _channel(self, endpoint: Endpoint) -> Channel:
        if self._closed.is_set():
            raise ClientClosed
        channel = Channel(endpoint, tls=self._tls, options=self._options, backoff=self._backoff)
        self._channels[endpoint.text] = channel
        return channel

    def _call(
        self, method: Method, deadline: float | None, *, repeatable: bool = True, only: Endpoint | None = None
    ) -> Call:
        return Call(
            method,
            deadline,
            repeatable=repeatable,
            only=only,
            endpoints=1 if only else len(self._pool),
            has_user=self.has_user,
            backoff=self._backoff,
            random=self._random,
        )

    def _deadline(self, timeout: float | None) -> float | None:
        return None if timeout is None else self._clock() + timeout

    def _causes(self) -> list[Attempt]:
        """Return what is wrong with the endpoints, for a call that came no further than the login."""
        return [Attempt(state.endpoint, state.last_error) for state in self._pool.state() if not state.is_healthy]

    async def _authenticate(self) -> str:
        assert self._credentials is not None
        request = AuthenticateRequest(name=self._credentials.user, password=self._credentials.password)
        answer = await self.unary(AUTHENTICATE, _codec.encode(request), timeout=LOGIN_TIMEOUT)
        return _codec.decode(AuthenticateResponse, answer).token


def _for_several(options: TransportOptions, endpoints: int) -> TransportOptions:
    """Return options under which the endpoints that swallow connections leave time for the others."""
    share = max(SHORTEST_CONNECT_TIMEOUT, options.connect_timeout / endpoints)
    return options if share >= options.connect_timeout else replace(options, connect_timeout=share)


def _is_unavailable(error: EtcdError | AttemptFailed) -> bool:
    return isinstance(error, RpcError) and error.code is StatusCode.UNAVAILABLE
