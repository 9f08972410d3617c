"""What users do most with a few keys, made of the operations of `etcd_async.kv` so that each is one safe step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TypeVar

from etcd_async import ops
from etcd_async._keys import to_bytes, to_key
from etcd_async.errors import KeyExists, KeyNotFound, RequestTooLarge, StatusCode, TooManyOps
from etcd_async.kv import KV
from etcd_async.options import CLIENT_DEFAULT, Timeout
from etcd_async.types import DeleteResult, KeyValue, PutResult, TxnResult

__all__ = ["CompoundKV"]

_Key = TypeVar("_Key", bound=str | bytes)

_MAX_TXN_OPS = 128  # etcd's default: server/embed/config.go DefaultMaxTxnOps


class CompoundKV(KV):
    """Counting, listing, conditional and bulk writes; the rules of `KV` hold for all of them."""

    async def count(
        self,
        *,
        prefix: str | bytes | None = None,
        start: str | bytes | None = None,
        end: str | bytes | None = None,
        from_key: bool = False,
        revision: int | None = None,
        serializable: bool = False,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> int:
        """Return how many keys a prefix or range holds (the arguments are those of `range`)."""
        op = ops.range(
            prefix=prefix,
            start=start,
            end=end,
            from_key=from_key,
            revision=revision,
            serializable=serializable,
            count_only=True,
        )
        return (await self.do(op, timeout=timeout)).count

    async def exists(
        self,
        key: str | bytes,
        *,
        revision: int | None = None,
        serializable: bool = False,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> bool:
        """Return whether a key exists; its value does not travel."""
        found = await self.get(key, revision=revision, serializable=serializable, keys_only=True, timeout=timeout)
        return found is not None

    async def keys(
        self,
        *,
        prefix: str | bytes = b"",
        match: str | bytes | None = None,
        limit: int | None = None,
        revision: int | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> list[bytes]:
        """
        Return the keys of a prefix in their order, without values.

        Args:
            prefix: What they start with; by default every key.
            match: A shell pattern (``*``, ``?``, ``[a-z]``; ``*`` matches slashes too) for the whole key, matched here.
            limit: At most so many.
            revision: As of this revision; None for now.
            timeout: Seconds for each page that is read; None for no limit.
        """
        most = ops.optional(limit, "limit", 1)
        pattern = None if match is None else to_bytes(match, "match")
        found: list[bytes] = []
        page = min(most, 1000) if most and pattern is None else 1000
        async for kv in self.scan(prefix=prefix, keys_only=True, revision=revision, page_size=page, timeout=timeout):
            if pattern is None or fnmatchcase(kv.key, pattern):
                found.append(kv.key)
                if len(found) == most:
                    break
        return found

    async def put_if_absent(
        self,
        key: str | bytes,
        value: str | bytes,
        *,
        lease: ops.LeaseLike | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> bool:
        """Write a key unless it exists, on *lease* if one is given; return whether it was written."""
        result = await self.txn([ops.create_revision(key) == 0], [ops.put(key, value, lease=lease)], timeout=timeout)
        return result.succeeded

    async def compare_and_swap(
        self, key: str | bytes, expected: str | bytes | None, new: str | bytes, *, timeout: Timeout = CLIENT_DEFAULT
    ) -> bool:
        """
        Write *new* if the key's value is *expected* (None: if there is no such key); return whether it was written.

        The key keeps its lease. Encrypted values are compared here, and the write is made only if the key is unchanged
        since; *timeout* is then for each of the two steps.
        """
        if expected is None:
            return await self.put_if_absent(key, new, timeout=timeout)
        if self._space.cipher is not None:
            return await self._swap_here(to_key(key), to_bytes(expected, "expected"), to_bytes(new), timeout)
        result = await self.txn([ops.value(key) == expected], [ops.put(key, new, ignore_lease=True)], timeout=timeout)
        return result.succeeded

    async def replace(
        self, key: str | bytes, value: str | bytes, *, mod_revision: int, timeout: Timeout = CLIENT_DEFAULT
    ) -> bool:
        """
        Write a key if it is unchanged since *mod_revision*, the ``mod_revision`` it was read with.

        The key keeps its lease. Return whether it was written.
        """
        unchanged = ops.mod_revision(key) == ops.at_least(mod_revision, "mod_revision", 1)
        result = await self.txn([unchanged], [ops.put(key, value, ignore_lease=True)], timeout=timeout)
        return result.succeeded

    async def move(
        self, old: str | bytes, new: str | bytes, *, overwrite: bool = False, timeout: Timeout = CLIENT_DEFAULT
    ) -> None:
        """
        Rename a key in one transaction, with its value and lease: at every revision exactly one of the names has it.

        If the key is changed meanwhile, the change is moved too. Moving a key to its own name changes nothing.

        Raises:
            KeyNotFound: There is no key *old*.
            KeyExists: There is a key *new*, and *overwrite* is False.
        """
        source, target = to_key(old, "old"), to_key(new, "new")
        found = await self.get(source, timeout=timeout)
        while found is not None and source != target:
            result = await self.do(_move(found, target, overwrite), timeout=timeout)
            if result.succeeded:
                return
            found = _moved_on(result, target, overwrite)
        if found is None:
            raise KeyNotFound(StatusCode.INVALID_ARGUMENT, "etcdserver: key not found")

    async def put_many(
        self,
        items: Mapping[_Key, str | bytes],
        *,
        lease: ops.LeaseLike | None = None,
        atomic: bool = True,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> PutResult:
        """
        Write many keys, all on *lease* if one is given, at one revision, that of the (last) transaction in the result.

        With ``atomic=False`` more keys than fit one transaction are written in several, each on its own.

        Raises:
            TooManyOps: The server's limit (128 operations unless configured) is passed and *atomic* is True.
        """
        if not isinstance(items, Mapping):
            raise TypeError(f"items must be a mapping of keys to values, not {type(items).__name__}")
        puts = [ops.put(key, value, lease=lease) for key, value in items.items()]
        results = await self._bulk(puts, atomic, timeout)
        return PutResult(results[-1].revision)

    async def delete_many(
        self, keys: Iterable[str | bytes], *, atomic: bool = True, timeout: Timeout = CLIENT_DEFAULT
    ) -> DeleteResult:
        """
        Delete many keys at one revision; keys that do not exist don't count in ``deleted``.

        With ``atomic=False`` more keys than fit one transaction are deleted in several, each on its own.

        Raises:
            TooManyOps: The server's limit (128 operations unless configured) is passed and *atomic* is True.
        """
        if isinstance(keys, str | bytes) or not isinstance(keys, Iterable):
            raise TypeError(f"keys must be a collection of keys, not {type(keys).__name__}; for one use delete(key)")
        results = await self._bulk([ops.delete(key) for key in keys], atomic, timeout)
        deletes = [each for result in results for each in result.results if isinstance(each, DeleteResult)]
        return DeleteResult(sum(each.deleted for each in deletes), revision=results[-1].revision)

    async def _swap_here(self, key: bytes, expected: bytes, new: bytes, timeout: Timeout) -> bool:
        while (found := await self.get(key, timeout=timeout)) is not None and found.value == expected:
            if await self.replace(key, new, mod_revision=found.mod_revision, timeout=timeout):
                return True
        return False

    async def _bulk(self, writes: Sequence[ops.Op], atomic: bool, timeout: Timeout) -> list[TxnResult]:
        if atomic or len(writes) <= 1:
            return [await self.txn(then=writes, timeout=timeout)]
        results: list[TxnResult] = []
        size, done = _MAX_TXN_OPS, 0
        while done < len(writes):
            try:
                results.append(await self.txn(then=writes[done : done + size], timeout=timeout))
            except (TooManyOps, RequestTooLarge):
                if size == 1:
                    raise
                size = min(size, len(writes) - done) // 2 or 1  # refused before anything was applied: less, then
            else:
                done += size
        return results


def _move(found: KeyValue, target: bytes, overwrite: bool) -> ops.Txn:
    when = [ops.mod_revision(found.key) == found.mod_revision]
    if not overwrite:
        when.append(ops.create_revision(target) == 0)
    write = ops.put(target, found.value, lease=found.lease or None)
    return ops.txn(when, [write, ops.delete(found.key)], [ops.get(found.key), ops.get(target, keys_only=True)])


def _moved_on(result: TxnResult, target: bytes, overwrite: bool) -> KeyValue | None:
    source, taken = result.results
    if taken is not None and not overwrite and source is not None:
        raise KeyExists(f"{target!r} exists: pass overwrite=True to replace it")
    return source if isinstance(source, KeyValue) else None
