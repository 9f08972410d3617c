"""
Many watches on one stream, resumed where they stopped. A machine in the shape of `machine.Machine`.

    PENDING --to_send()--> CREATING --created--> ACTIVE
       ^___ stream_lost(), a stale token ____________|
    any --pause()--> PAUSED --resume()--> PENDING
    any --refused, canceled, compacted--> Failed, forgotten
    any --cancel()--> forgotten

What it holds, on every etcd from 3.4 on:

* A watch resumes after the last *event* it delivered, not after ``header.revision``: history arrives in batches of at
  most 1000 revisions whose header already names the newest one (server ``storage/mvcc/watcher_group.go``). Events from
  before the resume point are dropped, so each event is delivered once.
* Late answers and events of an earlier creation can't reach another watch (`creations`).
* A revision is never split, fragments or not (`cursor`).
* Answers come in one piece up to `MAX_ANSWER`; a larger one makes all watches ask for fragments from then on. Not from
  the start: for each event it adds the server measures the whole fragment again (``v3rpc/watch.go`` sendFragments).
* Progress is never ahead of events. Progress of one watch comes in order with its events. Progress of the whole stream
  (id -1, the answer to `request_progress`) does so only from etcd 3.4.25 and 3.5.8 on: unless told that the server
  orders it (`orders_progress`), it is taken for no more than a sign of life, and reported as far as this watch has
  come by its own events and progress.
* The stream is asked for progress every ten seconds, so that idle watches do not resume from a revision that is
  compacted meanwhile; and for a sign of life with it (`pulse`), without which it is `stalled`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace

from etcd_async._codec.responses import WatchResponse
from etcd_async._pb.etcdserverpb import WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest
from etcd_async._protocol.creations import NO_ID, Creations
from etcd_async._protocol.cursor import Cursor
from etcd_async._protocol.machine import AT_ONCE, NO_SIGNS, Reopen, Signs
from etcd_async._protocol.pulse import Pulse, knock
from etcd_async._protocol.watch_outputs import Batch, Created, Failed, Output
from etcd_async._protocol.watch_progress import Askers
from etcd_async._protocol.watch_state import State, WatchState
from etcd_async.errors import EtcdError, error_for_cancel_reason

MAX_ANSWER = 16 * 1024 * 1024


class Watches:
    """
    Every watch of one stream.

    Args:
        has_user: The client can log in again.

    Attributes:
        orders_progress: True if the server of the present stream orders progress of the whole stream with events
            (etcd 3.4.25, 3.5.8 and later). Set it after `stream_opened`; `stream_lost` clears it.
    """

    def __init__(self, *, has_user: bool = False) -> None:
        self.orders_progress = False
        self._has_user = has_user
        self._in_fragments = False
        self._watches: dict[int, WatchState] = {}
        self._pending: OrderedDict[int, WatchState] = OrderedDict()  # quick to take the first of, unlike a dict
        self._creations: Creations[WatchState] = Creations()
        self._askers = Askers()
        self._pulse = Pulse()
        self._is_open = False
        self._last_handle = 0

    @property
    def wants_stream(self) -> bool:
        """True while there is a watch that is not paused."""
        return bool(self._pending or self._creations)

    @property
    def max_answer(self) -> int | None:
        """Largest answer to take in one piece, in bytes; None once they come in fragments."""
        return None if self._in_fragments else MAX_ANSWER

    def ask_for_less(self) -> bool:
        """Have the server cut its answers into fragments; False if it does already."""
        had_fragments, self._in_fragments = self._in_fragments, True
        return not had_fragments

    def add(self, request: WatchCreateRequest) -> int:
        """
        Register a watch and return its handle, which is never used again.

        The request's ``start_revision`` is the first revision wanted, past or future; "from now" must be pinned by a
        read before. Its ``watch_id`` and ``fragment`` are ours to choose.
        """
        if request.start_revision < 1:
            raise ValueError(f"start_revision must be at least 1, not {request.start_revision}")
        self._last_handle += 1
        watch = WatchState(self._last_handle, request, Cursor(request.start_revision))
        self._watches[watch.handle] = self._pending[watch.handle] = watch
        return watch.handle

    def cancel(self, handle: int) -> None:
        """Forget a watch; tell the server if it may know it. Unknown handles are ignored."""
        watch = self._watches.get(handle)
        if watch is not None:
            self._withdraw(watch)
            self._forget(watch)

    def pause(self, handle: int) -> None:
        """Stop a watch on the server and keep its resume point: its consumer is behind."""
        watch = self._watches.get(handle)
        if watch is not None:
            self._withdraw(watch)
            watch.cursor.rewind()
            watch.state = State.PAUSED

    def resume(self, handle: int) -> None:
        """Create a paused watch again, from its resume point."""
        watch = self._watches.get(handle)
        if watch is not None and watch.state is State.PAUSED:
            self._make_pending(watch)

    def request_progress(self, handle: int) -> None:
        """
        Ask how far a watch has come, again and again until a `Progress` for it comes out.

        The server answers for the stream as a whole; the answer may be that to an earlier request. Where a watch that
        starts later than the store's revision keeps it from answering (see `pulse.knock`), it is what is known anyway.
        """
        if handle in self._watches:
            self._askers.add(handle)

    def stream_opened(self, now: float) -> None:
        """Begin to create the watches on a fresh stream."""
        self._is_open = True
        self._pulse.opened(now)

    def stream_lost(self, now: float) -> None:
        """Make every watch on the server pending again, from its resume point."""
        if self._is_open:
            for watch in self._watches.values():
                watch.refusals = 0  # the server may have restarted, and have forgotten the latest token, too
        self._take_back()

    def to_send(self, now: float) -> list[WatchRequest]:
        """Return the requests to write now, in order: cancellations, creations, questions."""
        if not self._is_open:
            return []
        cancels = self._creations.take_cancels()
        requests = [WatchRequest(cancel_request=WatchCancelRequest(watch_id=each)) for each in cancels]
        requests += [WatchRequest(create_request=creation) for creation in self._next_creations()]
        if self._creations.may_ask and self._pulse.next_question(self._askers.any_of(self._watches)) <= now:
            requests += self._questions(now)
        self._pulse.waits(self._creations.has_unanswered, now)
        return requests

    def receive(self, response: WatchResponse, now: float) -> list[Output | Reopen]:
        """
        Take one answer and return what it means for the watches.

        Raises:
            ProtocolError: It makes no sense; the stream it came on is good for nothing any more.
        """
        outputs = self._received(response)
        self._pulse.heard(now)
        self._pulse.waits(self._creations.has_unanswered, now)
        return outputs

    def doubts(self, now: float, signs: Signs) -> bool:
        """Return whether the peer is to be pinged: something is unanswered, and the stream silent."""
        return self._is_open and self._pulse.doubts(now, signs)

    def stalled(self, now: float, signs: Signs = NO_SIGNS) -> str | None:
        """Return that the stream is to be given up: something is unanswered, and no slow link can be the reason."""
        return self._pulse.verdict(now, signs) if self._is_open else None

    def _received(self, response: WatchResponse) -> list[Output | Reopen]:
        if response.created or (response.watch_id == NO_ID and response.canceled):
            return self._creation_answered(response)
        if response.watch_id == NO_ID:
            return [*self._askers.of_all(self._active(), response.revision, is_ordered=self.orders_progress)]
        watch = self._creations.get(response.watch_id)
        if watch is None:
            return self._stray(response)
        if response.canceled or response.compact_revision:
            self._creations.over(response.watch_id)
            return [self._failed(watch, error_for_cancel_reason(response.cancel_reason, response.compact_revision))]
        return self._delivered(watch, response)

    def blame(self, error: EtcdError) -> list[Output]:
        """Return nothing: what is refused to one watch is refused in an answer."""
        return []

    def expire(self, now: float) -> list[Output]:
        """Return nothing: no watch ends by time alone."""
        return []

    def fail_all(self, error: EtcdError) -> list[Output]:
        """Give up every watch, the paused ones too."""
        return [self._failed(watch, error) for watch in list(self._watches.values())]

    def next_wakeup(self) -> float | None:
        """Return when there is something to send, or when a silent stream is to be given up; None without a stream."""
        if not self._is_open:
            return None
        if self._creations.has_cancels or (self._pending and self._creations.takes_more):
            return AT_ONCE
        question = self._pulse.next_question(self._askers.any_of(self._watches)) if self._creations.may_ask else None
        return min((time for time in (question, self._pulse.look_at()) if time is not None), default=None)

    def _questions(self, now: float) -> list[WatchRequest]:
        self._pulse.asked(now)
        asked = [WatchRequest(create_request=knock(self._creations.create_nothing()))]
        if not self._creations.is_proxied:  # the proxy only complains of requests for progress
            self._askers.asked()
            asked.insert(0, WatchRequest(progress_request=WatchProgressRequest()))
        return asked

    def _next_creations(self) -> Iterator[WatchCreateRequest]:
        while self._pending and self._creations.takes_more:
            yield self._creation(self._pending.popitem(last=False)[1])

    def _creation(self, watch: WatchState) -> WatchCreateRequest:
        watch.wire_id = self._creations.create(watch)
        self._askers.created(watch)
        watch.starts_at = watch.cursor.next_revision
        watch.state = State.CREATING
        return replace(
            watch.request,
            watch_id=watch.wire_id,
            start_revision=watch.starts_at,
            fragment=self._in_fragments,
        )

    def _take_back(self) -> None:
        waiting, self._pending = self._pending, OrderedDict()
        for watch in self._creations.clear():
            self._make_pending(watch)
        self._pending |= waiting
        self._askers.stream_lost()
        self._is_open = self.orders_progress = False

    def _make_pending(self, watch: WatchState) -> None:
        watch.cursor.rewind()
        watch.state = State.PENDING
        self._pending[watch.handle] = watch

    def _withdraw(self, watch: WatchState) -> None:
        self._pending.pop(watch.handle, None)
        if self._is_named(watch):
            self._creations.cancel(watch.wire_id)

    def _forget(self, watch: WatchState) -> None:
        del self._watches[watch.handle]
        self._pending.pop(watch.handle, None)
        if self._is_named(watch):
            self._creations.drop(watch.wire_id)
        self._askers.discard(watch.handle)

    def _is_named(self, watch: WatchState) -> bool:
        """Whether the server may know *watch* by its id; another stream's may be that of another watch here."""
        return self._creations.get(watch.wire_id) is watch

    def _failed(self, watch: WatchState, error: EtcdError) -> Failed:
        self._forget(watch)
        return Failed(watch.handle, error)

    def _creation_answered(self, response: WatchResponse) -> list[Output | Reopen]:
        watch = self._creations.answered(response.watch_id)
        if watch is None:
            return [*self._askers.of_store(self._active(), response.revision)]
        if response.watch_id != NO_ID:
            watch.wire_id = response.watch_id
        if response.canceled or response.compact_revision:
            return self._refused(watch, response)
        watch.state = State.ACTIVE
        watch.created_at = response.revision
        watch.refusals = 0
        return [Created(watch.handle, response.revision)]

    def _refused(self, watch: WatchState, response: WatchResponse) -> list[Output | Reopen]:
        error, may_pass = watch.refused(response, has_user=self._has_user)
        if may_pass is None:
            return [self._failed(watch, error)]
        in_line = (*self._creations.unanswered(), *self._pending.values())
        for each in (watch, *in_line):  # those behind it would fare no better
            each.refusals += 1
        self._take_back()
        return [Reopen(may_pass)]

    def _stray(self, response: WatchResponse) -> list[Output | Reopen]:
        if response.canceled:
            self._creations.ended(response.watch_id)
        else:
            self._creations.cancel_stray(response.watch_id)
        return []

    def _delivered(self, watch: WatchState, response: WatchResponse) -> list[Output | Reopen]:
        cursor = watch.cursor
        if not response.events and not response.fragment and not cursor.is_amid_revision:
            return [self._askers.told(watch, cursor.advance(response.revision))]
        events = cursor.take(response.events, is_fragment=response.fragment)
        return [Batch(watch.handle, cursor.seen, events)] if events else []

    def _active(self) -> list[WatchState]:
        return [watch for watch in self._creations.live() if watch.state is State.ACTIVE]
