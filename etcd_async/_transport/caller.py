"""The calls of one client: on which endpoint, with which token, until when; what follows a failure is in `pursuit`."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from random import Random
from typing import Final

from etcd_async import _codec
from etcd_async._loss import stop_if_lost
from etcd_async._pb.etcdserverpb import AuthenticateRequest, AuthenticateResponse
from etcd_async._protocol.endpoints import Endpoint, parse
from etcd_async._protocol.retry import Budget
from etcd_async._transport.attempts import Call, attempt_deadline, patience_within
from etcd_async._transport.calls import Slow
from etcd_async._transport.callstream import CallStream
from etcd_async._transport.channel import SLOW_AGE, looks_within
from etcd_async._transport.failure import AttemptFailed
from etcd_async._transport.metadata import COMMON_METADATA
from etcd_async._transport.methods import AUTHENTICATE, Method
from etcd_async._transport.pursuit import Place, Pursuit
from etcd_async._transport.race import settle
from etcd_async._transport.roster import PROBES, Roster
from etcd_async._transport.tasks import Tasks
from etcd_async._transport.token import Token
from etcd_async.errors import Attempt, EtcdError
from etcd_async.options import TLS, Backoff, Credentials, TransportOptions
from etcd_async.types import EndpointState

LOGIN_TIMEOUT: Final = 10.0  # a login is shared, so it is not bound to the timeout of any one call


class Caller:
    """
    Makes calls, on whichever endpoint answers; made without a running loop, used in one.

    Args:
        endpoints: At least one; the same one twice counts once.
        tls: For endpoints with TLS.
        options: Of each connection.
        credentials: Whom to log in as.
        token: What calls carry instead of logging in.
        backoff: Between rounds of attempts, and between attempts to connect.
        probes: Until a failed endpoint is probed.
        tasks: Whose the probes are; its own if None.
        clock: Monotonic seconds, the same as the channels' own.
        random: For jitter, and for which endpoint comes first.

    Attributes:
        roster: The endpoints, and how they do.
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
        probes: Backoff = PROBES,
        tasks: Tasks | None = None,
        clock: Callable[[], float] = time.monotonic,
        random: Random | None = None,
    ) -> None:
        self._backoff = backoff or Backoff()
        self._random = random or Random()
        self._clock = clock
        self._options = options or TransportOptions()
        self._owns_tasks = tasks is None
        self._tasks = tasks or Tasks(lambda error: None)
        self.roster: Roster = Roster(
            endpoints,
            tls=tls,
            options=self._options,
            backoff=self._backoff,
            probes=probes,
            tasks=self._tasks,
            clock=clock,
            random=self._random,
            metadata=lambda: self._token.metadata,
        )
        self._pool = self.roster.pool
        self._channels = self.roster.channels
        self._credentials = credentials
        log_in = self._authenticate if credentials else None
        self._token = Token(
            log_in,
            COMMON_METADATA,
            given=token,
            causes=self._causes,
            claim_loop=self._tasks.claim_loop,
            clock=clock,
            random=self._random,
        )
        self._pursuit = Pursuit(self.roster, self._token, budget=Budget(), clock=clock, random=self._random)

    def __repr__(self) -> str:
        return ", ".join(endpoint.text for endpoint in self.addresses())

    @property
    def has_user(self) -> bool:
        """True if calls are made as a user, so that a refused token can be replaced."""
        return self._token.has_user

    @property
    def max_send_bytes(self) -> int:
        """The largest message that may be sent."""
        return self._options.max_send_bytes

    def endpoints(self) -> tuple[EndpointState, ...]:
        """Return what is known of every endpoint that calls may go to."""
        return self.roster.state()

    def addresses(self) -> tuple[Endpoint, ...]:
        """Return every endpoint that calls may go to."""
        return self._pool.endpoints

    def set_endpoints(self, endpoints: Sequence[Endpoint]) -> None:
        """
        Let calls go to these from now on.

        Calls under way elsewhere may end there within some seconds; streams go on at the new ones.

        Raises:
            ValueError: There are none.
        """
        self.roster.replace(endpoints)

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
        await stop_if_lost()
        now = self._clock()
        deadline = None if timeout is None else now + timeout
        repeatable = method.repeatable if repeatable is None else repeatable
        token = self._token
        if method.needs_token and not token.is_current:
            await token.ready(timeout)
            now = self._clock()
        at = endpoint or self._pool.choose()
        metadata = token.metadata if method.needs_token else COMMON_METADATA
        channel = self._channels.get(at.text) or self.roster.channel(at)
        until, patience, looks = deadline, None, 0
        if endpoint is None and len(self._pool.endpoints) > 1:
            patience = patience_within(timeout)
            if repeatable and method.writes:
                until = attempt_deadline(deadline, now, repeatable=True, untried=2)
            elif repeatable:
                looks = SLOW_AGE if timeout is None else looks_within(timeout)
        try:
            answer = await channel.unary(
                method.path, payload, metadata=metadata, deadline=until, patience=patience, looks=looks
            )
        except (EtcdError, AttemptFailed, Slow) as error:
            failure = error
        else:
            if self._pursuit.has_losses:
                self._pursuit.answered(at, now)
            return answer
        call = self._call(method, timeout, repeatable=repeatable, only=endpoint)
        call.deadline = deadline
        return await settle(self._pursuit, call, payload, Place(at, channel, metadata), started=now, failure=failure)

    async def ask(self, method: Method, payload: bytes, *, timeout: float | None) -> bytes:
        """Send one request on a duplex stream of its own and return its first answer; errors are those of `unary`."""
        call = self._call(method, timeout)

        async def attempt(at: Place) -> bytes:
            now = self._clock()
            answer = await at.ask(call, payload, now)
            self._pursuit.answered(at.endpoint, now)
            return answer

        return await self._pursuit.attempts(call, attempt)

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
        call = self._call(method, timeout, only=endpoint)
        call.tried.update(avoid)

        async def attempt(at: Place) -> CallStream:
            now = self._clock()
            stream = await at.open(call, limit, now)
            try:
                if payload is not None:
                    stream.send(payload, end=True)
            except EtcdError:  # larger than may be sent
                stream.cancel()
                raise
            note, answered = partial(self._pursuit.note, at), partial(self._pursuit.answered, at.endpoint, now)
            return CallStream(stream, at.endpoint, note=note, answered=answered)

        return await self._pursuit.attempts(call, attempt)

    async def log_in(self, *, timeout: float | None) -> None:
        """Make sure that user and password are accepted, if there are any; errors are those of `unary`."""
        if not self._token.is_current:
            await self._token.ready(timeout)

    async def aclose(self) -> None:
        """End every call and stream with `ClientClosed`, and the connections; from any task, any number of times."""
        self.roster.is_closed = True
        self._pursuit.close()
        await self._token.aclose()
        await self.roster.aclose()
        if self._owns_tasks:
            await self._tasks.aclose()

    def _call(
        self, method: Method, timeout: float | None, *, repeatable: bool = True, only: Endpoint | None = None
    ) -> Call:
        return Call(
            method,
            None if timeout is None else self._clock() + timeout,
            repeatable=repeatable,
            only=only,
            endpoints=1 if only else len(self._pool),
            has_user=self.has_user,
            backoff=self._backoff,
            random=self._random,
        )

    def _causes(self) -> list[Attempt]:
        """Return what is wrong with the endpoints, for a call that came no further than the login."""
        return [Attempt(each.endpoint.text, each.last_error) for each in self._pool.health() if not each.is_healthy]

    async def _authenticate(self) -> str:
        assert self._credentials is not None
        request = AuthenticateRequest(name=self._credentials.user, password=self._credentials.password)
        answer = await self.unary(AUTHENTICATE, _codec.encode(request), timeout=LOGIN_TIMEOUT)
        return _codec.decode(AuthenticateResponse, answer).token
