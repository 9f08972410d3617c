import copy
import pickle
from collections.abc import Callable, Sequence
from traceback import walk_tb

import pytest

from etcd_async.errors import DecryptionFailed
from etcd_async.types import Batch, Event, KeyValue, RangeResult, Service, UnreadableKeyValue


def test_a_value_reads_as_text_and_as_json() -> None:
    kv = KeyValue(b"k", '{"é": [1, 2]}'.encode())
    assert kv.text() == '{"é": [1, 2]}'
    assert kv.json() == {"é": [1, 2]}


def test_results_can_not_be_changed_and_carry_nothing_else() -> None:
    kv = KeyValue(b"k")
    with pytest.raises(AttributeError):
        kv.value = b"x"  # type: ignore[misc]
    assert not hasattr(kv, "__dict__")


def test_a_range_is_a_sequence_of_its_keys() -> None:
    kvs = [KeyValue(b"a"), KeyValue(b"b"), KeyValue(b"c")]
    result = RangeResult(kvs, count=9, more=True, revision=5)
    assert isinstance(result, Sequence)
    assert list(result) == kvs
    assert (len(result), result[0], result[-1]) == (3, kvs[0], kvs[2])
    assert list(result[1:]) == kvs[1:]
    assert kvs[1] in result
    assert result.count == 9
    assert not RangeResult()


def test_an_event_knows_whether_it_created_or_changed_its_key() -> None:
    created = Event("put", KeyValue(b"k", b"v", create_revision=4, mod_revision=4, version=1))
    changed = Event("put", KeyValue(b"k", b"w", create_revision=4, mod_revision=6, version=2))
    deleted = Event("delete", KeyValue(b"k", mod_revision=7))
    assert [(e.is_create, e.is_modify) for e in (created, changed, deleted)] == [
        (True, False),
        (False, True),
        (False, False),
    ]
    assert deleted.revision == 7


def test_a_batch_without_events_is_progress() -> None:
    assert Batch(5).is_progress
    assert not Batch(5, (Event("delete", KeyValue(b"k", mod_revision=5)),)).is_progress


def test_services_with_equal_names_and_metadata_are_equal_and_hashable() -> None:
    one = Service("billing", "1", "h:1", {"zone": "a"})
    assert one == Service("billing", "1", "h:1", {"zone": "a"})
    assert one != Service("billing", "1", "h:1")
    assert len({one, Service("billing", "1", "h:1", {"zone": "a"})}) == 1


KNOWN = KeyValue(b"k", b"sealed", 1, 2, 3, 4)
UNREADABLE = UnreadableKeyValue(KNOWN, DecryptionFailed(b"/ns/k", "it was changed"))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda kv: pickle.loads(pickle.dumps(kv))])
def test_a_key_that_can_not_be_read_can_be_copied(copied: Callable[[KeyValue], KeyValue]) -> None:
    other = copied(UNREADABLE)
    assert isinstance(other, UnreadableKeyValue)
    assert other == UNREADABLE
    assert hash(other) == hash(UNREADABLE)
    assert (other.create_revision, other.version, other.lease) == (1, 3, 4)
    with pytest.raises(DecryptionFailed, match="/ns/k"):
        _ = other.value


def test_a_key_that_can_not_be_read_shows_nothing_and_equals_no_other() -> None:
    assert repr(UNREADABLE) == "<UnreadableKeyValue b'k': it was changed>"
    assert UNREADABLE != KNOWN
    assert KNOWN != UNREADABLE
    assert UnreadableKeyValue(KeyValue(b"k", mod_revision=3), UNREADABLE.error) != UNREADABLE
    for read in (UNREADABLE.text, UNREADABLE.json):
        with pytest.raises(DecryptionFailed):
            read()


def test_a_value_that_can_not_be_read_holds_none_of_the_frames_that_tried() -> None:
    depths = set()
    for _ in range(9):
        with pytest.raises(DecryptionFailed) as caught:
            _ = UNREADABLE.value
        depths.add(len(list(walk_tb(caught.value.__traceback__))))
    assert depths == {2}
