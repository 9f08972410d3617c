"""An etcd in memory, for the tests of the judges. It is written from etcd's documentation, apart from their models."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from etcd_async import ops
from etcd_async.types import Event, KeyValue
from tests.robustness.history import Answer, Compact, Grant, Request, Revoke


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
                gone = [self._delete(kv) for kv in within(self.kvs, request.key, request.range_end)]
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
        found = within(kvs, op.key, op.range_end if isinstance(op, ops.Range) else b"")
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


def within(kvs: dict[bytes, KeyValue], key: bytes, range_end: bytes) -> list[KeyValue]:
    """Return the keys of a range, in order."""
    if not range_end:
        return [kvs[key]] if key in kvs else []
    return [kvs[each] for each in sorted(kvs) if each >= key and (range_end == b"\0" or each < range_end)]
