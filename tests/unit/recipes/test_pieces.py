from hypothesis import given
from hypothesis import strategies as st

from etcd_async import delete, ops, put
from etcd_async.recipes import _pieces
from etcd_async.recipes._pieces import MOST_OPS, pieces


@given(st.lists(st.integers(0, 700_000), max_size=400))
def test_every_piece_fits_and_nothing_is_lost_or_moved(sizes: list[int]) -> None:
    value = bytes(700_000)
    writes: list[ops.Op] = [
        put(f"{number}", value[:size]) if size else delete(f"{number}") for number, size in enumerate(sizes)
    ]
    cut = list(pieces(writes))
    assert [write for piece in cut for write in piece] == writes
    for piece in cut:
        assert 0 < len(piece) <= MOST_OPS
        assert len(piece) == 1 or sum(map(_pieces._weight, piece)) <= 1024 * 1024


def test_keys_have_a_weight_too() -> None:
    writes = [delete("x" * 1_000_000), delete("y" * 1_000_000)]
    assert [len(piece) for piece in pieces(writes)] == [1, 1]


def test_what_is_too_large_by_itself_goes_alone() -> None:
    writes = [put("a", ""), put("b", bytes(2**21)), put("c", "")]
    assert [[write.key for write in piece] for piece in pieces(writes)] == [[b"a"], [b"b"], [b"c"]]
