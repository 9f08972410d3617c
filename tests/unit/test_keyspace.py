import pytest

from etcd_async import ops
from etcd_async._keys import END, to_range
from etcd_async._keyspace import Keyspace
from etcd_async.crypto import Encryption, Keyring
from etcd_async.errors import DecryptionFailed
from etcd_async.types import (
    Batch,
    DeleteResult,
    Event,
    KeyValue,
    OpResult,
    PutResult,
    RangeResult,
    TxnResult,
    UnreadableKeyValue,
)

SPACE = Keyspace(b"/app/")
ENCRYPTION = Encryption(Keyring([bytes(32)]), prefixes=("/app/secrets/",))
SEALING = Keyspace(b"/app/", ENCRYPTION)
ANY = ops.delete("any")


def test_a_key_gets_the_prefix() -> None:
    assert SPACE.span(b"k", b"") == (b"/app/k", b"")


def test_a_range_stays_inside_the_namespace() -> None:
    assert SPACE.span(*to_range(prefix="a")) == (b"/app/a", b"/app/b")
    assert SPACE.span(*to_range(start="a", from_key=True)) == (b"/app/a", b"/app0")
    assert SPACE.span(*to_range(prefix="")) == (b"/app/\x00", b"/app0")
    assert SPACE.span(*to_range(prefix=b"\xff")) == (b"/app/\xff", b"/app0")


def test_a_namespace_that_sorts_last_ends_with_the_key_space() -> None:
    assert Keyspace(b"\xff\xff").span(b"a", END) == (b"\xff\xffa", END)


def test_neither_prefix_nor_cipher_maps_nothing() -> None:
    assert not Keyspace(b"").maps
    assert SPACE.maps
    assert Keyspace(b"", ENCRYPTION).maps


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
    op = ops.txn([], [ops.txn(otherwise=[ANY]), ANY]) if isinstance(result, TxnResult) else ANY
    assert SPACE.incoming(op, result) == expected


def test_events_come_in_without_the_prefix() -> None:
    raw = Batch(
        9, (Event("put", KeyValue(b"/app/k"), KeyValue(b"/app/k", b"old")), Event("delete", KeyValue(b"/app/l")))
    )
    assert SPACE.batch(raw) == Batch(
        9, (Event("put", KeyValue(b"k"), KeyValue(b"k", b"old")), Event("delete", KeyValue(b"l")))
    )


def test_a_leases_foreign_keys_are_left_out() -> None:
    assert SPACE.keys([b"/app/a", b"/other", b"/app/b"]) == (b"a", b"b")


def sealed(key: bytes, value: bytes = b"v", **fields: int) -> KeyValue:
    """Return a key as the server holds it."""
    name = b"/app/" + key
    return KeyValue(name, ENCRYPTION.seal(name, value), **fields)


def test_values_go_out_sealed_under_the_full_name() -> None:
    out = SEALING.outgoing(ops.txn(then=[ops.put("secrets/a", "v"), ops.txn(then=[ops.put("public", "v")])]))
    assert isinstance(out, ops.Txn)
    secret, inner = out.success
    assert isinstance(secret, ops.Put)
    assert isinstance(inner, ops.Txn)
    assert ENCRYPTION.open(b"/app/secrets/a", secret.value) == b"v"
    assert inner.success == (ops.put("/app/public", "v"),)


def test_a_put_that_keeps_the_value_sends_none() -> None:
    assert SEALING.outgoing(ops.put("secrets/a", ignore_value=True)) == ops.put("/app/secrets/a", ignore_value=True)


S = b"secrets/a"


@pytest.mark.parametrize(
    ("op", "result", "expected"),
    [
        (ops.get(S), sealed(S, version=2), KeyValue(S, b"v", version=2)),
        (ops.get(S, keys_only=True), KeyValue(b"/app/secrets/a"), KeyValue(S)),
        (ops.range(prefix=""), RangeResult((sealed(S),), 1), RangeResult((KeyValue(S, b"v"),), 1)),
        (
            ops.range(prefix="", keys_only=True),
            RangeResult((KeyValue(b"/app/secrets/a"),), 1),
            RangeResult((KeyValue(S),), 1),
        ),
        (ops.put(S, prev_kv=True), PutResult(5, sealed(S, b"old")), PutResult(5, KeyValue(S, b"old"))),
        (ops.delete(S, prev_kv=True), DeleteResult(1, (sealed(S),), 5), DeleteResult(1, (KeyValue(S, b"v"),), 5)),
        (
            ops.txn(then=[ops.get(S, keys_only=True), ops.txn(otherwise=[ops.get(S)])]),
            TxnResult(True, 5, (KeyValue(b"/app/secrets/a"), TxnResult(False, 5, (sealed(S),)))),
            TxnResult(True, 5, (KeyValue(S), TxnResult(False, 5, (KeyValue(S, b"v"),)))),
        ),
    ],
)
def test_every_result_comes_in_opened(op: ops.Op, result: OpResult, expected: OpResult) -> None:
    assert SEALING.incoming(op, result) == expected


def test_events_come_in_opened() -> None:
    raw = Batch(
        9, (Event("put", sealed(S), sealed(S, b"old")), Event("delete", KeyValue(b"/app/secrets/a"), sealed(S)))
    )
    assert SEALING.batch(raw) == Batch(
        9, (Event("put", KeyValue(S, b"v"), KeyValue(S, b"old")), Event("delete", KeyValue(S), KeyValue(S, b"v")))
    )


def test_one_value_that_can_not_be_opened_costs_no_other() -> None:
    raw = RangeResult((KeyValue(b"/app/secrets/a", b"plain", 1, 2, 3, 4), sealed(b"secrets/b")), 2)
    found = SEALING.incoming(ops.range(prefix=""), raw)
    assert isinstance(found, RangeResult)
    bad, good = found
    assert good.value == b"v"
    assert isinstance(bad, UnreadableKeyValue)
    assert (bad.key, bad.create_revision, bad.mod_revision, bad.version, bad.lease) == (S, 1, 2, 3, 4)
    for read in (lambda: bad.value, bad.text, bad.json):
        with pytest.raises(DecryptionFailed, match="not encrypted") as caught:
            read()
        assert caught.value is bad.error
        assert caught.value.key == b"/app/secrets/a"
    assert "plain" not in repr(found)


@pytest.mark.parametrize(
    "op",
    [
        ops.txn([ops.value(S) == "v"]),
        ops.txn([ops.value(prefix="") == "v"]),
        ops.txn(then=[ops.txn([ops.value(S) > "v"])]),
        ops.range(prefix="s", sort_by="value"),
    ],
)
def test_what_the_server_would_need_the_value_for_is_refused(op: ops.Op) -> None:
    with pytest.raises(ValueError, match=r"encrypted.*(compare_and_swap|sort it here)"):
        SEALING.outgoing(op)


def test_plain_values_can_be_compared_and_sorted() -> None:
    out = SEALING.outgoing(ops.txn([ops.value("public") == "v"], [ops.range(prefix="public", sort_by="value")]))
    assert out == ops.txn([ops.value("/app/public") == "v"], [ops.range(prefix="/app/public", sort_by="value")])
