"""The changes of a configuration, each a whole one."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

from etcd_async.config._change import Stored
from etcd_async.config._leaves import Values, from_leaves
from etcd_async.errors import ConfigError, DecryptionFailed
from etcd_async.recipes._follow import Follow
from etcd_async.recipes._patience import patiently
from etcd_async.services import Services
from etcd_async.types import RangeResult

T_co = TypeVar("T_co", covariant=True)

_log = logging.getLogger("etcd_async.config")


class ConfigWatch(Generic[T_co]):
    """
    Whole configurations, as an async iterator: the present one first, then each one that is different and valid.

    Made by ``source.watch(...)``. While a large change is being written, it waits for its end. One that can't be used
    is not yielded: the last good one stays in force, `error` says why until a good one comes, and the logger
    ``etcd_async.config`` warns (with no more than the class of a model's error, whose text may show values). So it is
    with the first one: until there is a good one, nothing comes.
    """

    def __init__(
        self,
        client: Services,
        prefix: bytes,
        before: Callable[[int], Awaitable[Stored]],
        make: Callable[[Values], T_co],
    ) -> None:
        self._prefix = prefix
        self._before = before
        self._make = make
        self._follow = Follow(client, prefix)
        self._is_new = False
        self._seen: str | None = None  # what was in etcd, good or not: as text, in which 1, 1.0 and true differ
        self._unfit: Exception | None = None  # what the model said of it
        self._error: Exception | None = None
        self._revision = 0

    @property
    def revision(self) -> int:
        """The revision of the configuration that was yielded last; 0 before the first one."""
        return self._revision

    @property
    def error(self) -> Exception | None:
        """Why the newest configuration could not be used; None if it could."""
        return self._error

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T_co:
        while True:
            while not self._is_new:
                batch = await self._follow.next()
                self._is_new = self._seen is None or bool(batch.events)
            stored = await self._stored()
            self._is_new = False  # only now: whoever is cancelled in between can ask again
            if stored is not None and (values := self._values(stored)) is not None:
                self._error = self._unfit = None
                try:
                    made = self._make(values)
                except Exception as error:  # whatever a model raises
                    self._unfit = error
                    self._refuse(error, type(error).__name__)
                else:
                    self._revision = stored.version
                    return made

    async def __aenter__(self) -> Self:
        await self._follow.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._follow.__aexit__(exc_type, exc, traceback)

    async def _stored(self) -> Stored | None:
        """Return what there is now, or was before a change under way; None if that was told already."""
        follow = self._follow
        try:
            stored = Stored.of(self._prefix, RangeResult(tuple(follow.state.values()), revision=follow.revision))
            if stored.mark is None:
                return stored
            mark = stored.mark
            return await patiently(lambda: self._before(mark)) if self._seen is None else None
        except (ConfigError, DecryptionFailed) as error:
            self._refuse(error)
            return None

    def _values(self, stored: Stored) -> Values | None:
        """Return the configuration; None if it is none, or the same as before."""
        try:
            values = from_leaves(stored.leaves)
        except (ConfigError, DecryptionFailed) as error:
            self._refuse(error)
            return None
        seen, self._seen = self._seen, json.dumps(values, sort_keys=True)
        if seen != self._seen:
            return values
        self._error = self._unfit
        return None

    def _refuse(self, error: Exception, why: str = "") -> None:
        self._error = error
        name = self._prefix.decode()
        _log.warning("the configuration %r can't be used, the one before stays in force: %s", name, why or error)
