"""Who wants to know how far a watch has come, and what the server's word for a whole stream is worth to each watch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from etcd_async._protocol.watch_outputs import Progress
from etcd_async._protocol.watch_state import State, WatchState


class Askers:
    """
    The watches that wait for progress, and the questions about it on the present stream.

    A watch's confirmation may overtake an answer from before the watch (server ``v3rpc/watch.go`` sendLoop takes them
    from two queues). Such an answer knows no later revision than the confirmation, and answers one of the questions
    that were out when the watch was created; as many answers later, there can be no other.
    """

    def __init__(self) -> None:
        self._handles: set[int] = set()
        self._questions = 0  # whose answers may be to come; many never are

    def add(self, handle: int) -> None:
        """Have the next progress of a watch told."""
        self._handles.add(handle)

    def discard(self, handle: int) -> None:
        """Forget a watch."""
        self._handles.discard(handle)

    def any_of(self, watches: Mapping[int, WatchState]) -> bool:
        """Tell whether one that waits could be answered on the present stream."""
        return any(watches[handle].state is State.ACTIVE for handle in self._handles)

    def asked(self) -> None:
        """Count a question."""
        self._questions += 1

    def created(self, watch: WatchState) -> None:
        """Remember what was out when the creation of *watch* was sent."""
        watch.stale_answers = self._questions

    def stream_lost(self) -> None:
        """Expect no answers any more."""
        self._questions = 0

    def told(self, watch: WatchState, revision: int) -> Progress:
        """Tell that *watch* has come to *revision*."""
        self._handles.discard(watch.handle)
        return Progress(watch.handle, revision)

    def of_all(self, watches: Iterable[WatchState], revision: int, *, is_ordered: bool) -> list[Progress]:
        """Take what the server says of all watches that it had when it said so; *watches* are the active ones."""
        self._questions = max(0, self._questions - 1)
        told = []
        for watch in watches:
            counts = is_ordered and (revision > watch.created_at or not watch.stale_answers)
            watch.stale_answers = max(0, watch.stale_answers - 1)
            if not watch.is_in_step:
                continue
            come = watch.cursor.advance(revision) if counts else watch.cursor.confirm(revision)
            if watch.handle in self._handles:
                told.append(self.told(watch, come))
        return told

    def of_store(self, watches: Iterable[WatchState], revision: int) -> list[Progress]:
        """
        Answer those whom the server will not: while a watch starts after *revision*, it has no progress to tell.

        etcd's proxy never has, nor a revision: it gives 0.
        """
        if not self._handles:
            return []
        in_step = [watch for watch in watches if watch.is_in_step]
        is_silenced = any(watch.starts_at > revision for watch in in_step)
        return [
            self.told(watch, watch.cursor.confirm(revision or watch.cursor.next_revision - 1))
            for watch in in_step
            if watch.handle in self._handles and (is_silenced or watch.cursor.next_revision > revision)
        ]
