"""The judge of histories finds what it is there to find."""

import pytest

from etcd_async import Event, KeyValue
from tests.faults.judge import Contest


def contest() -> Contest:
    return Contest(b"lock/", b"said/")


def put(key: bytes, revision: int, value: bytes = b"") -> list[Event]:
    return [Event("put", KeyValue(key, value, create_revision=revision, mod_revision=revision))]


def gone(key: bytes, revision: int) -> list[Event]:
    return [Event("delete", KeyValue(key, mod_revision=revision))]


GOOD = [
    put(b"lock/a", 2),
    put(b"lock/b", 3),
    put(b"said/a", 4, b"2"),
    put(b"said/a", 5, b"2"),
    gone(b"lock/a", 6),
    put(b"said/b", 7, b"3"),
]


def test_turns_in_order_are_counted_and_found_good() -> None:
    judged = contest()
    for events in GOOD:
        judged.see(events)
    assert judged.faults == []
    assert judged.tokens == [2, 3]
    assert judged.turns == {b"a": 1, b"b": 1}


@pytest.mark.parametrize(
    "bad",
    [
        [*GOOD[:2], put(b"said/b", 4, b"3")],  # the second speaks while the first holds
        [*GOOD, put(b"said/a", 8, b"2")],  # the first speaks after it has left
        [put(b"said/a", 2, b"1")],  # nobody holds
        [*GOOD[:3], gone(b"lock/a", 5), put(b"said/a", 6, b"2")],  # its key is gone
    ],
)
def test_a_word_of_anybody_but_the_holder_is_a_fault(bad: list[list[Event]]) -> None:
    judged = contest()
    for events in bad:
        judged.see(events)
    assert judged.faults
