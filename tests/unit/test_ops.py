from typing import Any

import pytest

from etcd_async import ops
from etcd_async.ops import Compare, CompareResult, CompareTarget, SortOrder, SortTarget


class SomeLease:
    id = 7


def test_put_takes_text_and_a_lease_or_its_id() -> None:
    assert ops.put("a", "é") == ops.Put(b"a", b"\xc3\xa9")
    assert ops.put("a", "b", lease=7).lease == ops.put("a", "b", lease=SomeLease()).lease == 7


@pytest.mark.parametrize(
    ("arguments", "error", "complaint"),
    [
        ({"key": ""}, ValueError, "key must not be empty"),
        ({"key": 1}, TypeError, "key must be str or bytes"),
        ({"key": "a", "value": 1}, TypeError, "value must be str or bytes"),
        ({"key": "a", "value": "b", "ignore_value": True}, ValueError, "value must be empty"),
        ({"key": "a", "lease": 1, "ignore_lease": True}, ValueError, "lease must be None"),
        ({"key": "a", "lease": "1"}, TypeError, "lease must be a lease or its id, not str"),
        ({"key": "a", "lease": True}, TypeError, "lease must be a lease or its id, not bool"),
    ],
)
def test_put_names_the_argument_that_is_wrong(
    arguments: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        ops.put(**arguments)


def test_key_order_is_left_to_the_server() -> None:
    plain = ops.range(prefix="a")
    assert (plain.sort_order, plain.sort_target) == (SortOrder.NONE, SortTarget.KEY)
    assert ops.range(prefix="a", sort_by="key") == plain


@pytest.mark.parametrize(
    ("sort_by", "target"),
    [
        ("key", SortTarget.KEY),
        ("version", SortTarget.VERSION),
        ("create_revision", SortTarget.CREATE),
        ("mod_revision", SortTarget.MOD),
        ("value", SortTarget.VALUE),
    ],
)
def test_every_sort_order_has_its_target(sort_by: ops.SortBy, target: SortTarget) -> None:
    op = ops.range(prefix="a", sort_by=sort_by, descending=True)
    assert (op.sort_order, op.sort_target) == (SortOrder.DESCEND, target)


@pytest.mark.parametrize(
    ("arguments", "error", "complaint"),
    [
        ({"prefix": "a", "limit": -1}, ValueError, "limit must be at least 1, not -1"),
        ({"prefix": "a", "limit": 0}, ValueError, "limit must be at least 1, not 0"),
        ({"prefix": "a", "limit": "3"}, TypeError, "limit must be an int, not str"),
        ({"prefix": "a", "limit": True}, TypeError, "limit must be an int, not bool"),
        ({"prefix": "a", "revision": -5}, ValueError, "revision must be at least 1"),
        ({"prefix": "a", "min_mod_revision": -5}, ValueError, "min_mod_revision must be at least 0"),
        ({"prefix": "a", "sort_by": "size"}, ValueError, "sort_by must be one of key, version"),
    ],
)
def test_range_names_the_argument_that_is_wrong(
    arguments: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        ops.range(**arguments)


@pytest.mark.parametrize(
    ("compare", "target", "result", "operand"),
    [
        (ops.value("k") == "v", CompareTarget.VALUE, CompareResult.EQUAL, b"v"),
        (ops.value("k") != b"v", CompareTarget.VALUE, CompareResult.NOT_EQUAL, b"v"),
        (ops.value("k") > "v", CompareTarget.VALUE, CompareResult.GREATER, b"v"),
        (ops.value("k") < "v", CompareTarget.VALUE, CompareResult.LESS, b"v"),
        (ops.version("k") == 1, CompareTarget.VERSION, CompareResult.EQUAL, 1),
        (ops.version("k") >= 1, CompareTarget.VERSION, CompareResult.GREATER, 0),
        (ops.mod_revision("k") <= 7, CompareTarget.MOD, CompareResult.LESS, 8),
        (ops.create_revision("k") != 0, CompareTarget.CREATE, CompareResult.NOT_EQUAL, 0),
        (ops.lease_of("k") == SomeLease(), CompareTarget.LEASE, CompareResult.EQUAL, 7),
        (ops.lease_of("k") == 0, CompareTarget.LEASE, CompareResult.EQUAL, 0),
        (0 < ops.version("k"), CompareTarget.VERSION, CompareResult.GREATER, 0),  # noqa: SIM300  # the reflected form
    ],
)
def test_a_comparison_builds_a_compare(
    compare: Compare, target: CompareTarget, result: CompareResult, operand: int | bytes
) -> None:
    assert compare == Compare(b"k", b"", target, result, operand)


def test_a_compare_can_cover_a_prefix() -> None:
    assert (ops.value(prefix="/p/") == "v") == Compare(b"/p/", b"/p0", CompareTarget.VALUE, CompareResult.EQUAL, b"v")


def test_values_have_no_greater_or_equal() -> None:
    with pytest.raises(TypeError, match="can't compare values with >=: use"):
        _ = ops.value("k") >= "v"


def test_numbers_are_not_compared_with_text() -> None:
    with pytest.raises(TypeError, match="version must be compared with an int, not str"):
        _ = ops.version("k") == "1"


def test_a_subject_alone_is_no_condition() -> None:
    with pytest.raises(TypeError, match="compare it with something"):
        bool(ops.value("k"))
    with pytest.raises(TypeError, match="unhashable"):
        hash(ops.value("k"))


def test_a_transaction_holds_compares_and_operations_only() -> None:
    with pytest.raises(TypeError, match="when must hold compares such as"):
        ops.txn(when=[True])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="then must hold operations such as put"):
        ops.txn(then=["put"])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="otherwise must hold operations"):
        ops.txn(otherwise=[None])  # type: ignore[list-item]


def test_a_transaction_is_read_only_if_no_branch_can_write() -> None:
    reads: list[ops.Op] = [ops.get("a"), ops.range(prefix="b")]
    assert ops.txn(then=reads, otherwise=[ops.txn(then=reads)]).is_read_only
    assert not ops.txn(then=reads, otherwise=[ops.put("a", "b")]).is_read_only
    assert not ops.txn(then=[ops.txn(otherwise=[ops.delete("a")])]).is_read_only


def test_operations_can_not_be_changed() -> None:
    with pytest.raises(AttributeError):
        ops.put("a", "b").key = b"c"  # type: ignore[misc]
