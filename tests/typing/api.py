"""The public interface as a user's type checker sees it; checked, never run."""

from typing import assert_type

from etcd_async.errors import EtcdError, RpcError, Unavailable
from etcd_async.types import Event, EventType, KeyValue, PutResult, RangeResult


def a_key(kv: KeyValue) -> None:
    assert_type(kv.key, bytes)
    assert_type(kv.value, bytes)
    assert_type(kv.mod_revision, int)
    assert_type(kv.text(), str)


def a_range(found: RangeResult) -> None:
    assert_type(found[0], KeyValue)
    assert_type([kv.key for kv in found], list[bytes])
    assert_type(found.revision, int)
    assert_type(found.more, bool)


def a_put(result: PutResult) -> None:
    assert_type(result.revision, int)
    assert_type(result.prev_kv, KeyValue | None)


def an_event(event: Event) -> None:
    assert_type(event.type, EventType)
    assert_type(event.kv, KeyValue)
    assert_type(event.prev_kv, KeyValue | None)
    assert_type(event.is_create, bool)


def errors(error: EtcdError) -> None:
    assert_type(error.maybe_applied, bool)
    if isinstance(error, RpcError):
        assert_type(error.message, str)
    if isinstance(error, Unavailable):
        assert_type(error.attempts[0].endpoint, str)
