"""One healthy instance of a service for each outgoing call, known without asking."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from random import Random

import anyio

from etcd_async._keys import check_patience
from etcd_async.errors import NoInstance
from etcd_async.recipes._balance import Balancer, Policy
from etcd_async.recipes._instances import check_metadata, matches
from etcd_async.recipes._kept import Kept
from etcd_async.recipes.discovery import ServiceWatch
from etcd_async.services import Services
from etcd_async.types import Service, ServiceChange

__all__ = ["Policy", "Resolver"]


class Resolver(Kept):
    """
    Picks an instance of a service for each call; made by ``client.resolver(name)``.

        async with client.resolver("billing") as resolver:
            service = resolver.pick()
            try:
                ...  # call service.address
            except ConnectionError:
                resolver.failed(service)

    It follows the service by a watch: picking costs no call. Only instances that say they are healthy are picked, in
    turn (``"round_robin"``), at ``"random"``, or the one whose last failure is longest ago
    (``"least_recently_failed"``). One that was reported as failed is spared for 5 seconds while there are others.

    While etcd can't be reached, the instances that were known last go on being picked.
    """

    _kind = "resolver"
    _after = "what it knows is no longer kept up to date"

    def __init__(
        self, client: Services, name: str, *, policy: Policy = "round_robin", metadata: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(client)
        self.name: str = name
        self._watch = ServiceWatch(client, name)
        self._balancer = Balancer(policy, Random())
        check_metadata(metadata)
        self._metadata = None if metadata is None else dict(metadata)

    @property
    def instances(self) -> list[Service]:
        """All instances that fit the metadata, healthy or not, in the order of their ids."""
        self._check()
        return [self._balancer.instances[id] for id in sorted(self._balancer.instances)]

    def pick(self) -> Service:
        """
        Return the instance to call next.

        Raises:
            NoInstance: There is none, or none is healthy.
            EtcdError: The watch has ended (permission taken away, client closed), and why.
            RuntimeError: The body was left.
        """
        self._check()
        service = self._balancer.pick(time.monotonic())
        if service is None:
            known = len(self._balancer.instances)
            raise NoInstance(f"service {self.name!r} has no healthy instance (of {known})")
        return service

    def failed(self, service: Service) -> None:
        """Report that an instance could not be called: others are preferred for a while."""
        self._balancer.failed(service, time.monotonic())

    def succeeded(self, service: Service) -> None:
        """Report that an instance could be called: an earlier failure is forgotten."""
        self._balancer.succeeded(service)

    async def ready(self, *, timeout: float | None = None) -> None:
        """
        Wait until there is a healthy instance; `NoInstance` after *timeout* seconds (None: no limit).

        Other errors are those of `pick`.
        """
        check_patience(timeout)
        with anyio.move_on_after(timeout) as limit:
            while not self._has_healthy():
                await self._news.wait()
        if limit.cancelled_caught:
            raise NoInstance(f"service {self.name!r} had no healthy instance within {timeout:g} s")

    async def _begin(self, stack: AsyncExitStack) -> None:
        await stack.enter_async_context(self._watch)
        for change in await self._watch.present():
            self._take(change)

    async def _follow_on(self) -> None:
        async for change in self._watch:
            self._take(change)

    def _take(self, change: ServiceChange) -> None:
        if change.type != "removed" and matches(change.service, self._metadata):
            self._balancer.put(change.service)
        else:
            self._balancer.remove(change.service)
        self._news.tell()

    def _has_healthy(self) -> bool:
        return any(service.is_healthy for service in self.instances)
