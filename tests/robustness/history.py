"""
What a run recorded, as typed values and as JSON lines: operations, what watches received, and the true event log.

A folder holds one run: ``operations.jsonl`` (a line per operation), ``watches.jsonl`` (a line per thing that happened
to a watch, in the order received), ``reference.jsonl`` (a line per event of the store from revision 2 on) and
``run.json`` (seed, faults: free to the recorder). Fields with their default value are left out; keys and values are
written as Latin-1, so that every byte string is JSON and sorts as its bytes. Times are nanoseconds of one monotonic
clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias

from etcd_async import ops
from etcd_async.types import DeleteResult, Event, KeyValue, LeaseGrant, PutResult, RangeResult, TxnResult

OPERATIONS = "operations.jsonl"
WATCHES = "watches.jsonl"
REFERENCE = "reference.jsonl"
RUN = "run.json"


@dataclass(frozen=True, slots=True)
class Grant:
    """A request for a lease: with *lease* as its id, or, if 0, one the server chooses (known only if answered)."""

    lease: int = 0
    ttl: int = 0


@dataclass(frozen=True, slots=True)
class Revoke:
    """The end of a lease and of its keys."""

    lease: int


@dataclass(frozen=True, slots=True)
class Compact:
    """The end of the history before *revision*."""

    revision: int


Request: TypeAlias = "ops.Op | Grant | Revoke | Compact"


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What etcd answered to one operation, or to one inside a transaction.

    Attributes:
        revision: The header's revision; 0 where the client's API does not tell (`get`, inside a transaction).
        kvs: What a get or a range found.
        count: How many keys the range holds; None where the API does not tell (`get`).
        deleted: How many keys a delete deleted.
        prev_kvs: What a put or a delete replaced, if it was asked for.
        succeeded: Which branch a transaction took.
        answers: One per operation of that branch.
        lease: The id that a grant was given.
    """

    revision: int = 0
    kvs: tuple[KeyValue, ...] = ()
    count: int | None = None
    more: bool = False
    deleted: int = 0
    prev_kvs: tuple[KeyValue, ...] = ()
    succeeded: bool = False
    answers: tuple[Answer, ...] = ()
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """
    What an operation raised.

    Attributes:
        error: The name of the exception's class.
        maybe_applied: What the exception says.
    """

    error: str
    message: str = ""
    maybe_applied: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of a client: never two at once under the same *client* id, and none after one with unknown outcome."""

    client: int
    request: Request
    call: int
    end: int
    outcome: Answer | Failure

    def __str__(self) -> str:
        return operation_line(self)


@dataclass(frozen=True, slots=True)
class Asked:
    """
    How a watch was asked for; the first line of every watch.

    Attributes:
        start_revision: As asked for; 0 is "from now".
        known_revision: Of a watch from now: the store's revision in an answer that came before the watch was entered.
            Its events are later than that.
    """

    key: bytes
    range_end: bytes = b""
    start_revision: int = 0
    prev_kv: bool = False
    filters: tuple[Literal["no_put", "no_delete"], ...] = ()
    known_revision: int = 0


@dataclass(frozen=True, slots=True)
class Started:
    """
    The body of the watch began; at most once.

    Attributes:
        revision: Of a watch from now: the store's revision in the answer to a linearizable read that was sent after the
            body began. No event later than that may be missing.
    """

    revision: int = 0


@dataclass(frozen=True, slots=True)
class Got:
    """One batch as `Watch.batches` gave it; without events it is a word of progress."""

    revision: int
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """
    The watch is over; at most once, and last.

    Attributes:
        error: The name of the exception's class that iterating raised; empty if the body was left.
        compact_revision: What a `Compacted` says.
    """

    error: str = ""
    message: str = ""
    compact_revision: int = 0


Word: TypeAlias = Asked | Started | Got | Ended


@dataclass(frozen=True, slots=True)
class WatchLine:
    """One line of ``watches.jsonl``."""

    watch: int
    time: int
    word: Word


@dataclass(frozen=True, slots=True)
class WatchLog:
    """All that happened to one watch, in order, without what it was asked."""

    watch: int
    asked: Asked
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class History:
    """One run."""

    operations: tuple[Operation, ...] = ()
    watches: tuple[WatchLog, ...] = ()
    reference: tuple[Event, ...] = ()
    run: dict[str, Any] = field(default_factory=dict)


def answer(result: object, *, revision: int = 0) -> Answer:
    """Return what a client's method returned as an `Answer`; *revision* if it is known otherwise."""
    match result:
        case None | KeyValue():
            return Answer(revision, kvs=() if result is None else (result,))
        case RangeResult():
            return Answer(result.revision, kvs=tuple(result.kvs), count=result.count, more=result.more)
        case PutResult():
            return Answer(result.revision, prev_kvs=() if result.prev_kv is None else (result.prev_kv,))
        case DeleteResult():
            return Answer(result.revision, deleted=result.deleted, prev_kvs=result.prev_kvs)
        case TxnResult():
            answers = tuple(answer(each) for each in result.results)
            return Answer(result.revision, succeeded=result.succeeded, answers=answers)
        case LeaseGrant():
            return Answer(revision, lease=result.id)
    raise TypeError(f"no answer of etcd: {result!r}")


def failure(error: BaseException) -> Failure:
    """Return what a client raised; what is no `EtcdError` (such as a cancellation) may have been applied."""
    return Failure(type(error).__name__, str(error), getattr(error, "maybe_applied", True))


def operation_line(operation: Operation) -> str:
    """Return the line of an operation."""
    outcome = {"error": plain(operation.outcome)} if isinstance(operation.outcome, Failure) else {}
    record = {
        "client": operation.client,
        "call": operation.call,
        "end": operation.end,
        "request": plain(operation.request),
        **(outcome or {"answer": plain(operation.outcome)}),
    }
    return json.dumps(record)


def watch_line(line: WatchLine) -> str:
    """Return the line of something that happened to a watch."""
    return json.dumps({"watch": line.watch, "time": line.time, **plain(line.word)})


def reference_line(event: Event) -> str:
    """Return the line of an event of the store, which must hold what was before (`prev_kv`)."""
    return json.dumps(plain(event))


def write(folder: Path, history: History) -> None:
    """Write a whole history."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / OPERATIONS, map(operation_line, history.operations))
    _write(folder / REFERENCE, map(reference_line, history.reference))
    lines = (watch_line(WatchLine(log.watch, 0, word)) for log in history.watches for word in (log.asked, *log.words))
    _write(folder / WATCHES, lines)
    (folder / RUN).write_text(json.dumps(history.run, indent=2) + "\n")


def read(folder: Path) -> History:
    """
    Read a whole history.

    Raises:
        ValueError, LookupError, OSError: A file is missing, or a line is not as it must be.
    """
    return History(
        operations=tuple(map(_operation, _records(folder / OPERATIONS))),
        watches=tuple(_logs(_records(folder / WATCHES))),
        reference=tuple(_event(record) for record in _records(folder / REFERENCE)),
        run=json.loads((folder / RUN).read_text()),
    )


def _write(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")


def _records(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="ascii") as lines:
        for line in lines:
            yield json.loads(line)


# What a dict says it is, where more than one thing can stand.
_TAGGED: dict[type, tuple[str, str]] = {
    ops.Get: ("op", "get"),
    ops.Range: ("op", "range"),
    ops.Put: ("op", "put"),
    ops.Delete: ("op", "delete"),
    ops.Txn: ("op", "txn"),
    Grant: ("op", "grant"),
    Revoke: ("op", "revoke"),
    Compact: ("op", "compact"),
    Asked: ("word", "asked"),
    Started: ("word", "started"),
    Got: ("word", "got"),
    Ended: ("word", "ended"),
}
_CLASSES = {tag: cls for cls, tag in _TAGGED.items()}


def plain(value: Any) -> Any:
    """Return a value as JSON has it, without what is as by default."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    if not hasattr(value, "__dataclass_fields__"):
        return value
    tag = _TAGGED.get(type(value))
    record = {tag[0]: tag[1]} if tag else {}
    for each in fields(value):
        content = getattr(value, each.name)
        if each.default is MISSING or content != each.default:
            record[each.name] = plain(content)
    return record


def _operation(record: dict[str, Any]) -> Operation:
    outcome = Failure(**record["error"]) if "error" in record else _answer(record["answer"])
    return Operation(record["client"], _request(record["request"]), record["call"], record["end"], outcome)


def _request(record: dict[str, Any]) -> Any:
    record = dict(record)
    cls = _CLASSES["op", record.pop("op")]
    if cls is ops.Txn:
        return ops.Txn(
            compare=tuple(_compare(each) for each in record.get("compare", ())),
            success=tuple(_request(each) for each in record.get("success", ())),
            failure=tuple(_request(each) for each in record.get("failure", ())),
        )
    return cls(**_with_bytes(record, "key", "value", "range_end"))


def _compare(record: dict[str, Any]) -> ops.Compare:
    target = ops.CompareTarget(record["target"])
    names = ("key", "range_end", "operand") if target is ops.CompareTarget.VALUE else ("key", "range_end")
    record = _with_bytes(record, *names)
    return ops.Compare(**{**record, "target": target, "result": ops.CompareResult(record["result"])})


def _answer(record: dict[str, Any]) -> Answer:
    record = dict(record)
    for name in ("kvs", "prev_kvs"):
        record[name] = tuple(_key_value(each) for each in record.get(name, ()))
    record["answers"] = tuple(_answer(each) for each in record.get("answers", ()))
    return Answer(**record)


def _key_value(record: dict[str, Any]) -> KeyValue:
    return KeyValue(**_with_bytes(record, "key", "value"))


def _event(record: dict[str, Any]) -> Event:
    prev = record.get("prev_kv")
    return Event(record["type"], _key_value(record["kv"]), None if prev is None else _key_value(prev))


def _logs(records: Iterable[dict[str, Any]]) -> Iterator[WatchLog]:
    words: dict[int, list[Word]] = {}
    for record in records:
        words.setdefault(record["watch"], []).append(_word(record))
    for watch, (asked, *others) in words.items():
        if not isinstance(asked, Asked):
            raise ValueError(f"watch {watch} begins with {asked}")
        yield WatchLog(watch, asked, tuple(others))


def _word(record: dict[str, Any]) -> Any:
    record = {name: value for name, value in record.items() if name not in {"watch", "time"}}
    cls = _CLASSES["word", record.pop("word")]
    if "events" in record:
        record["events"] = tuple(_event(each) for each in record["events"])
    if "filters" in record:
        record["filters"] = tuple(record["filters"])
    return cls(**_with_bytes(record, "key", "range_end"))


def _with_bytes(record: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value.encode("latin-1") if name in names else value for name, value in record.items()}
