"""The step about locks: a holder that is killed, a waiter that enters, and a late write that comes to nothing."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from subprocess import PIPE

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from etcd_async import Lock, Watch, create_revision, put
from etcd_async._demo.stage import TTL, DemoFailed, Tour, expect

__all__ = ["survive_a_crash"]

_NAME = "jobs/report"
_SLACK = 10.0  # seconds from the end of a lease until etcd, on a machine that hardly moves, has deleted its keys
_LONGEST_LINE = 4096


@dataclass(slots=True)
class _Holder:
    """
    The second process, in its critical section.

    Attributes:
        process: The process.
        key: The key that stands for it.
        token: Its fencing token.
        term: Seconds that its lease lives unrenewed.
        killed_at: When it was killed, on the clock of ``time.monotonic()``; 0 before.
    """

    process: Process
    key: str
    token: int
    term: int
    killed_at: float = 0.0


async def survive_a_crash(tour: Tour) -> None:
    """Let two processes contend for a lock, and kill the one that holds it."""
    client, out = tour.client, tour.out
    out.step("Locks", "Two processes want a lock. The holder is killed in its critical section; the waiter enters.")

    async with _second_process(tour) as holder, client.watch(prefix=f"{_NAME}/", filters=["no_delete"]) as queue:
        out.show(f"process {holder.process.pid} holds the lock", f"fencing token {holder.token}")
        got = await client.lock(_NAME, ttl=TTL).try_acquire()
        out.show("try_acquire() in this process", got, expect=False)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_kill_when_somebody_waits, tour, holder, queue)
            async with client.lock(_NAME, ttl=TTL) as lock:
                seconds = time.monotonic() - holder.killed_at
                out.show(f"{seconds:.1f} s later the waiter enters", f"fencing token {lock.fencing_token}")
                expect(seconds <= holder.term + _SLACK, f"the lock is free {holder.term} s after the crash")
                expect(lock.fencing_token > holder.token, "fencing tokens grow")
                await _write_late(tour, holder, lock)


async def _kill_when_somebody_waits(tour: Tour, holder: _Holder, queue: Watch) -> None:
    await anext(queue)
    tour.out.show("lock() in this process", "waits in the queue")
    holder.killed_at = time.monotonic()
    holder.process.kill()
    tour.out.show(f"SIGKILL for process {holder.process.pid}", f"exit status {await holder.process.wait()}")


async def _write_late(tour: Tour, holder: _Holder, lock: Lock) -> None:
    """Write as a holder that only stalled would do: on the condition that the lock is still its own."""
    mine = await tour.client.txn(when=[lock.owned], then=[put("report", "complete")])
    tour.out.show("txn(when=[lock.owned], then=[...])", f"written: {mine.succeeded}", expect="written: True")
    theirs = await tour.client.txn(when=[create_revision(holder.key) == holder.token], then=[put("report", "half")])
    tour.out.show("the same on behalf of the first holder", f"written: {theirs.succeeded}", expect="written: False")


@asynccontextmanager
async def _second_process(tour: Tour) -> AsyncIterator[_Holder]:
    command = [sys.executable, "-m", "etcd_async._demo.holder", tour.prefix, _NAME, str(TTL), *tour.endpoints]
    # In a session of its own: Ctrl-C reaches only this process, which then lets the other one leave the lock and end.
    started = await anyio.open_process(command, stdin=PIPE, stdout=PIPE, stderr=None, start_new_session=True)
    async with started as process:
        key, token = await _entered(process)
        kv = await tour.client.get(key)
        lease = await tour.client.leases.time_to_live(kv.lease if kv is not None else 0)
        yield _Holder(process, key, token, lease.granted_ttl)


async def _entered(process: Process) -> tuple[str, int]:
    assert process.stdout is not None
    try:
        line = await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", _LONGEST_LINE)
    except anyio.IncompleteRead:
        raise DemoFailed("the second process ended before it had the lock") from None
    said = json.loads(line)
    return said["key"], said["token"]
