"""
The watch machine against a small model of etcd's watch service, in any order of events, cuts and wishes.

The model keeps every revision, answers in order, sends history in batches whose header names the newest revision, cuts
answers into fragments anywhere, refuses, compacts, and (as etcd before 3.5.8) lets stream progress overtake events, or
(as the newest ones) tells none of it while a watch of the stream starts later than the store is. Or it is etcd's proxy,
which gives ids of its own, lets refusals overtake confirmations, and knows no requests for progress.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise, takewhile

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from etcd_async._codec.responses import WatchResponse
from etcd_async._pb.etcdserverpb import WatchCreateRequest, WatchRequest
from etcd_async._protocol.machine import Reopen
from etcd_async._protocol.pulse import IDLE_INTERVAL, PROGRESS_INTERVAL
from etcd_async._protocol.watch import Watches
from etcd_async._protocol.watch_outputs import Batch, Created, Failed, Output, Progress
from etcd_async.errors import Compacted, PermissionDenied
from etcd_async.types import Event, KeyValue

FORBIDDEN = b"x"
KEYS = (b"a", b"b", b"c")
DENIED = "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
A_FEW = st.sampled_from([0, 1, 2, 4, 100, 100])
STALE = "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"


@dataclass
class Watcher:
    key: bytes
    start_revision: int
    next_revision: int
    takes_fragments: bool


@dataclass
class Etcd:
    """One member, and its side of one stream."""

    orders_progress: bool = False
    waits_for_starts: bool = False
    confirms_first: bool = False
    is_token_stale: bool = False
    is_proxy: bool = False
    compacted: int = 0
    history: list[tuple[Event, ...]] = field(default_factory=lambda: [()])  # by revision, from 1
    watchers: dict[int, Watcher] = field(default_factory=dict)
    requests: deque[WatchRequest] = field(default_factory=deque)
    answers: deque[WatchResponse] = field(default_factory=deque)
    names: Iterator[int] = field(default_factory=count)  # those of the proxy

    @property
    def revision(self) -> int:
        return len(self.history)

    def events(self, key: bytes, first: int, last: int) -> list[Event]:
        return [event for events in self.history[first - 1 : last] for event in events if event.kv.key == key]

    def write(self, keys: Sequence[bytes]) -> None:
        mod_revision = self.revision + 1
        self.history.append(tuple(Event("put", KeyValue(key, mod_revision=mod_revision)) for key in keys))

    def cut(self) -> None:
        self.watchers.clear()
        self.requests.clear()
        self.answers.clear()
        self.names = count()

    def handle(self) -> None:
        request = self.requests.popleft()
        if creation := request.create_request:
            self._create(creation)
        elif (cancellation := request.cancel_request) is not None:
            if self.watchers.pop(cancellation.watch_id, None):
                self._answer(cancellation.watch_id, canceled=True)
        elif self.is_proxy:
            raise AssertionError("the proxy was asked for progress")
        elif not self.orders_progress:
            self.answers.appendleft(WatchResponse(revision=self.revision, watch_id=-1))
        elif all(self._is_in_step(watcher) for watcher in self.watchers.values()):
            self._answer(-1)

    def _is_in_step(self, watcher: Watcher) -> bool:
        has_started = watcher.start_revision <= self.revision or not self.waits_for_starts
        return has_started and watcher.next_revision > self.revision

    def _create(self, creation: WatchCreateRequest) -> None:
        assert self.is_proxy or creation.watch_id not in self.watchers
        if self.is_token_stale or creation.key == FORBIDDEN:
            self._refuse(STALE if self.is_token_stale else DENIED)
        elif creation.range_end and creation.range_end <= creation.key:
            self._refuse("mvcc: watcher range is empty")
        else:
            start = creation.start_revision
            wire_id = next(self.names) if self.is_proxy else creation.watch_id
            self.watchers[wire_id] = Watcher(creation.key, start, start, creation.fragment and not self.is_proxy)
            confirmation = WatchResponse(revision=self.revision, watch_id=wire_id, created=True)
            if self.confirms_first:
                self._control(confirmation)
            else:
                self.answers.append(confirmation)

    def _refuse(self, reason: str) -> None:
        if self.is_proxy:
            self.answers.appendleft(WatchResponse(0, watch_id=-1, created=True, canceled=True, cancel_reason=reason))
            return
        revision = self.revision
        self._control(WatchResponse(revision, watch_id=-1, created=True, canceled=True, cancel_reason=reason))

    def _control(self, answer: WatchResponse) -> None:
        """Answer by etcd's control channel: in order with creations, but before events and progress that wait."""
        waiting = takewhile(lambda answer: not (answer.created or answer.canceled), reversed(self.answers))
        self.answers.insert(len(self.answers) - len(list(waiting)), answer)

    def sync(self, wire_id: int, revisions: int, cuts: Sequence[int]) -> None:
        """Send one watcher what it has not had yet, *revisions* of its own at most, cut after the given events."""
        watcher = self.watchers[wire_id]
        if watcher.next_revision < self.compacted:
            del self.watchers[wire_id]
            self._answer(wire_id, canceled=True, compact_revision=self.compacted)
            return
        events = self.events(watcher.key, watcher.next_revision, self.revision)
        last = sorted({event.revision for event in events})[:revisions][-1:]
        events = [event for event in events if event.revision <= (last or [0])[0]]
        is_all = not last or not self.events(watcher.key, last[0] + 1, self.revision)
        watcher.next_revision = max(watcher.next_revision, self.revision + 1 if is_all else last[0] + 1)
        inner = [cut for cut in cuts if cut < len(events)] if watcher.takes_fragments else []
        bounds = sorted({0, len(events), *inner})
        for start, end in pairwise(bounds):
            self._answer(wire_id, events=tuple(events[start:end]), fragment=end < len(events))

    def notify(self, wire_id: int) -> None:
        """Send one watcher's progress if it is synced."""
        if self.watchers[wire_id].next_revision > self.revision:
            self._answer(wire_id)

    def compact(self, revision: int) -> None:
        self.compacted = max(self.compacted, revision)

    def _answer(self, watch_id: int, **fields: object) -> None:
        response = WatchResponse(revision=self.revision, watch_id=watch_id, **fields)  # type: ignore[arg-type]
        self.answers.append(response)


@dataclass
class Watching:
    """What one user has had from their watch."""

    key: bytes
    start_revision: int
    events: list[Event] = field(default_factory=list)
    reported: int = 0
    is_paused: bool = False
    asks: bool = False
    failure: Exception | None = None


class WatchService(RuleBasedStateMachine):
    """Every watch gets every event of its own once, in order, in whole revisions; progress is never ahead."""

    def __init__(self) -> None:
        super().__init__()
        self.etcd = Etcd()
        self.machine = Watches()
        self.users: dict[int, Watching] = {}
        self.is_open = False
        self.now = 0.0

    @initialize(version=st.integers(0, 3), in_fragments=st.booleans(), confirms_first=st.booleans())
    def choose_version(self, version: int, in_fragments: bool, confirms_first: bool) -> None:
        self.etcd.confirms_first = confirms_first
        self.etcd.orders_progress = version >= 1
        self.etcd.waits_for_starts = version >= 2
        self.etcd.is_proxy = version == 3
        if in_fragments:
            self.machine.ask_for_less()

    # What users do.

    @rule(key=st.sampled_from([*KEYS, *KEYS, FORBIDDEN]), ahead=st.integers(-8, 2))
    def watch(self, key: bytes, ahead: int) -> None:
        start = max(1, self.etcd.revision + ahead)
        handle = self.machine.add(WatchCreateRequest(key=key, start_revision=start))
        assert handle not in self.users
        self.users[handle] = Watching(key, start)

    def choose(self, number: int) -> int:
        return list(self.users)[number % len(self.users)]

    @precondition(lambda self: self.users)
    @rule(number=st.integers(0, 9))
    def cancel(self, number: int) -> None:
        handle = self.choose(number)
        self.machine.cancel(handle)
        del self.users[handle]

    @precondition(lambda self: self.users)
    @rule(number=st.integers(0, 9))
    def pause(self, number: int) -> None:
        handle = self.choose(number)
        self.machine.pause(handle)
        self.users[handle].is_paused = True

    @precondition(lambda self: self.users)
    @rule(number=st.integers(0, 9))
    def resume(self, number: int) -> None:
        handle = self.choose(number)
        self.machine.resume(handle)
        self.users[handle].is_paused = False

    @precondition(lambda self: self.users)
    @rule(number=st.integers(0, 9))
    def request_progress(self, number: int) -> None:
        handle = self.choose(number)
        self.machine.request_progress(handle)
        self.users[handle].asks = True

    @rule(number=st.integers(0, 9), key=st.sampled_from(KEYS), back=st.integers(0, 8))
    def ask_and_watch(self, number: int, key: bytes, back: int) -> None:
        """Ask how far one watch is, and create another before there is an answer: one may overtake the other."""
        self.talk_at_length()
        self.wait(IDLE_INTERVAL)
        if self.users:
            self.request_progress(number)
        self.send()
        self.watch(key, -back)
        self.send()

    @rule(seconds=st.sampled_from([0.1, PROGRESS_INTERVAL, IDLE_INTERVAL]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    # What the cluster does.

    @rule(revisions=st.lists(st.lists(st.sampled_from(KEYS), min_size=1, max_size=5), min_size=1, max_size=4))
    def write(self, revisions: list[list[bytes]]) -> None:
        for keys in revisions:
            self.etcd.write(keys)

    @rule(back=st.sampled_from([0, 3, 10, 20, 40]))
    def compact(self, back: int) -> None:
        self.etcd.compact(self.etcd.revision - back)

    @precondition(lambda self: self.etcd.watchers)
    @rule(number=st.integers(0, 9), revisions=st.integers(1, 4), cuts=st.sets(st.integers(1, 12), max_size=4))
    def sync(self, number: int, revisions: int, cuts: set[int]) -> None:
        wire_ids = list(self.etcd.watchers)
        self.etcd.sync(wire_ids[number % len(wire_ids)], revisions, sorted(cuts))

    @precondition(lambda self: self.etcd.watchers)
    @rule()
    def sync_all(self) -> None:
        """Bring every watcher in step: only then is there progress to tell."""
        for wire_id in list(self.etcd.watchers):
            self.etcd.sync(wire_id, 1000, [])

    @precondition(lambda self: self.etcd.watchers)
    @rule(number=st.integers(0, 9))
    def notify(self, number: int) -> None:
        wire_ids = list(self.etcd.watchers)
        self.etcd.notify(wire_ids[number % len(wire_ids)])

    @rule(is_now=st.sampled_from([False, False, False, True]))  # else it would spoil most runs
    def let_the_token_expire(self, is_now: bool) -> None:
        self.etcd.is_token_stale |= is_now

    # What the connection does.

    def open(self) -> None:
        self.is_open = True
        self.etcd.is_token_stale = False
        self.machine.stream_opened(self.now)
        self.machine.orders_progress = self.etcd.orders_progress

    @precondition(lambda self: self.is_open and self.etcd.watchers)
    @rule(
        keys=st.lists(st.sampled_from(KEYS), min_size=2, max_size=8), cut=st.integers(1, 3), answers=st.integers(0, 4)
    )
    def cut_amid_revisions(self, keys: list[bytes], cut: int, answers: int) -> None:
        """Lose the stream when some of the fragments of a revision have come."""
        self.talk_at_length()
        self.write([keys])
        for wire_id in list(self.etcd.watchers):
            self.etcd.sync(wire_id, 1, [cut])
        self.receive(answers)
        if self.is_open:
            self.cut(was_too_large=False)

    @precondition(lambda self: self.is_open)
    @rule(was_too_large=st.booleans())
    def cut(self, was_too_large: bool) -> None:
        if was_too_large:
            self.machine.ask_for_less()
        self.is_open = False
        self.etcd.cut()
        self.machine.stream_lost(self.now)

    @rule(requests=A_FEW, answers=A_FEW)
    def talk(self, requests: int, answers: int) -> None:
        """Say what there is to say, and let a few requests and answers arrive; in smaller steps no run comes far."""
        if not self.is_open:
            self.open()
        self.send()
        for _ in range(min(requests, len(self.etcd.requests))):
            self.etcd.handle()
        self.receive(answers)

    @rule()
    def talk_at_length(self) -> None:
        """Let everything arrive that is under way, and every watch come in step."""
        self.talk(100, 100)
        self.sync_all()
        self.receive(100)

    def send(self) -> None:
        self.etcd.requests += self.machine.to_send(self.now)

    def receive(self, count: int) -> None:
        for _ in range(min(count, len(self.etcd.answers))):
            for output in self.machine.receive(self.etcd.answers.popleft(), self.now):
                self.take(output)
            if not self.is_open:
                return

    def take(self, output: Output | Reopen) -> None:
        if isinstance(output, Reopen):
            self.cut(was_too_large=False)
        elif isinstance(output, Batch):
            self.take_events(self.users[output.handle], output)
        elif isinstance(output, Progress):
            self.take_progress(self.users[output.handle], output.revision)
        elif isinstance(output, Failed):
            self.take_failure(self.users[output.handle], output.error)
        else:
            assert isinstance(output, Created)
            assert not self.users[output.handle].is_paused

    def take_events(self, user: Watching, batch: Batch) -> None:
        assert not user.is_paused
        user.events += batch.events
        assert batch.revision > user.reported
        assert user.events == self.etcd.events(user.key, user.start_revision, batch.revision)
        user.reported = batch.revision

    def take_progress(self, user: Watching, revision: int) -> None:
        assert revision >= user.reported
        assert user.events == self.etcd.events(user.key, user.start_revision, revision)
        user.reported = revision
        user.asks = False

    def take_failure(self, user: Watching, error: Exception) -> None:
        user.failure = error
        if user.key == FORBIDDEN:
            assert isinstance(error, PermissionDenied)
        else:
            assert isinstance(error, Compacted)
            assert max(user.start_revision, user.reported + 1) < self.etcd.compacted

    def teardown(self) -> None:
        """Let everything calm down: then every watch has had all there is."""
        for handle, user in self.users.items():
            self.machine.resume(handle)
            user.is_paused = False
        if self.is_open:
            self.cut(was_too_large=False)
        self.open()
        self.send()
        for _ in range(3):  # questions are repeated
            while self.etcd.requests or self.etcd.answers:
                self.settle()
            self.now += PROGRESS_INTERVAL
            self.send()
        assert self.machine.stalled(self.now) is None
        for user in self.users.values():
            if user.failure is None:
                assert user.key != FORBIDDEN
                assert not user.asks
                assert user.events == self.etcd.events(user.key, user.start_revision, self.etcd.revision)

    def settle(self) -> None:
        while self.etcd.requests:
            self.etcd.handle()
        self.sync_all()
        self.receive(len(self.etcd.answers))
        self.send()


TestWatchService = WatchService.TestCase
TestWatchService.settings = settings(max_examples=150, stateful_step_count=60)
