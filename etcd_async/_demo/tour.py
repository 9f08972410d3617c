"""Runs the steps of the tour, on an etcd of its own or on the user's, and leaves nothing behind."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from secrets import token_hex
from typing import Final

import anyio

from etcd_async import Client, DeadlineExceeded, EtcdError, Unavailable, wire
from etcd_async._demo import elections, keys, leases, locks, secrets, services
from etcd_async._demo.stage import DemoFailed, Output, Tour
from etcd_async.testing import EtcdServer

__all__ = ["STEPS", "run"]

STEPS: Final[Sequence[Callable[[Tour], Awaitable[None]]]] = (
    keys.put_and_get,
    keys.list_keys,
    keys.decide_in_transactions,
    keys.watch_settings,
    leases.vanish_with_leases,
    locks.survive_a_crash,
    elections.hand_over,
    services.register_and_discover,
    secrets.keep_secrets,
)
_STEP_SECONDS = 60.0  # no step takes a tenth of it, but where the machine hardly moves
_CLEANUP_SECONDS = 15.0
_LATE_SECONDS = 0.25  # a write that was cancelled is applied within milliseconds, or never


async def run(endpoints: Sequence[str], out: Output) -> None:
    """
    Run the whole tour; without *endpoints* on an etcd that is started for it.

    Raises:
        DemoFailed: No etcd could be reached, or something was not as promised.
        EtcdError: There is no etcd to start, or a call failed.
    """
    began = time.monotonic()
    prefix = f"etcd_async-demo-{token_hex(4)}/"
    async with _etcd(endpoints) as found, await _connect(found, prefix) as client:
        tour = Tour(client, tuple(found), prefix, out)
        try:
            await _introduce(tour, is_embedded=not endpoints)
            for step in STEPS:
                await _run_in_time(step, tour)
        finally:
            await _clean_up(tour)
    out.say(f"\nThat was the tour, in {time.monotonic() - began:.1f} s. Nothing of it is left in etcd.")


@asynccontextmanager
async def _etcd(endpoints: Sequence[str]) -> AsyncIterator[Sequence[str]]:
    if endpoints:
        yield endpoints
    else:
        async with EtcdServer() as server:
            yield server.endpoints


async def _connect(endpoints: Sequence[str], prefix: str) -> Client:
    try:
        return await Client.connect(endpoints, namespace=prefix)
    except (Unavailable, DeadlineExceeded) as error:
        reasons = {attempt.endpoint: attempt.reason for attempt in error.attempts}
        told = "; ".join(f"{endpoint}: {reason}" for endpoint, reason in reasons.items()) or str(error)
        raise DemoFailed(
            f"no etcd answers ({told}): start it, or leave --endpoint out to use one of the tour's own"
        ) from error


async def _introduce(tour: Tour, *, is_embedded: bool) -> None:
    status = await tour.client.rpc("/etcdserverpb.Maintenance/Status", wire.StatusRequest())
    whose = "started for this tour" if is_embedded else "yours"
    tour.out.say(f"etcd {status.version} at {', '.join(tour.endpoints)}, {whose}; all keys under {tour.prefix}")


async def _run_in_time(step: Callable[[Tour], Awaitable[None]], tour: Tour) -> None:
    with anyio.move_on_after(_STEP_SECONDS) as limit:
        await step(tour)
    if limit.cancelled_caught:
        raise DemoFailed(f"the step {step.__name__} was not done after {_STEP_SECONDS:g} s")


async def _clean_up(tour: Tour) -> None:
    with anyio.move_on_after(_CLEANUP_SECONDS, shield=True):
        try:
            await tour.client.delete(prefix="")
            # Ctrl-C cancels a write under way, and etcd may still apply it after it has answered the delete.
            await anyio.sleep(_LATE_SECONDS)
            await tour.client.delete(prefix="")
        except EtcdError as error:
            tour.out.say(f"\nThe keys under {tour.prefix} could not be removed: {error}")
