"""A configuration in etcd: one key per leaf, read and written as a whole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, overload

from etcd_async import ops
from etcd_async.config._change import Stored, finished, fits
from etcd_async.config._large import LargeChange
from etcd_async.config._leaves import Values, from_leaves, merged, to_leaves
from etcd_async.config._validation import Model, validated
from etcd_async.config._watch import ConfigWatch
from etcd_async.errors import Compacted, ConfigConflict, ConfigError, FutureRevision
from etcd_async.options import CLIENT_DEFAULT, Timeout
from etcd_async.recipes.lock import Lock
from etcd_async.services import Services

T = TypeVar("T")
Leaves: TypeAlias = Mapping[bytes, bytes]

_WRITER_TTL = 10.0  # seconds after which a writer that died in the middle is succeeded


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    A configuration as of one revision.

    Attributes:
        values: The whole of it.
        revision: Of its last change, for ``write(..., if_revision=...)``; 0 if there is nothing. If other tools have
            changed it since it was last written here: when it was read, since their deletes leave no trace.
    """

    values: Values
    revision: int


class ConfigSource:
    """
    The configuration *name* in etcd; made by ``client.config_source(name)``.

    Each leaf is a key ``config/<name>/<path>`` below the client's namespace (after a slash, where the namespace does
    not end in one), with JSON as its value; a part of a path that has a slash writes it ``%2F``. Reading sees all
    leaves as of one revision. Writing changes what differs, in one step for every reader and watcher whatever the size,
    and either wholly or not at all.

    Names with slashes are refused, so that no configuration lies inside another.
    """

    def __init__(self, client: Services, name: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"name must be str, not {type(name).__name__}")
        if not name or "/" in name:
            raise ValueError(f"name must not be empty or contain a slash: {name!r}")
        self.name: str = name
        self.prefix: bytes = client._space.placed(f"config/{name}/".encode())
        self._client = client

    async def read(self, *, timeout: Timeout = CLIENT_DEFAULT) -> Values:
        """Return the whole configuration; ``{}`` if there is none. Raises `ConfigError` if it can't be read as one."""
        return (await self.snapshot(timeout=timeout)).values

    async def snapshot(self, *, timeout: Timeout = CLIENT_DEFAULT) -> Snapshot:
        """Return the whole configuration and the revision that stands for it."""
        return snapshot_of(await self._consistent(await self._stored(timeout), timeout))

    async def write(
        self, values: Mapping[str, Any], *, if_revision: int | None = None, timeout: Timeout = CLIENT_DEFAULT
    ) -> int:
        """
        Make *values* the whole configuration, in one step; what is equal already is not written.

        Args:
            values: Dicts of what JSON has; a lone list or dict without entries is a leaf, too.
            if_revision: Write only if the configuration is still the one of this revision (`Snapshot.revision`).
            timeout: Seconds for each request; None for no limit.

        Returns:
            The revision of the configuration, for the next ``if_revision``.

        Raises:
            ConfigConflict: It was changed since *if_revision*, or (if another tool had changed it before) that can't be
                told any more, because the history is compacted. Nothing was written.
            TypeError, ValueError: *values* are no configuration; the path is named, and nothing was written.
        """
        leaves = to_leaves(values)

        async def change(stored: Stored) -> Leaves:
            return leaves

        return await self._change(change, if_revision, timeout)

    async def update(
        self, values: Mapping[str, Any], *, if_revision: int | None = None, timeout: Timeout = CLIENT_DEFAULT
    ) -> int:
        """
        Merge *values* into the configuration, in one step: dicts entry by entry, anything else replaced.

        What others write at the same time to other entries is kept. Arguments, result and errors are those of `write`.
        """
        over = from_leaves(to_leaves(values))

        async def change(stored: Stored) -> Leaves:
            return to_leaves(merged(from_leaves((await self._consistent(stored, timeout)).leaves), over))

        return await self._change(change, if_revision, timeout)

    @overload
    def watch(self) -> ConfigWatch[Values]: ...
    @overload
    def watch(self, model: Model[T]) -> ConfigWatch[T]: ...
    def watch(self, model: Model[Any] | None = None) -> ConfigWatch[Any]:
        """
        Make a `ConfigWatch`: ``async with source.watch() as updates: async for values in updates``.

        It yields the present configuration first, then each change of it: whole, and made of *model* if one is given (a
        pydantic model, or any callable that takes the dict).
        """
        return ConfigWatch(self._client, self.prefix, self._before, lambda values: validated(model, values))

    def __repr__(self) -> str:
        return f"<ConfigSource {self.name!r}>"

    async def _stored(self, timeout: Timeout) -> Stored:
        return Stored.of(self.prefix, await self._client.range(prefix=self.prefix, timeout=timeout))

    async def _consistent(self, stored: Stored, timeout: Timeout = CLIENT_DEFAULT) -> Stored:
        while stored.mark is not None:
            try:
                return await self._before(stored.mark, timeout)
            except ConfigError:
                again = await self._stored(timeout)
                if again.mark == stored.mark:
                    raise
                stored = again  # it was just finished
        return stored

    async def _before(self, mark: int, timeout: Timeout = CLIENT_DEFAULT) -> Stored:
        """Return what there was before a change that is not finished."""
        try:
            found = await self._client.range(prefix=self.prefix, revision=mark, timeout=timeout)
        except (Compacted, FutureRevision) as error:
            raise ConfigError(
                f"a change of configuration {self.name!r} was never finished, and what was before is compacted away: "
                "write it again"
            ) from error
        return Stored.of(self.prefix, found, mark)

    async def _change(
        self, change: Callable[[Stored], Awaitable[Leaves]], if_revision: int | None, timeout: Timeout
    ) -> int:
        expected = None if if_revision is None else ops.at_least(if_revision, "if_revision", 0)
        while True:
            stored = await self._stored(timeout)
            leaves = await change(stored)
            writes = stored.writes(leaves)
            if stored.mark is not None or not fits(writes):
                return await self._change_large(change, expected, timeout)
            await self._check(stored, expected, timeout)
            if not writes and stored.generation is not None:
                return stored.version
            then = [*writes, finished(self.prefix, len(leaves))]
            done = await self._client.txn(stored.unchanged(writes), then, timeout=timeout)
            if done.succeeded:
                return done.revision

    async def _change_large(
        self, change: Callable[[Stored], Awaitable[Leaves]], expected: int | None, timeout: Timeout
    ) -> int:
        """Change in several transactions, one such writer at a time; one that died in the middle is succeeded."""
        lock = Lock(self._client, self._client._space.placed(f"config-writers/{self.name}".encode()), ttl=_WRITER_TTL)
        async with lock:
            while True:
                stored = await self._stored(timeout)
                if expected is not None:
                    await self._check(await self._consistent(stored, timeout), expected, timeout)
                leaves = await change(stored)
                writes = [*stored.writes(leaves), finished(self.prefix, len(leaves))]
                if done := await LargeChange(self._client, lock, stored, timeout).make(writes):
                    return done

    async def _check(self, stored: Stored, expected: int | None, timeout: Timeout) -> None:
        """Raise `ConfigConflict` unless *stored* is the configuration of revision *expected*."""
        if expected is None or (stored.may_be_of(expected) and await self._had_as_many(stored, expected, timeout)):
            return
        raise ConfigConflict(f"the configuration is of revision {stored.version}, not {expected}: read it again")

    async def _had_as_many(self, stored: Stored, revision: int, timeout: Timeout) -> bool:
        """Return whether there were as many keys at *revision*, for what is deleted has no revision to be compared."""
        if stored.is_as_written:
            return True
        try:
            then = await self._client.range(prefix=self.prefix, revision=revision, count_only=True, timeout=timeout)
        except (Compacted, FutureRevision):
            return False
        return then.count == stored.count


def snapshot_of(stored: Stored) -> Snapshot:
    """Return what users see of it."""
    return Snapshot(from_leaves(stored.leaves), stored.version)
