import pytest

from etcd_async import ops
from etcd_async._keys import END, to_range
from etcd_async._keyspace import Keyspace
from etcd_async.types import Batch, DeleteResult, Event, KeyValue, OpResult, PutResult, RangeResult, TxnResult

SPACE = Keyspace(b"/app/")


def test_a_key_gets_the_prefix() -> None:
    assert SPACE.span(b"k", b"") == (b"/app/k", b"")


def test_a_range_stays_inside_the_namespace() -> None:
    assert SPACE.span(*to_range(prefix="a")) == (b"/app/a", b"/app/b")
    assert SPACE.span(*to_range(start="a", from_key=True)) == (b"/app/a", b"/app0")
    assert SPACE.span(*to_range(prefix="")) == (b"/app/\x00", b"/app0")
    assert SPACE.span(*to_range(prefix=b"\xff")) == (b"/app/\xff", b"/app0")


def test_a_namespace_that_sorts_last_ends_with_the_key_space() -> None:
    assert Keyspace(b"\xff\xff").span(b"a", END) == (b"\xff\xffa", END)


def test_no_prefix_is_no_namespace() -> None:
    assert not Keyspace(b"")
    assert SPACE


def test_every_operation_goes_out_with_the_prefix() -> None:
    inner = ops.txn([ops.version("c") == 1], [ops.get("d")], [ops.delete(prefix="e")])
    out = SPACE.outgoing(ops.txn([ops.value(prefix="a") == "x"], [ops.put("b", "v", lease=3), inner]))
    assert out == ops.txn(
        [ops.value(prefix="/app/a") == "x"],
        [
            ops.put("/app/b", "v", lease=3),
            ops.txn([ops.version("/app/c") == 1], [ops.get("/app/d")], [ops.delete(prefix="/app/e")]),
        ],
    )
    assert SPACE.outgoing(ops.range(prefix="r", limit=4)) == ops.range(prefix="/app/r", limit=4)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (None, None),
        (KeyValue(b"/app/k", b"v", 1, 2, 3, 4), KeyValue(b"k", b"v", 1, 2, 3, 4)),
        (PutResult(5), PutResult(5)),
        (PutResult(5, KeyValue(b"/app/k")), PutResult(5, KeyValue(b"k"))),
        (DeleteResult(1, (KeyValue(b"/app/k"),), 5), DeleteResult(1, (KeyValue(b"k"),), 5)),
        (RangeResult((KeyValue(b"/app/k"),), 7, True, 5), RangeResult((KeyValue(b"k"),), 7, True, 5)),
        (
            TxnResult(True, 5, (TxnResult(False, 5, (KeyValue(b"/app/k"),)), None)),
            TxnResult(True, 5, (TxnResult(False, 5, (KeyValue(b"k"),)), None)),
        ),
    ],
)
def test_every_result_comes_in_without_the_prefix(result: OpResult, expected: OpResult) -> None:
    assert SPACE.incoming(result) == expected


def test_events_come_in_without_the_prefix() -> None:
    raw = Batch(
        9, (Event("put", KeyValue(b"/app/k"), KeyValue(b"/app/k", b"old")), Event("delete", KeyValue(b"/app/l")))
    )
    assert SPACE.batch(raw) == Batch(
        9, (Event("put", KeyValue(b"k"), KeyValue(b"k", b"old")), Event("delete", KeyValue(b"l")))
    )


def test_a_leases_foreign_keys_are_left_out() -> None:
    assert SPACE.keys([b"/app/a", b"/other", b"/app/b"]) == (b"a", b"b")
