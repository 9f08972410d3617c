"""What the whole history of a server says about those who contended on it: by revisions, never by clocks."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

from etcd_async import Client, Event


async def history(client: Client, start: int = 1) -> AsyncIterator[list[Event]]:
    """Yield every revision from *start* until now, as the list of its events; leaves a key behind."""
    end = (await client.put("history/end", "")).revision
    async with client.watch(prefix="", start_revision=start, prev_kv=True) as watch:
        async for batch in watch.batches():
            revisions: dict[int, list[Event]] = {}
            for event in batch.events:
                revisions.setdefault(event.revision, []).append(event)
            revisions.pop(end, None)
            for revision in sorted(revisions):
                yield revisions[revision]
            if batch.revision >= end:
                return


@dataclass
class Contest:
    """
    One queue of contenders whose keys start with *queue*, and what those who were first wrote to keys under *said*.

    Attributes:
        turns: How often each contender had its turn.
        tokens: The fencing tokens of those who spoke, in the order in which they first did.
        faults: Whatever should not have happened.
    """

    queue: bytes
    said: bytes
    turns: Counter[bytes] = field(default_factory=Counter)
    tokens: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    _standing: dict[bytes, int] = field(default_factory=dict)

    def see(self, events: Iterable[Event]) -> None:
        """Take note of the next revision."""
        for event in events:
            if event.kv.key.startswith(self.queue):
                self._see_contender(event)
            elif event.kv.key.startswith(self.said) and event.type == "put":
                self._see_word(event)

    def _see_contender(self, event: Event) -> None:
        if event.type == "delete":
            self._standing.pop(event.kv.key, None)
        else:
            self._standing[event.kv.key] = event.kv.create_revision

    def _see_word(self, event: Event) -> None:
        token = int(event.kv.value)
        holder = min(self._standing.values(), default=None)
        if token != holder:
            self.faults.append(f"{event.kv.key!r} spoke for {token} at {event.revision}, when {holder} was first")
        if not self.tokens or token != self.tokens[-1]:
            if self.tokens and token < self.tokens[-1]:
                self.faults.append(f"token {token} came after {self.tokens[-1]}, at {event.revision}")
            self.tokens.append(token)
            self.turns[event.kv.key.removeprefix(self.said)] += 1
