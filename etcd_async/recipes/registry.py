"""Service registration under a lease that heals itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Self

import anyio

from etcd_async import ops
from etcd_async.errors import ClientClosed, Compacted, DeadlineExceeded, EtcdError, LeaseNotFound, PermissionDenied
from etcd_async.lease import Lease, check_ttl
from etcd_async.options import CLIENT_DEFAULT, Timeout
from etcd_async.recipes._fence import Fence
from etcd_async.recipes._instances import key_of, to_json
from etcd_async.recipes._news import News
from etcd_async.recipes._patience import Pauses, is_transient
from etcd_async.services import Services
from etcd_async.types import KeyValue, Service

__all__ = ["Registration"]

_log = logging.getLogger("etcd_async.registry")


class Registration:
    """
    One instance of a service, registered for as long as the body of its ``async with`` runs.

    Made by ``client.register(service)``. The instance's key ``services/<name>/<id>`` (below the client's namespace,
    after a slash where that ends in none) lives on a lease that is kept alive: when the process dies, the instance is
    gone after *ttl* seconds; when the body ends, at once. If the lease is lost while the process lives (it was cut off
    for longer than *ttl*), or somebody deletes the key, the instance is registered anew as soon as a server can be
    reached. Where two processes register the same id, the later one stands for as long as it is there.
    """

    def __init__(self, client: Services, service: Service, *, ttl: float) -> None:
        self._client = client
        self._ttl = check_ttl(ttl)
        self._key, self._value = client._space.placed(key_of(service)), to_json(service)
        self._service = service
        self._is_entered = False
        self._lease: Lease | None = None
        self._fence = Fence(client, self._key, self._is_own)
        self._own_leases: set[int] = set()
        self._revision = 0  # of our last write, or of another's that has taken its place
        self._error: Exception | None = None  # why nobody heals it any more
        self._news = News()
        self._writing = anyio.Lock()  # the last of several changes is the one to stay

    @property
    def service(self) -> Service:
        """The instance as it is registered, or is to be."""
        return self._service

    @property
    def lease_id(self) -> int:
        """The id of the lease that the instance lives on at present; 0 while there is none."""
        return self._lease.id if self._lease is not None else 0

    @property
    def is_registered(self) -> bool:
        """False while the lease is lost and not yet replaced."""
        return self._lease is not None and not self._lease.is_lost

    async def registered(self) -> None:
        """
        Wait until the instance is registered: at once, unless its lease is just being replaced.

        Raises:
            ClientClosed: The client was closed: it never will be again.
            RuntimeError: The body was not entered, or was left.
        """
        while not self.is_registered:
            await self._change_seen()

    async def update(
        self,
        *,
        address: str | None = None,
        metadata: Mapping[str, str] | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> None:
        """
        Change the instance's address or metadata; watchers see it as modified.

        Where another process has registered the same id since, the change is kept for when that has gone.

        Args:
            address: The new one; None keeps it.
            metadata: All of the new ones; None keeps them.
            timeout: Seconds to be registered, if it is not just now, and again to make the change; None for no limit.

        Raises:
            Unavailable, DeadlineExceeded: No server answered. The change is kept, and made with the next registration
                if not before.
            ClientClosed, RuntimeError: As `registered`.
        """
        changed = replace(
            self._service,
            address=self._service.address if address is None else address,
            metadata=self._service.metadata if metadata is None else metadata,
        )
        await self._change(changed, timeout)

    async def set_health(self, is_healthy: bool, note: str = "", *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """
        Say whether the instance can do its work, and why: resolvers pick healthy instances only.

        The report stands until the next one, also through registering anew. *timeout* and errors are those of `update`.
        """
        await self._change(replace(self._service, is_healthy=is_healthy, note=note), timeout)

    async def _change(self, changed: Service, timeout: Timeout) -> None:
        self._check()
        key_of(changed)
        self._value, self._service = to_json(changed), changed
        async with self._writing:
            while True:
                lease = await self._lease_within(timeout)
                with suppress(LeaseNotFound):
                    return await self._put_anew(lease, timeout)
                while self._lease is lease:  # this side has not heard of its end yet
                    await self._change_seen()

    async def _lease_within(self, timeout: Timeout) -> Lease:
        with anyio.move_on_after(seconds := self._client._core.seconds(timeout)) as limit:
            await self.registered()
        if limit.cancelled_caught:
            late = f"not registered anew within {seconds:g} s: what is to change will change with that"
            raise DeadlineExceeded(late, maybe_applied=True)
        assert self._lease is not None, "registered"
        return self._lease

    async def __aenter__(self) -> Self:
        if self._is_entered:
            raise RuntimeError("this registration is entered already: make another with client.register(...)")
        self._is_entered, self._error = True, None
        try:
            await self._register(self._put)
        except BaseException:
            self._is_entered = False
            raise
        self._healer = self._client.background("etcd_async.registration", self._heal)
        self._healer.future.add_done_callback(lambda _: self._end(ClientClosed()))
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end(RuntimeError("the registration was left"))
        self._healer.cancel()
        try:
            await asyncio.wait([self._healer.future])  # it may be about to take a lease
        finally:
            self._is_entered = False
            await self._deregister()

    async def _register(self, put: Callable[[Lease], Awaitable[None]]) -> None:
        lease = self._client.lease(self._ttl, on_loss="signal")
        await lease.__aenter__()
        self._own_leases.add(lease.id)
        try:
            await put(lease)
        except BaseException:
            await lease.__aexit__(None, None, None)
            raise
        self._lease, self._own_leases = lease, {lease.id}
        self._news.tell()

    async def _put(self, lease: Lease, timeout: Timeout = CLIENT_DEFAULT) -> None:
        put = await self._client.put(self._key, self._value, lease=lease, timeout=timeout)
        self._fence.seen = put.revision
        self._revision = max(self._revision, put.revision)

    async def _put_anew(self, lease: Lease, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Write what is to be there, if it is not another process's that has come later."""
        try:
            if await self._fence.write([ops.put(self._key, self._value, lease=lease)], timeout=timeout):
                self._revision = max(self._revision, self._fence.seen)
        except PermissionDenied:  # who may write but not read can't be fenced
            await self._put(lease, timeout)

    def _is_own(self, found: KeyValue | None) -> bool:
        """Return whether no other process has put there what was *found*: one that registers has a lease."""
        if found is None:
            return True
        self._revision = max(self._revision, found.mod_revision)  # what was deleted before that is no news
        return not found.lease or found.lease in self._own_leases

    async def _deregister(self) -> None:
        lease, self._lease = self._lease, None
        self._news.tell()
        if lease is not None:
            await lease.__aexit__(None, None, None)

    async def _change_seen(self) -> None:
        self._check()
        await self._news.wait()

    def _check(self) -> None:
        if not self._is_entered:
            raise RuntimeError("enter the registration first: async with client.register(...) as registration")
        if self._error is not None:
            raise self._error.with_traceback(None)

    def _end(self, error: Exception) -> None:
        self._error = self._error or error
        self._news.tell()

    async def _heal(self) -> None:
        while (lease := self._lease) is not None:
            reason = await self._trouble(lease)
            _log.warning("registration of %s/%s was lost (%s); registering it anew", *self._names, reason)
            await self._deregister()
            await self._register_stubbornly()

    async def _trouble(self, lease: Lease) -> str:
        """Wait until the instance is no longer registered, and return why."""
        reasons: list[str] = []
        async with anyio.create_task_group() as group:

            async def lost() -> None:
                reasons.append(str(await lease.lost()))
                group.cancel_scope.cancel()

            async def deleted() -> None:
                await self._deleted()
                reasons.append("its key was deleted")
                group.cancel_scope.cancel()

            group.start_soon(lost)
            group.start_soon(deleted)
        return reasons[0]

    async def _deleted(self) -> None:
        """Wait until somebody deletes the key; forever if it can't be watched: the lease is what counts."""
        pauses = Pauses()
        while True:
            try:
                if await self._deletion_seen():
                    return
                pauses.reset()
            except EtcdError as error:
                _log.info("the key of %s/%s can't be watched: %s", *self._names, error)
                await (pauses.pause() if is_transient(error) else anyio.sleep_forever())

    async def _deletion_seen(self) -> bool:
        """Wait for the deletion; False to begin again, since the history in between is compacted away."""
        try:
            return await self._deletion_heard()
        except Compacted:
            found = await self._client.get(self._key, keys_only=True)
            if found is None:
                return True
            self._revision = max(self._revision, found.mod_revision)
        return False

    async def _deletion_heard(self) -> bool:
        async with self._client.watch(self._key, start_revision=self._revision + 1, filters=("no_put",)) as watch:
            async for event in watch:
                if event.revision > self._revision:
                    return True
        return False

    async def _register_stubbornly(self) -> None:
        pauses = Pauses()
        while True:
            try:
                return await self._register(self._put_anew)
            except ClientClosed:
                return None
            except EtcdError as error:
                _log.info("registering %s/%s failed, trying again: %s", *self._names, error)
            await pauses.pause()

    @property
    def _names(self) -> tuple[str, str]:
        return self._service.name, self._service.id
