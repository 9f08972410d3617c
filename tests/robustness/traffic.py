"""What a client does next: requests, drawn from a seed and from what the client has seen. No I/O."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Final

from etcd_async import create_revision, delete, get, lease_of, mod_revision, ops, put, txn, value, version
from etcd_async.types import KeyValue
from tests.robustness.history import Answer, Grant, Request, Revoke

__all__ = ["KEYS", "PREFIX", "Choices", "Supplies", "is_fuzzy", "is_write"]

PREFIX: Final = b"/k/"
KEYS: Final = tuple(PREFIX + b"%d" % number for number in range(10))

_TTL = 7200  # far longer than any run: the judge knows no expiry
_FAR = 100_000  # further than any run gets


@dataclass(slots=True)
class Supplies:
    """
    What must be unique in a run, and what may not go on too often at once.

    Attributes:
        values: Contents of puts.
        leases: Ids of leases.
        has_safe_reads: A read-only transaction that is given up does not kill the server (etcd before 3.5.6: #14110).
    """

    values: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    leases: Iterator[int] = field(default_factory=lambda: itertools.count(1001))
    has_safe_reads: bool = True


class Choices:
    """
    One client's choices.

    Args:
        random: Of this client alone, so that others don't change what it chooses.
        supplies: Of the run.
    """

    def __init__(self, random: Random, supplies: Supplies) -> None:
        self._random = random
        self._supplies = supplies
        self._seen: dict[bytes, KeyValue] = {}
        self._lease = 0
        self._kinds: dict[Callable[[int], Request], int] = {
            self._get: 5,
            self._read: 10,
            self._list: 8,
            self._old: 8,
            self._stale: 6,
            self._put: 24,
            self._put_on_lease: 6,
            self._revoke: 3,
            self._many: 10,
            self._swap: 10,
            self._create: 4,
            self._delete: 4,
            self._clear: 1,
        }

    def next(self, revision: int) -> Request:
        """Return the next request; *revision* is the highest that is known."""
        (chosen,) = self._random.choices(list(self._kinds), list(self._kinds.values()))
        return chosen(revision)

    def instead(self) -> Request:
        """Return a write that can be told from all others, in place of one that can't."""
        return self._put(0)

    def learn(self, request: Request, answer: Answer) -> None:
        """Remember what an answer told."""
        for kv in answer.kvs:
            self._seen[kv.key] = kv
        for each in answer.answers:
            for kv in each.kvs:
                self._seen[kv.key] = kv
        if isinstance(request, Grant):
            self._lease = answer.lease

    @property
    def _key(self) -> bytes:
        return self._random.choice(KEYS)

    @property
    def _coin(self) -> bool:
        return self._random.random() < 0.5

    @property
    def _rarely(self) -> bool:
        return self._random.random() < 0.1

    def _value(self) -> bytes:
        return b"%d" % next(self._supplies.values)

    def _get(self, revision: int) -> Request:
        return get(self._key)

    def _read(self, revision: int) -> Request:
        return ops.Range(self._key, keys_only=self._rarely)

    def _list(self, revision: int) -> Request:
        limit = self._random.randint(1, 4) if self._coin else None
        return ops.range(prefix=PREFIX, limit=limit, keys_only=self._rarely, count_only=self._rarely)

    def _old(self, revision: int) -> Request:
        at = revision + _FAR if self._rarely else max(1, revision - self._random.randint(0, 60))
        if self._coin:
            return ops.Range(self._key, revision=at, serializable=self._coin)
        return ops.range(prefix=PREFIX, revision=at, serializable=self._coin)

    def _stale(self, revision: int) -> Request:
        return ops.Range(self._key, serializable=True) if self._coin else ops.range(prefix=PREFIX, serializable=True)

    def _put(self, revision: int) -> Request:
        return put(self._key, self._value(), prev_kv=self._coin)

    def _put_on_lease(self, revision: int) -> Request:
        if not self._lease:
            return Grant(next(self._supplies.leases), _TTL)
        return put(self._key, self._value(), lease=self._lease)

    def _revoke(self, revision: int) -> Request:
        if not self._lease:
            return Grant(next(self._supplies.leases), _TTL)
        lease, self._lease = self._lease, 0
        return Revoke(lease)

    def _many(self, revision: int) -> Request:
        when = [self._condition(self._key) for _ in range(self._random.randint(0, 2))]
        keys = self._random.sample(KEYS, 8)
        then = [put(keys[0], self._value()), *(self._operation(key) for key in keys[1:4])]
        if self._supplies.has_safe_reads and self._rarely:
            return txn(when, [get(key) for key in keys[:3]], [ops.range(prefix=PREFIX)])
        self._random.shuffle(then)
        return txn(when, then, [self._operation(key) for key in keys[4:7]])

    def _operation(self, key: bytes) -> ops.Op:
        kinds: list[Callable[[], ops.Op]] = [
            lambda: put(key, self._value(), prev_kv=self._coin),
            lambda: put(key, self._value(), prev_kv=self._coin),
            lambda: delete(key, prev_kv=self._coin),
            lambda: get(key),
            lambda: ops.range(prefix=PREFIX, keys_only=self._coin),
        ]
        return self._random.choice(kinds)()

    def _condition(self, key: bytes) -> ops.Compare:
        seen = self._seen.get(key, KeyValue(key))
        conditions = [
            version(key) == seen.version,
            version(key) > seen.version,
            mod_revision(key) == seen.mod_revision,
            mod_revision(key) <= seen.mod_revision + 5,
            create_revision(key) != 0,
            create_revision(key) == seen.create_revision,
            value(key) == seen.value,
            value(key) != seen.value,
            lease_of(key) == seen.lease,
            version(prefix=PREFIX) > 0,
        ]
        return self._random.choice(conditions)

    def _swap(self, revision: int) -> Request:
        key = self._key
        seen = self._seen.get(key, KeyValue(key))
        condition = mod_revision(key) == seen.mod_revision if self._coin else value(key) == seen.value
        return txn([condition], [put(key, self._value(), prev_kv=self._coin)], [ops.Range(key)])

    def _create(self, revision: int) -> Request:
        key = self._key
        return txn([create_revision(key) == 0], [put(key, self._value())], [get(key)])

    def _delete(self, revision: int) -> Request:
        return delete(self._key, prev_kv=self._coin)

    def _clear(self, revision: int) -> Request:
        first, end = sorted(self._random.sample(KEYS, 2))
        return delete(start=first, end=end, prev_kv=self._coin)


def is_write(request: Request) -> bool:
    """Whether carrying it out could change the store, or what is kept of it."""
    if isinstance(request, ops.Txn):
        return not request.is_read_only
    return not isinstance(request, ops.Get | ops.Range)


def is_fuzzy(request: Request) -> bool:
    """Whether its effect can't be told from that of another such request: few of these may go on at once."""
    return isinstance(request, ops.Delete | Revoke)
