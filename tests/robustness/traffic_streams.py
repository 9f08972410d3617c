"""Streams of operations: each does one after another on a client, and has it written down how each ended."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Final

from etcd_async import Client, EtcdError
from etcd_async.wire import LeaseRevokeRequest
from tests.robustness.history import Answer, Compact, Failure, Grant, Request, Revoke, answer, failure
from tests.robustness.recorder import Recorder
from tests.robustness.reference import Log
from tests.robustness.traffic import Choices, Supplies, is_fuzzy, is_write

__all__ = ["FUZZY_AT_ONCE", "Budget", "Compactor", "Stream", "perform", "rest"]

FUZZY_AT_ONCE: Final = 3

_REVOKE = "/etcdserverpb.Lease/LeaseRevoke"
_TIMEOUTS = (0.2, 0.3, 0.5, 1.0)
_GIVEN_UP_SHARE = 0.05
_FAR_SHARE = 0.03
_FAR = 100_000  # beyond the end of any run
_NEAR_SHARE = 0.15


class Budget:
    """
    What all streams together may do.

    Args:
        operations: How many in all.
        rate: How many a second in all.
        streams: How many streams share it.
        stopped: There are to be no more.
    """

    def __init__(self, operations: int, rate: float, *, streams: int, stopped: asyncio.Event) -> None:
        self._left = operations
        self._mean_pause = streams / rate
        self._stopped = stopped
        self.fuzzy = asyncio.Semaphore(FUZZY_AT_ONCE)

    async def turn(self, random: Random) -> bool:
        """Wait until the next operation of a stream is due; False if there are to be no more."""
        if await rest(self._stopped, random.expovariate(1 / self._mean_pause)) or self._left <= 0:
            return False
        self._left -= 1
        return True


class Stream:
    """
    One thing after another on one client.

    Args:
        client: What is tested.
        random: Of this stream alone.
        supplies: Of the run.
        recorder: Of the run.
        budget: Of the run.
    """

    def __init__(
        self, client: Client, random: Random, *, supplies: Supplies, recorder: Recorder, budget: Budget
    ) -> None:
        self._client = client
        self._random = random
        self._choices = Choices(Random(f"{random.random()}"), supplies)
        self._recorder = recorder
        self._budget = budget
        self._id = recorder.new_client()

    async def run(self) -> None:
        """Go on until the budget is spent or traffic is stopped."""
        while await self._budget.turn(self._random):
            request = self._choices.next(self._recorder.revision)
            if is_fuzzy(request) and self._budget.fuzzy.locked():
                request = self._choices.instead()
            if is_fuzzy(request):
                async with self._budget.fuzzy:
                    await self._do(request)
            else:
                await self._do(request)

    async def _do(self, request: Request) -> None:
        timeout = self._random.choice(_TIMEOUTS)
        patience = timeout * self._random.random() if self._random.random() < _GIVEN_UP_SHARE else None
        call = self._recorder.now()
        outcome = await perform(self._client, request, timeout=timeout, patience=patience)
        self._recorder.operation(self._id, request, call, outcome)
        if isinstance(outcome, Answer):
            self._choices.learn(request, outcome)
        elif outcome.maybe_applied:
            self._id = self._recorder.new_client()


class Compactor:
    """Compacts now and then: mostly what is long past, at times all up to now, but nothing that the log still lacks."""

    def __init__(self, client: Client, random: Random, *, recorder: Recorder, log: Log) -> None:
        self._client = client
        self._random = random
        self._recorder = recorder
        self._log = log

    async def run(self, stopped: asyncio.Event) -> None:
        """Go on until *stopped* is set."""
        client = self._recorder.new_client()
        while not await rest(stopped, self._random.uniform(0.5, 1.5)):
            request = Compact(max(1, min(self._log.come, self._recorder.revision) - self._age()))
            call = self._recorder.now()
            outcome = await perform(self._client, request, timeout=0.5)
            self._recorder.operation(client, request, call, outcome)
            if isinstance(outcome, Failure) and outcome.maybe_applied:
                client = self._recorder.new_client()

    def _age(self) -> int:
        lot = self._random.random()
        if lot < _FAR_SHARE:
            return -_FAR
        return self._random.randint(0, 50) if lot < _NEAR_SHARE else self._random.randint(80, 300)


async def perform(
    client: Client, request: Request, *, timeout: float, patience: float | None = None
) -> Answer | Failure:
    """
    Do what is asked, and return how it ended.

    Args:
        client: Who does it.
        request: What.
        timeout: The client's own.
        patience: Cancel it from outside after so many seconds.
    """
    try:
        async with asyncio.timeout(patience):
            return await _send(client, request, timeout)
    except (EtcdError, TimeoutError) as error:
        outcome = failure(error)
        # Only the client's own errors claim something; and a read that was given up has surely changed nothing.
        return outcome if is_write(request) else Failure(outcome.error, outcome.message)


async def _send(client: Client, request: Request, timeout: float) -> Answer:
    match request:
        case Grant():
            return answer(await client.leases.grant(request.ttl, id=request.lease, timeout=timeout))
        case Revoke():
            # In etcd's own words: `client.leases.revoke` takes a lease that its repeat does not find for one it ended.
            await client.rpc(_REVOKE, LeaseRevokeRequest(id=request.lease), timeout=timeout)
            return Answer()
        case Compact():
            await client.compact(request.revision, timeout=timeout)
            return Answer()
        case _:
            return answer(await client.do(request, timeout=timeout))


async def rest(stopped: asyncio.Event, seconds: float) -> bool:
    """Wait for so long; True if *stopped* was set by then."""
    try:
        async with asyncio.timeout(seconds):
            return await stopped.wait()
    except TimeoutError:
        return stopped.is_set()
