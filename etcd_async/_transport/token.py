"""The token that a user's calls carry: fetched once for all who wait, kept until the server refuses it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from etcd_async._protocol.headers import Metadata
from etcd_async.errors import AuthNotEnabled, ClientClosed, DeadlineExceeded, EtcdError


class Token:
    """
    The token of one client, if it has a user.

    A login costs the cluster a password hash and a write, so there is never more than one under way. It has a task of
    its own: whoever waits for it may be cancelled without harm to the others.

    Args:
        log_in: Asks the server for a token; None if the client has no user.
        common: Metadata of every call.

    Attributes:
        metadata: *common*, and the token if there is one.
        is_current: False until there is a token, or while a refused one was not replaced.
        has_user: There is someone to log in as.
    """

    def __init__(self, log_in: Callable[[], Awaitable[str]] | None, common: Metadata) -> None:
        self.metadata = common
        self.has_user = log_in is not None
        self.is_current = not self.has_user
        self._log_in = log_in
        self._common = common
        self._login: asyncio.Task[EtcdError | None] | None = None
        self._is_closed = False

    async def ready(self, timeout: float | None) -> None:
        """
        Wait until `metadata` is current, logging in if nobody does.

        Raises:
            AuthFailed: User and password are not accepted.
            Unavailable: The login got no answer.
            DeadlineExceeded: *timeout* seconds passed.
            ClientClosed: `aclose` was called.
        """
        if self._is_closed:
            raise ClientClosed
        if self.is_current:
            return
        if self._login is None:
            self._login = asyncio.create_task(self._renew(), name="etcd_async.login")
        login = self._login
        await asyncio.wait([login], timeout=timeout)
        if not login.done():
            raise DeadlineExceeded("the deadline passed during the login")
        if login.cancelled():
            raise ClientClosed
        failure = login.result()
        if failure is not None:
            raise failure

    def drop(self, metadata: Metadata) -> None:
        """Forget the token of *metadata*, which the server refused, unless it was replaced meanwhile."""
        if self.has_user and metadata is self.metadata:
            self.is_current = False

    async def aclose(self) -> None:
        """End a login under way; those who wait for it get `ClientClosed`."""
        self._is_closed = True
        login = self._login
        if login is not None:
            login.cancel()
            await asyncio.wait([login])

    async def _renew(self) -> EtcdError | None:
        """Log in; a failure is the result, since perhaps nobody waits for it any more."""
        assert self._log_in is not None
        try:
            self.metadata = (*self._common, ("token", await self._log_in()))
        except AuthNotEnabled:
            self.metadata = tuple(self._common)
        except EtcdError as error:
            return error
        finally:
            self._login = None
        self.is_current = True
        return None
