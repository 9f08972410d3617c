"""
Histories for the tests of the judges, and for nothing else: clients that call one etcd in memory at once.

Each call takes effect somewhere between its call and its end; one whose outcome is unknown at any time after its call,
or never.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
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
from tests.robustness.store import Refused, Store, as_told, within

KEYS = [f"/k/{number}".encode() for number in range(5)]
ALL = (b"/k/", b"/k0")


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


def _wants(asked: Asked, event: Event) -> bool:
    return f"no_{event.type}" not in asked.filters and bool(
        within({event.kv.key: event.kv}, asked.key, asked.range_end)
    )


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
