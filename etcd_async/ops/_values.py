"""Operations and compares as they are handed on: etcd's enums, and a class for each kind."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

SortBy: TypeAlias = Literal["key", "version", "create_revision", "mod_revision", "value"]


class SortOrder(enum.IntEnum):
    """etcd's ``RangeRequest.SortOrder``."""

    NONE = 0
    ASCEND = 1
    DESCEND = 2


class SortTarget(enum.IntEnum):
    """etcd's ``RangeRequest.SortTarget``."""

    KEY = 0
    VERSION = 1
    CREATE = 2
    MOD = 3
    VALUE = 4


class CompareResult(enum.IntEnum):
    """etcd's ``Compare.CompareResult``."""

    EQUAL = 0
    GREATER = 1
    LESS = 2
    NOT_EQUAL = 3


class CompareTarget(enum.IntEnum):
    """etcd's ``Compare.CompareTarget``."""

    VERSION = 0
    CREATE = 1
    MOD = 2
    VALUE = 3
    LEASE = 4


class HasId(Protocol):
    """Anything with a lease's id, such as `etcd_async.lease.Lease`."""

    @property
    def id(self) -> int:
        """The lease's id."""
        ...


LeaseLike: TypeAlias = int | HasId
"""A lease or its id."""


@dataclass(frozen=True, slots=True)
class Put:
    """Write one key; build it with `put`."""

    key: bytes
    value: bytes = b""
    lease: int = 0
    prev_kv: bool = False
    ignore_value: bool = False
    ignore_lease: bool = False


@dataclass(frozen=True, slots=True)
class Get:
    """Read one key; build it with `get`."""

    key: bytes
    revision: int = 0
    serializable: bool = False
    keys_only: bool = False


@dataclass(frozen=True, slots=True)
class Range:
    """Read a range of keys; build it with `range`."""

    key: bytes
    range_end: bytes = b""
    limit: int = 0
    revision: int = 0
    sort_order: SortOrder = SortOrder.NONE
    sort_target: SortTarget = SortTarget.KEY
    serializable: bool = False
    keys_only: bool = False
    count_only: bool = False
    min_mod_revision: int = 0
    max_mod_revision: int = 0
    min_create_revision: int = 0
    max_create_revision: int = 0


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete one key or a range of keys; build it with `delete`."""

    key: bytes
    range_end: bytes = b""
    prev_kv: bool = False


@dataclass(frozen=True, slots=True)
class Compare:
    """One condition of a transaction; build it by comparing `value`, `version`, ... with something."""

    key: bytes
    range_end: bytes
    target: CompareTarget
    result: CompareResult
    operand: int | bytes


@dataclass(frozen=True, slots=True)
class Txn:
    """A transaction, alone or inside another; build it with `txn`."""

    compare: tuple[Compare, ...] = ()
    success: tuple[Op, ...] = ()
    failure: tuple[Op, ...] = ()

    @property
    def is_read_only(self) -> bool:
        """True if neither branch can write."""
        return all(
            op.is_read_only if isinstance(op, Txn) else isinstance(op, Get | Range)
            for op in self.success + self.failure
        )


Op: TypeAlias = "Put | Get | Range | Delete | Txn"
