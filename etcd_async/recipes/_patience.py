"""Trouble that passes: which errors are worth waiting out, and how long to wait between tries."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import anyio

from etcd_async.errors import DeadlineExceeded, EtcdError, RequestTooLarge, RpcError, StatusCode, Unavailable
from etcd_async.options import Backoff

__all__ = ["Pauses", "is_transient", "patiently"]

T = TypeVar("T")

_BACKOFF: Final = Backoff(initial=0.1, maximum=2.0)
_TRANSIENT: Final = frozenset({StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED})


def is_transient(error: EtcdError) -> bool:
    """Return whether the same request may well succeed later: no server was in reach, or it had no room."""
    if isinstance(error, RpcError):
        return error.code in _TRANSIENT and not isinstance(error, RequestTooLarge)
    return isinstance(error, Unavailable | DeadlineExceeded)


class Pauses:
    """The pauses between tries: longer each time, until a try went well."""

    def __init__(self) -> None:
        self._next = _BACKOFF.initial

    async def pause(self) -> None:
        """Wait before the next try."""
        seconds, self._next = self._next, min(self._next * _BACKOFF.factor, _BACKOFF.maximum)
        await anyio.sleep(seconds * random.uniform(1 - _BACKOFF.jitter, 1 + _BACKOFF.jitter))

    def reset(self) -> None:
        """Have the next pause be a short one: a try went well."""
        self._next = _BACKOFF.initial


async def patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Do *work*, again after each trouble that passes, for as long as it takes."""
    pauses = Pauses()
    while True:
        try:
            return await work()
        except EtcdError as error:
            if not is_transient(error):
                raise
        await pauses.pause()
