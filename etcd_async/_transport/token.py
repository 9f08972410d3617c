"""The token that a user's calls carry: fetched once for all who wait, kept until the server refuses it."""

from __future__ import annotations

import asyncio
import copy
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Final

from etcd_async._protocol.headers import Metadata
from etcd_async._protocol.retry import wait
from etcd_async.errors import Attempt, AuthNotEnabled, ClientClosed, DeadlineExceeded, EtcdError, RpcError
from etcd_async.options import Backoff

LOGIN_BACKOFF: Final = Backoff(initial=0.25, factor=2.0, maximum=5.0)
"""How long a refusal stands before user and password are tried again; each costs the server a password hash."""
SHORT_LIFE: Final = 0.5
"""Seconds: a token that is refused sooner than this after its login may be refused for ever, on some member."""
SHORT_LIFE_BACKOFF: Final = Backoff(initial=0.1, factor=2.0, maximum=1.0)
"""Between logins whose tokens live so short. The first of them is replaced at once: a member may lag behind."""


_sleep = asyncio.sleep


class Token:
    """
    The token of one client, if it has a user or was given one.

    A login costs the cluster a password hash and a write, so there is never more than one under way. It has a task of
    its own: whoever waits for it may be cancelled without harm to the others. When the server refuses user and
    password, it is believed for a while: who asks again meanwhile is told the same, without a login. Tokens that are
    refused as soon as they were issued, one after the other, are replaced at growing intervals.

    Args:
        log_in: Asks the server for a token; None if the client has no user.
        common: Metadata of every call.
        given: A token to use as it is, instead of logging in; it can't be renewed.
        causes: Tells what stands in the way of reaching a server, for the error of a login that takes too long.
        claim_loop: Raises where another event loop runs than that of the client.
        clock: Monotonic seconds.
        random: For jitter.

    Attributes:
        metadata: *common*, and the token if there is one.
        is_current: False until there is a token, or while a refused one was not replaced.
        has_user: There is someone to log in as.
    """

    def __init__(
        self,
        log_in: Callable[[], Awaitable[str]] | None,
        common: Metadata,
        *,
        given: str | None = None,
        causes: Callable[[], Sequence[Attempt]] = tuple,
        claim_loop: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        random: Random | None = None,
    ) -> None:
        self.metadata = common if given is None else _with_token(common, given)
        self.has_user = log_in is not None
        self.is_current = not self.has_user
        self._log_in = log_in
        self._common = common
        self._login: asyncio.Task[EtcdError | None] | None = None
        self._is_closed = False
        self._causes = causes
        self._claim_loop = claim_loop
        self._clock = clock
        self._random = random or Random()
        self._refusal: RpcError | None = None
        self._refusals = 0  # in a row
        self._retry_at = -math.inf
        self._issued_at = -math.inf
        self._short_lives = 0  # in a row

    async def ready(self, timeout: float | None) -> None:
        """
        Wait until `metadata` is current, logging in if nobody does.

        Raises:
            AuthFailed: User and password are not accepted.
            Unavailable: The login got no answer.
            DeadlineExceeded: *timeout* seconds passed.
            ClientClosed: `aclose` was called.
        """
        self._claim_loop()
        joins, began = self._login is not None, self._clock()
        failure = await self._logged_in(timeout)
        if joins and failure is not None and not isinstance(failure, RpcError):
            # That login began before this call, and may have seen an outage that is over: this call has its own time.
            failure = await self._logged_in(None if timeout is None else began + timeout - self._clock())
        if failure is not None:
            raise _own(failure)

    def drop(self, metadata: Metadata) -> None:
        """Forget the token of *metadata*, which the server refused, unless it was replaced meanwhile."""
        if not self.has_user or not self.is_current or metadata is not self.metadata:
            return
        self.is_current = False
        now = self._clock()
        if now - self._issued_at >= SHORT_LIFE:
            self._short_lives = 0
            return
        if self._short_lives:
            self._retry_at = now + wait(SHORT_LIFE_BACKOFF, self._short_lives - 1, self._random)
        self._short_lives += 1

    async def aclose(self) -> None:
        """End a login under way; those who wait for it get `ClientClosed`."""
        self._is_closed = True
        login = self._login
        if login is not None:
            login.cancel()
            await asyncio.wait([login])

    async def _logged_in(self, timeout: float | None) -> EtcdError | None:
        """Wait for the login under way, beginning one if there is none and none is futile; return how it failed."""
        if self._is_closed:
            raise ClientClosed
        if self.is_current:
            return None
        if self._refusal is not None and self._clock() < self._retry_at:
            return self._refusal
        if self._login is None:
            self._login = asyncio.create_task(self._renew(), name="etcd_async.login")
        login = self._login
        await asyncio.wait([login], timeout=None if timeout is None else max(0.0, timeout))
        if not login.done():
            raise DeadlineExceeded("the deadline passed during the login", attempts=self._causes())
        if login.cancelled():
            raise ClientClosed
        return login.result()

    async def _renew(self) -> EtcdError | None:
        """Log in; a failure is the result, since perhaps nobody waits for it any more."""
        assert self._log_in is not None
        try:
            await _sleep(max(0.0, self._retry_at - self._clock()))
            self.metadata = _with_token(self._common, await self._log_in())
        except AuthNotEnabled:
            self.metadata = self._common
        except EtcdError as error:
            self._note(error)
            return error
        finally:
            self._login = None
        self.is_current = True
        self._issued_at = self._clock()
        self._refusal, self._refusals = None, 0
        return None

    def _note(self, error: EtcdError) -> None:
        """Remember the server's "no"; that no server answered is no reason not to ask again."""
        if isinstance(error, RpcError):
            self._refusal = error
            self._retry_at = self._clock() + wait(LOGIN_BACKOFF, self._refusals, self._random)
            self._refusals += 1


class _Secret(str):
    """Text that does not show where metadata are printed, as in the locals of a traceback."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def _with_token(common: Metadata, token: str) -> Metadata:
    return (*common, ("token", _Secret(token)))


def _own(error: EtcdError) -> EtcdError:
    """Return a copy for one of those who wait: each adds its traceback, and its caller what it knows."""
    return copy.copy(error)
