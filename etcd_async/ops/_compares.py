"""What a transaction can be made to depend on: ``value(key) == "x"`` and the like."""

from __future__ import annotations

from etcd_async._keys import to_bytes, to_range
from etcd_async.ops._checks import lease_id
from etcd_async.ops._values import Compare, CompareResult, CompareTarget


class Subject:
    """What a compare is about: compare it with a value or a number to get the compare itself."""

    __slots__ = ("_key", "_range_end", "_target")
    __hash__: None = None  # type: ignore[assignment]  # comparing builds a Compare, so it can't be told equal

    def __init__(self, key: bytes, range_end: bytes, target: CompareTarget) -> None:
        self._key = key
        self._range_end = range_end
        self._target = target

    def __eq__(self, other: object) -> Compare:  # type: ignore[override]  # the point of this class
        return self._compare(CompareResult.EQUAL, other)

    def __ne__(self, other: object) -> Compare:  # type: ignore[override]
        return self._compare(CompareResult.NOT_EQUAL, other)

    def __gt__(self, other: object) -> Compare:
        return self._compare(CompareResult.GREATER, other)

    def __lt__(self, other: object) -> Compare:
        return self._compare(CompareResult.LESS, other)

    def __ge__(self, other: object) -> Compare:
        return self._compare(CompareResult.GREATER, self._number(other, ">=") - 1)

    def __le__(self, other: object) -> Compare:
        return self._compare(CompareResult.LESS, self._number(other, "<=") + 1)

    def __bool__(self) -> bool:
        raise TypeError("compare it with something: value(key) == 'x' is a condition, value(key) alone is not")

    def _compare(self, result: CompareResult, other: object) -> Compare:
        operand: int | bytes
        if self._target is CompareTarget.VALUE:
            operand = to_bytes(other, "the value compared with")
        elif self._target is CompareTarget.LEASE:
            operand = lease_id(other)
        else:
            operand = self._number(other, "==")
        return Compare(self._key, self._range_end, self._target, result, operand)

    def _number(self, other: object, operator: str) -> int:
        if self._target is CompareTarget.VALUE:
            raise TypeError(f"etcd can't compare values with {operator}: use ==, !=, < or >")
        if not isinstance(other, int) or isinstance(other, bool):
            raise TypeError(f"{self._target.name.lower()} must be compared with an int, not {type(other).__name__}")
        return other


def value(key: str | bytes | None = None, *, prefix: str | bytes | None = None) -> Subject:
    """Compare a key's value; over *prefix* the compare must hold for every key there, and never holds for none."""
    return Subject(*to_range(key, prefix=prefix), CompareTarget.VALUE)


def version(key: str | bytes | None = None, *, prefix: str | bytes | None = None) -> Subject:
    """Compare how often a key was written; 0 means that it does not exist."""
    return Subject(*to_range(key, prefix=prefix), CompareTarget.VERSION)


def create_revision(key: str | bytes | None = None, *, prefix: str | bytes | None = None) -> Subject:
    """Compare the revision that created a key; 0 means that it does not exist."""
    return Subject(*to_range(key, prefix=prefix), CompareTarget.CREATE)


def mod_revision(key: str | bytes | None = None, *, prefix: str | bytes | None = None) -> Subject:
    """Compare the revision of a key's last change; 0 means that it does not exist."""
    return Subject(*to_range(key, prefix=prefix), CompareTarget.MOD)


def lease_of(key: str | bytes | None = None, *, prefix: str | bytes | None = None) -> Subject:
    """Compare the lease that a key is attached to, with a lease or an id; 0 means none."""
    return Subject(*to_range(key, prefix=prefix), CompareTarget.LEASE)
