"""A transaction is tried until nobody came in between."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from inspect import isawaitable
from typing import Final, Generic, TypeVar

import anyio

from etcd_async import ops
from etcd_async._keys import to_key
from etcd_async.errors import TooManyConflicts
from etcd_async.options import Timeout
from etcd_async.recipes.stm._transaction import LEVELS, Isolation, Transaction
from etcd_async.services import Services

_T = TypeVar("_T")

_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 0.5
"""Seconds between two attempts; how much of it is waited is left to chance."""


@dataclass(frozen=True, slots=True)
class StmResult(Generic[_T]):
    """
    What came of a transaction.

    Attributes:
        value: What the function returned the last time.
        revision: The store's revision after the commit; of a transaction that wrote nothing, the one that it read as
            of (0 if it read nothing either).
        attempts: How often the function ran.
    """

    value: _T
    revision: int
    attempts: int


async def run(
    client: Services,
    function: Callable[[Transaction], Awaitable[_T]],
    *,
    isolation: Isolation,
    prefetch: Iterable[str | bytes],
    max_attempts: int | None,
    timeout: Timeout,
) -> StmResult[_T]:
    """Carry out a transaction; see ``client.stm``."""
    if isolation not in LEVELS:
        raise ValueError(f"isolation must be one of {', '.join(LEVELS)}, not {isolation!r}")
    if not callable(function):
        raise TypeError(f"function must be an async function, not {type(function).__name__}")
    if isinstance(prefetch, str | bytes) or not isinstance(prefetch, Iterable):
        raise TypeError(f"prefetch must be a collection of keys, not {type(prefetch).__name__}")
    most = ops.optional(max_attempts, "max_attempts", 1)
    ahead = list(dict.fromkeys(to_key(key) for key in prefetch))
    attempt: Transaction | None = None
    number = 0
    while True:
        before, attempt, number = attempt, Transaction(client, LEVELS[isolation], timeout), number + 1
        if before is not None and number > 2:
            await _pause(before, number)
        done = await _try(attempt, function, before, ahead)
        if done is not None:
            return StmResult(*done, number)
        if number == most:
            raise TooManyConflicts(f"{number} attempts met with changes by others")


async def _try(
    attempt: Transaction,
    function: Callable[[Transaction], Awaitable[_T]],
    before: Transaction | None,
    prefetch: Sequence[bytes],
) -> tuple[_T, int] | None:
    """Run the function once and commit; None if that must be done again."""
    try:
        await attempt._prepare(before, prefetch)
        value = await _awaitable(function(attempt))
    except Exception:
        if attempt._is_stale:
            return None
        raise
    finally:
        attempt._is_over = True
    revision = await attempt._commit()
    return None if revision is None else (value, revision)


def _awaitable(returned: Awaitable[_T]) -> Awaitable[_T]:
    if not isawaitable(returned):
        raise TypeError(f"function must be an async function, not one that returns {type(returned).__name__}")
    return returned


async def _pause(before: Transaction, number: int) -> None:
    """Make room for the others; what was told of the conflict is old afterwards, and read again."""
    before._reread = {}
    await anyio.sleep(random.uniform(0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(number, 16))))
