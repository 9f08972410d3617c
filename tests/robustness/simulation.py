"""
Histories for the tests of the judges, and for nothing else: an etcd in memory, and clients that call it at once.

Each call takes effect somewhere between its call and its end; one whose outcome is unknown at any time after its call,
or never. `Store` is written from etcd's documentation, apart from the judges' own models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from etcd_async import ops
from etcd_async.types import Event, KeyValue
from tests.robustness.history import (
    Answer,
    Asked,
    Compact,
    Failure,
    Got,
    Grant,
    History,
    Operation,
    Request,
    Revoke,
    Started,
    WatchLog,
    Word,
)

KEYS = [f"/k/{number}".encode() for number in range(5)]
ALL = (b"/k/", b"/k0")


class Refused(Exception):
    """Raised by the store; says the name of the client's exception."""


@dataclass(slots=True)
class Store:
    """An etcd in memory."""

    revision: int = 1
    compacted: int = -1
    kvs: dict[bytes, KeyValue] = field(default_factory=dict)
    past: dict[int, dict[bytes, KeyValue]] = field(default_factory=lambda: {1: {}})
    leases: set[int] = field(default_factory=set)
    log: list[Event] = field(default_factory=list)

    def do(self, request: Request) -> Answer:
        """Carry out a request, whole or not at all."""
        before = len(self.log)
        answer = self._do(request)
        if len(self.log) > before:
            self.revision += 1
            self.past[self.revision] = dict(self.kvs)
        return replace(answer, revision=self.revision)

    def _do(self, request: Request) -> Answer:
        match request:
            case ops.Put():
                return self._put(request)
            case ops.Delete():
                gone = [self._delete(kv) for kv in _in(self.kvs, request.key, request.range_end)]
                return Answer(deleted=len(gone), prev_kvs=tuple(gone) if request.prev_kv else ())
            case ops.Get() | ops.Range():
                return self._range(request)
            case ops.Txn():
                succeeded = all(self._holds(each) for each in request.compare)
                answers = tuple(self._part(each) for each in (request.success if succeeded else request.failure))
                return Answer(succeeded=succeeded, answers=answers)
            case Grant():
                return self._grant(request.lease)
            case Revoke():
                return self._revoke(request.lease)
            case Compact():
                self._check(self.compacted < request.revision, "Compacted")
                self._check(request.revision <= self.revision, "FutureRevision")
                self.compacted = request.revision
        return Answer()

    def _part(self, request: Request) -> Answer:
        """Carry out one request of a transaction; its answer tells the revision as of its turn."""
        answer = self._do(request)
        has_written = bool(self.log) and self.log[-1].revision > self.revision
        return replace(answer, revision=self.revision + has_written)

    def _put(self, op: ops.Put) -> Answer:
        self._check(not op.lease or op.lease in self.leases, "LeaseNotFound")
        before = self.kvs.get(op.key)
        now = self.revision + 1
        created, version = (before.create_revision, before.version + 1) if before else (now, 1)
        self.kvs[op.key] = KeyValue(op.key, op.value, created, now, version, op.lease)
        self.log.append(Event("put", self.kvs[op.key], before))
        return Answer(prev_kvs=(before,) if before and op.prev_kv else ())

    def _delete(self, kv: KeyValue) -> KeyValue:
        del self.kvs[kv.key]
        self.log.append(Event("delete", KeyValue(kv.key, mod_revision=self.revision + 1), kv))
        return kv

    def _range(self, op: ops.Get | ops.Range) -> Answer:
        self._check(op.revision <= self.revision, "FutureRevision")
        self._check(not op.revision or op.revision >= self.compacted, "Compacted")
        kvs = self.past[op.revision] if op.revision else self.kvs
        found = _in(kvs, op.key, op.range_end if isinstance(op, ops.Range) else b"")
        shown = tuple(replace(kv, value=b"") if op.keys_only else kv for kv in found)
        if isinstance(op, ops.Get):
            return Answer(kvs=shown, count=len(found))
        if op.count_only:
            return Answer(count=len(found))
        cut = shown[: op.limit or None]
        return Answer(kvs=cut, count=len(found), more=len(cut) < len(found))

    def _grant(self, lease: int) -> Answer:
        self._check(lease not in self.leases, "LeaseExists")
        self.leases.add(lease)
        return Answer(lease=lease)

    def _revoke(self, lease: int) -> Answer:
        self._check(lease in self.leases, "LeaseNotFound")
        self.leases.remove(lease)
        for kv in sorted(self.kvs.values(), key=lambda each: each.key):
            if kv.lease == lease:
                self._delete(kv)
        return Answer()

    def _holds(self, compare: ops.Compare) -> bool:
        kv = self.kvs.get(compare.key)
        if kv is None and compare.target is ops.CompareTarget.VALUE:
            return False
        kv = kv or KeyValue(compare.key)
        actual = {
            ops.CompareTarget.VERSION: kv.version,
            ops.CompareTarget.CREATE: kv.create_revision,
            ops.CompareTarget.MOD: kv.mod_revision,
            ops.CompareTarget.VALUE: kv.value,
            ops.CompareTarget.LEASE: kv.lease,
        }[compare.target]
        order = (actual > compare.operand) - (actual < compare.operand)  # type: ignore[operator]
        return {
            ops.CompareResult.EQUAL: order == 0,
            ops.CompareResult.GREATER: order > 0,
            ops.CompareResult.LESS: order < 0,
            ops.CompareResult.NOT_EQUAL: order != 0,
        }[compare.result]

    @staticmethod
    def _check(condition: bool, refusal: str) -> None:
        if not condition:
            raise Refused(refusal)


@dataclass(slots=True)
class _Call:
    client: int
    request: Request
    begun: int
    outcome: Answer | Failure | None = None


class Traffic:
    """Clients that call one store, in an order that *random* decides."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.store = Store()
        self.operations: list[Operation] = []
        self._calls: dict[int, _Call] = {}
        self._late: list[Request] = []  # may take effect although their callers have given up
        self._time = 0
        self._values = 0
        self._next_lease = 0

    def run(self, steps: int, clients: int = 4) -> History:
        """Let *clients* act *steps* times in all, then watch what they wrote."""
        for _ in range(steps):
            self._act(self.random.randrange(clients))
            if self._late and self.random.random() < 0.1:
                self._attempt(self._late.pop(self.random.randrange(len(self._late))))
        for client in list(self._calls):
            self._finish(client)
        return History(
            operations=tuple(self.operations),
            watches=tuple(self._watch(number) for number in range(6)),
            reference=tuple(self.store.log),
        )

    def _act(self, client: int) -> None:
        call = self._calls.get(client)
        if call is None:
            self._calls[client] = _Call(client, self.request(), self._tick())
        elif call.outcome is None:
            call.outcome = self._outcome(call.request)
        else:
            self._finish(client)

    def _finish(self, client: int) -> None:
        call = self._calls.pop(client)
        outcome = call.outcome or self._outcome(call.request)
        self.operations.append(Operation(client, call.request, call.begun, self._tick(), outcome))

    def _tick(self) -> int:
        self._time += 1
        return self._time

    def _outcome(self, request: Request) -> Answer | Failure:
        luck = self.random.random()
        is_read = isinstance(request, ops.Get | ops.Range)
        if luck < 0.04:
            return Failure("Unavailable")
        if luck < 0.14:
            if luck < 0.08:
                self._attempt(request)
            elif luck < 0.12:
                self._late.append(request)
            return Failure("DeadlineExceeded", maybe_applied=not is_read)
        answer = self._attempt(request)
        return as_told(request, answer) if isinstance(answer, Answer) else answer

    def _attempt(self, request: Request) -> Answer | Failure:
        try:
            return self.store.do(request)
        except Refused as error:
            return Failure(str(error))

    def request(self) -> Request:
        """Return something to ask for."""
        makers: list[tuple[int, Callable[[], Request]]] = [
            (8, self._put),
            (4, self._read),
            (2, lambda: ops.Get(self._key())),
            (3, lambda: ops.Range(*ALL, limit=self.random.randrange(4), keys_only=self.random.random() < 0.3)),
            (2, lambda: ops.Range(*ALL, count_only=True, serializable=True)),
            (3, lambda: ops.Range(*ALL, revision=self._some_revision())),
            (3, lambda: ops.Delete(self._key(), prev_kv=self.random.random() < 0.5)),
            (1, lambda: ops.Delete(*ALL)),
            (5, self._txn),
            (2, self._grant),
            (1, lambda: Revoke(self._some_lease())),
            (1, lambda: Compact(self._some_revision())),
        ]
        [make] = self.random.choices([make for _, make in makers], [weight for weight, _ in makers])
        return make()

    def _key(self) -> bytes:
        return self.random.choice(KEYS)

    def _value(self) -> bytes:
        self._values += 1
        return b"%d" % self._values

    def _some_revision(self) -> int:
        return max(1, self.store.revision + self.random.randint(-10, 2))

    def _some_lease(self) -> int:
        return self.random.randint(1, self._next_lease + 1)

    def _grant(self) -> Grant:
        self._next_lease += 1
        return Grant(self._next_lease, 3600)

    def _put(self) -> ops.Put:
        lease = self._some_lease() if self.random.random() < 0.3 else 0
        return ops.Put(self._key(), self._value(), lease, prev_kv=self.random.random() < 0.3)

    def _read(self) -> ops.Range:
        return ops.Range(self._key(), serializable=self.random.random() < 0.3)

    def _txn(self) -> ops.Txn:
        one, other = self.random.sample(KEYS, 2)
        known = self.store.kvs.get(one, KeyValue(one))
        targets: list[tuple[ops.CompareTarget, int | bytes]] = [
            (ops.CompareTarget.VERSION, known.version),
            (ops.CompareTarget.CREATE, known.create_revision),
            (ops.CompareTarget.MOD, known.mod_revision),
            (ops.CompareTarget.VALUE, known.value),
            (ops.CompareTarget.LEASE, known.lease),
        ]
        target, operand = self.random.choice(targets)
        compare = ops.Compare(one, b"", target, self.random.choice(list(ops.CompareResult)), operand)
        everything = ops.Range(*ALL)
        success = (everything, ops.Put(one, self._value()), everything, ops.Delete(other, prev_kv=True))
        return ops.Txn((compare,), success, (everything, ops.Get(one), ops.Delete(other), everything))

    def _watch(self, number: int) -> WatchLog:
        random, last = self.random, self.store.revision
        known = random.randint(1, last)
        begin = random.randint(known, last)
        asked = Asked(
            *random.choice([ALL, (KEYS[0], b""), (b"\0", b"\0")]),
            start_revision=random.choice([0, begin + 1]),
            prev_kv=random.random() < 0.5,
            filters=random.choice([(), (), ("no_put",), ("no_delete",)]),
        )
        if not asked.start_revision:
            asked = replace(asked, known_revision=known)
        events = [_shown(asked, each) for each in self.store.log if each.revision > begin and _wants(asked, each)]
        started = Started(0 if asked.start_revision else random.randint(begin, last))
        return WatchLog(number, asked, (started, *_words(events, begin, last, random)))


def simulate(seed: int, steps: int = 400) -> History:
    """Return a history that no judge may reject."""
    return Traffic(Random(seed)).run(steps)


def as_told(request: Request, full: Answer) -> Answer:
    """Return what the client's methods tell of an answer."""
    match request:
        case ops.Get():
            return replace(full, revision=0, count=None)
        case Grant() | Revoke() | Compact():
            return replace(full, revision=0)
        case ops.Txn():
            branch = request.success if full.succeeded else request.failure
            return replace(full, answers=tuple(map(as_told, branch, full.answers)))
    return full


def _in(kvs: dict[bytes, KeyValue], key: bytes, range_end: bytes) -> list[KeyValue]:
    if not range_end:
        return [kvs[key]] if key in kvs else []
    return [kvs[each] for each in sorted(kvs) if each >= key and (range_end == b"\0" or each < range_end)]


def _wants(asked: Asked, event: Event) -> bool:
    return f"no_{event.type}" not in asked.filters and bool(_in({event.kv.key: event.kv}, asked.key, asked.range_end))


def _shown(asked: Asked, event: Event) -> Event:
    return event if asked.prev_kv else replace(event, prev_kv=None)


def _words(events: Sequence[Event], begin: int, last: int, random: Random) -> Iterator[Word]:
    """Cut events into batches of whole revisions, with words of progress between them."""
    batch: list[Event] = []
    told = begin
    for position, event in enumerate(events):
        batch.append(event)
        next_revision = events[position + 1].revision if position + 1 < len(events) else last + 1
        if next_revision > event.revision and random.random() < 0.7:
            yield Got(event.revision, tuple(batch))
            batch, told = [], event.revision
            if random.random() < 0.3:
                told = random.randint(told, next_revision - 1)
                yield Got(told)
    yield Got(batch[-1].revision, tuple(batch)) if batch else Got(told)
