"""
Looks after endpoints that are set aside, or that keep a call waiting, so that no call of the user's has to find out.

A probe asks for the member's status: that takes no permission, and it tells whether the member has a leader. A probe
that is refused, for a token that has expired perhaps, was answered as well.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final, Protocol

import anyio

from etcd_async import _codec
from etcd_async._pb.etcdserverpb import StatusResponse
from etcd_async._protocol.endpoints import Endpoint
from etcd_async._protocol.headers import Metadata
from etcd_async._protocol.pool import Pool
from etcd_async._protocol.suspects import Suspects
from etcd_async._transport.attempts import reason_of
from etcd_async._transport.channel import Channel
from etcd_async._transport.failure import AttemptFailed
from etcd_async._transport.methods import STATUS
from etcd_async._transport.tasks import Tasks
from etcd_async.errors import ClientClosed, DeadlineExceeded, EtcdError, RpcError, StatusCode

PATIENCE: Final = 1.0
"""Seconds until an established connection on which nothing was heard is left to the calls that wait there."""
PROBE_TIMEOUT: Final = 5.0
"""Seconds that a probe may take, connecting included."""


class Patients(Protocol):
    """What a prober looks after."""

    pool: Pool

    def channel(self, endpoint: Endpoint) -> Channel: ...
    def failed(self, endpoint: Endpoint, reason: str) -> None: ...
    async def change(self) -> None: ...
    def succeeded(self, endpoint: Endpoint, started: float) -> None: ...


class Prober:
    """
    The probes of one client's endpoints; one at a time for each endpoint.

    Args:
        patients: The endpoints; told how the probes went.
        tasks: Whose the probes are.
        clock: Monotonic seconds.
        metadata: Returns the headers of probes: with users, newer etcds tell a stranger nothing.
        random: For jitter.
    """

    def __init__(
        self,
        patients: Patients,
        tasks: Tasks,
        *,
        clock: Callable[[], float],
        metadata: Callable[[], Metadata],
        random: Random,
    ) -> None:
        self._patients = patients
        self._tasks = tasks
        self._clock = clock
        self._metadata = metadata
        self._attended: set[Endpoint] = set()
        self._suspects = Suspects(random)

    def suspect(self, endpoint: Endpoint) -> None:
        """Probe *endpoint*, which keeps a call waiting, unless it is trusted for having stood a probe lately."""
        if self._suspects.is_worth_a_probe(endpoint, self._clock()):
            self.attend(endpoint)

    def attend(self, endpoint: Endpoint) -> None:
        """Probe *endpoint*: at once if it is in turn, else when it is due, and until it is back in turn."""
        if endpoint in self._attended:
            return
        try:
            self._tasks.start(f"etcd_async.probe {endpoint.text}", lambda: self._attend(endpoint))
        except ClientClosed:
            return
        self._attended.add(endpoint)

    async def _attend(self, endpoint: Endpoint) -> None:
        pool = self._patients.pool
        try:
            if endpoint in pool.endpoints and not pool.is_aside(endpoint):
                await self._probe(endpoint)
                if not pool.is_aside(endpoint):
                    self._suspects.proved_well(endpoint, self._clock())
            while (due := pool.probe_at(endpoint)) is not None:
                if due <= self._clock():
                    await self._probe(endpoint)
                else:
                    with anyio.move_on_after(due - self._clock()):
                        await self._patients.change()  # perhaps a call has found that it works
        finally:
            self._attended.discard(endpoint)

    async def _probe(self, endpoint: Endpoint) -> None:
        started = self._clock()
        reason = await self._reason(endpoint)
        if reason:
            self._patients.failed(endpoint, reason)
        else:
            self._patients.succeeded(endpoint, started)

    async def _reason(self, endpoint: Endpoint) -> str:
        """Return what is wrong with *endpoint*, or ""."""
        try:
            return _reason_in(await self._ask(endpoint))
        except ClientClosed:
            raise
        except (EtcdError, AttemptFailed) as error:
            is_answer = isinstance(error, RpcError) and error.code is not StatusCode.UNAVAILABLE
            return "" if is_answer else reason_of(error)

    async def _ask(self, endpoint: Endpoint) -> bytes:
        channel = self._patients.channel(endpoint)
        if channel.is_connected:
            started = self._clock()
            try:
                return await self._status(channel, PATIENCE)
            except DeadlineExceeded:
                if not self._patients.pool.is_aside(endpoint):
                    self._patients.failed(endpoint, f"no answer within {PATIENCE:g} s")
                channel.renew(since=started)
        return await self._status(channel, PROBE_TIMEOUT)

    async def _status(self, channel: Channel, timeout: float) -> bytes:
        return await channel.unary(STATUS.path, b"", metadata=self._metadata(), deadline=self._clock() + timeout)


def _reason_in(answer: bytes) -> str:
    try:
        status = _codec.decode(StatusResponse, answer)
    except _codec.DecodeError:
        return "its status can't be read"
    if status.is_learner:
        return "the member is a learner"
    return "" if status.leader else "the member has no leader"
