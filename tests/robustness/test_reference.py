"""The true log: what several witnesses report, joined; a gap or a contradiction is not passed over."""

import asyncio

import pytest

from etcd_async.types import Event, KeyValue
from tests.robustness.reference import Log, LogError, with_previous


def put(key: bytes, revision: int, value: bytes = b"") -> Event:
    return Event("put", KeyValue(key, value, revision, revision, 1))


def deletion(key: bytes, revision: int) -> Event:
    return Event("delete", KeyValue(key, mod_revision=revision))


def test_witnesses_complete_each_other() -> None:
    log = Log()
    log.take("m0", [put(b"a", 2), put(b"b", 2), put(b"a", 3)])
    log.take("m1", [put(b"c", 5)])
    assert log.come == 3
    log.take("m2", [put(b"a", 3), deletion(b"b", 4), put(b"c", 5)])
    assert log.come == 5
    assert [(event.kv.key, event.revision) for event in log.events()] == [
        (b"a", 2),
        (b"b", 2),
        (b"a", 3),
        (b"b", 4),
        (b"c", 5),
    ]


def test_a_gap_is_no_log() -> None:
    log = Log()
    log.take("m0", [put(b"a", 2), put(b"a", 4)])
    with pytest.raises(LogError, match="revision 3 is missing, the last one is 4"):
        log.events()


def test_a_contradiction_is_no_log() -> None:
    log = Log()
    log.take("m0", [put(b"a", 2, b"1")])
    log.take("m1", [put(b"a", 2, b"2")])
    with pytest.raises(LogError, match="m1 says"):
        log.events()


def test_half_a_revision_is_a_contradiction() -> None:
    log = Log()
    log.take("m0", [put(b"a", 2), put(b"b", 2)])
    log.take("m1", [put(b"a", 2)])
    with pytest.raises(LogError):
        log.events()


def test_what_was_before_is_told_by_the_events() -> None:
    first, second, gone, third = with_previous([put(b"a", 2), put(b"a", 3), deletion(b"a", 4), put(b"a", 5)])
    assert first.prev_kv is None
    assert second.prev_kv == first.kv
    assert gone.prev_kv == second.kv
    assert third.prev_kv is None


async def test_the_log_can_be_waited_for() -> None:
    log = Log()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(log.until(3))
        log.take("m0", [put(b"a", 3)])
        log.take("m1", [put(b"a", 2)])
