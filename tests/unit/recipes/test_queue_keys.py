"""The keys of a queue: their order, and what follows from them."""

import random
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcd_async.recipes import _queue_keys
from etcd_async.recipes._queue_keys import LOWEST, QueueKeys, priority_of
from etcd_async.types import Batch, Event, KeyValue

PRIORITIES = st.integers(LOWEST, -LOWEST - 1)
REVISIONS = st.integers(1, 2**63 - 1)
NAMES = st.binary(min_size=1, max_size=20)
LEASES = st.integers(1, 2**63 - 1).map(lambda lease: f"{lease:x}".encode())


@given(NAMES, st.lists(st.tuples(PRIORITIES, REVISIONS), unique=True, max_size=20))
def test_keys_sort_by_priority_and_then_by_the_revision_read(name: bytes, items: list[tuple[int, int]]) -> None:
    keys = QueueKeys(name)
    made = {keys.new_item(*item): item for item in items}
    assert [made[key] for key in sorted(made)] == sorted(items)
    assert all(priority_of(key) == priority for key, (priority, _) in made.items())


@given(NAMES, st.integers(1, 30))
def test_what_one_process_puts_at_one_revision_keeps_its_order(name: bytes, number: int) -> None:
    keys = QueueKeys(name)
    made = [keys.new_item(0, 7) for _ in range(number)]
    assert made == sorted(set(made))


@given(NAMES, PRIORITIES, REVISIONS, LEASES)
def test_a_claim_tells_its_item_and_both_lie_in_what_is_watched(
    name: bytes, priority: int, revision: int, lease: bytes
) -> None:
    keys = QueueKeys(name)
    item = keys.new_item(priority, revision)
    claim = keys.claims_on(item) + lease
    first, end = keys.watched
    assert keys.claimed_by(claim) == item
    assert first <= claim < end
    assert first <= item < end
    assert not first <= keys.line + lease < end


def test_the_claims_on_one_item_are_not_those_on_another() -> None:
    keys = QueueKeys(b"q")
    one, other = keys.new_item(0, 1), keys.new_item(0, 1)
    assert not (keys.claims_on(other) + b"7").startswith(keys.claims_on(one))


@given(st.integers(0, 12), st.sets(st.integers(0, 20)))
def test_unclaimed_items_are_those_that_no_claim_is_on_in_their_order(number: int, claimed: set[int]) -> None:
    keys = QueueKeys(b"q")
    items = [keys.new_item(0, 1) for _ in range(number)]
    gone = [keys.new_item(0, 1) for _ in range(21)]  # acknowledged by a transaction of the user, the claim not yet gone
    claims = [keys.claims_on((items + gone)[at]) + b"7" for at in claimed]
    found = keys.unclaimed(KeyValue(key) for key in sorted([*items, *claims]))
    assert [kv.key for kv in found] == [item for at, item in enumerate(items) if at not in claimed]


@given(st.integers(0, 2**32 - 1))
def test_a_batch_frees_something_exactly_if_there_is_an_item_to_claim_that_was_not_before(seed: int) -> None:
    chooser = random.Random(seed)
    keys = QueueKeys(b"q")
    items = {keys.new_item(0, 1) for _ in range(3)}
    claims = {keys.claims_on(item) + b"7": item for item in items if chooser.random() < 0.6}
    free = items - set(claims.values())
    match chooser.choice(["put", "claim", "acknowledge", "release", "expire", "elsewhere"]):
        case "put":
            item = keys.new_item(0, 2)
            events, after = [Event("put", KeyValue(item))], free | {item}
        case "claim" if free:
            item = chooser.choice(sorted(free))
            events, after = [Event("put", KeyValue(keys.claims_on(item) + b"8"))], free - {item}
        case "acknowledge" if claims:
            claim = chooser.choice(sorted(claims))
            events, after = [Event("delete", KeyValue(claims[claim])), Event("delete", KeyValue(claim))], free
        case "release" if claims:
            claim = chooser.choice(sorted(claims))
            events, after = [Event("delete", KeyValue(claim))], free | {claims[claim]}
        case "expire" if claims:  # of a consumer that had claimed several
            events, after = [Event("delete", KeyValue(claim)) for claim in sorted(claims)], items
        case _:
            events, after = [], free
    assert keys.frees(Batch(9, tuple(events))) is bool(after - free)


def test_items_of_programs_that_seed_chance_alike_are_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    made = set()
    for _ in range(2):
        random.seed(0)
        monkeypatch.setattr(_queue_keys, "_serial", count())
        made.add(QueueKeys(b"q").new_item(0, 7))
    assert len(made) == 2
