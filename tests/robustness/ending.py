"""What must be true when all faults are over: clients answer, the store stands still, and its members hold the same."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

from etcd_async import Client, EtcdError, ops, put, txn, wire
from tests.robustness.cluster import SIZE, Cluster
from tests.robustness.history import Answer
from tests.robustness.recorder import Recorder
from tests.robustness.traffic import KEYS
from tests.robustness.traffic_streams import perform

__all__ = ["differing_hashes", "last_revision", "lifeless"]

_RECOVERY: Final = 15.0
_QUIET: Final = 0.5
_HASH_TIMEOUT: Final = 20.0


async def lifeless(clients: Sequence[Client]) -> list[str]:
    """Ask each client for a key; return what is to be said of those that are not served now that all is well."""
    complaints = []
    for client in clients:
        start = time.monotonic()
        try:
            await client.do(ops.Range(KEYS[0]), timeout=_RECOVERY)
        except EtcdError as error:
            complaints.append(f"{client!r} is not served {time.monotonic() - start:.1f} s after the end: {error}")
    return complaints


async def last_revision(client: Client, recorder: Recorder) -> int:
    """Put every key once more, until nothing else has come after it; return the revision of that."""
    while True:
        revision = await _put_all(client, recorder)
        # What was sent before may have waited somewhere until now.
        await asyncio.sleep(_QUIET)
        if (await client.do(ops.Range(KEYS[0]))).revision == revision:
            return revision


async def _put_all(client: Client, recorder: Recorder) -> int:
    while True:
        number = recorder.new_client()
        request = txn(then=[put(key, f"the end {number}/{key.decode()}") for key in KEYS])
        call = recorder.now()
        outcome = await perform(client, request, timeout=5.0)
        recorder.operation(number, request, call, outcome)
        if isinstance(outcome, Answer):
            return outcome.revision


async def differing_hashes(cluster: Cluster, revision: int) -> list[str]:
    """Return a complaint if the members' stores are not the same at *revision*."""
    end = time.monotonic() + _HASH_TIMEOUT
    while True:
        hashes = [await _hash(cluster, member, revision) for member in range(SIZE)]
        if len(set(hashes)) == 1 and not isinstance(hashes[0], str):
            return []
        if time.monotonic() > end:
            return [f"the members differ at revision {revision}: {hashes}"]
        await asyncio.sleep(_QUIET)  # a member may still be carrying out a write, or a compaction


async def _hash(cluster: Cluster, member: int, revision: int) -> tuple[int, int] | str:
    """Return a member's hash and how far it has compacted, or why it can't tell: it has not come so far, perhaps."""
    request = wire.HashKvRequest(revision=revision)
    try:
        path = "/etcdserverpb.Maintenance/HashKV"
        answer: Any = await cluster.admin(member).rpc(path, request, timeout=_HASH_TIMEOUT)
    except EtcdError as error:
        return str(error)
    return answer.hash, answer.compact_revision
