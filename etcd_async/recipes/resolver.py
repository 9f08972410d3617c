"""One healthy instance of a service for each outgoing call, known without asking."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from random import Random
from types import TracebackType
from typing import Self

import anyio

from etcd_async._keys import check_patience
from etcd_async.errors import EtcdError, NoInstance
from etcd_async.recipes._balance import Balancer, Policy
from etcd_async.recipes._instances import check_metadata, matches
from etcd_async.recipes._news import News
from etcd_async.recipes.discovery import ServiceWatch
from etcd_async.services import Services
from etcd_async.types import Service, ServiceChange

__all__ = ["Policy", "Resolver"]


class Resolver:
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

    def __init__(
        self, client: Services, name: str, *, policy: Policy = "round_robin", metadata: Mapping[str, str] | None = None
    ) -> None:
        self.name: str = name
        self._client = client
        self._watch = ServiceWatch(client, name)
        self._balancer = Balancer(policy, Random())
        check_metadata(metadata)
        self._metadata = None if metadata is None else dict(metadata)
        self._news = News()
        self._error: EtcdError | None = None
        self._is_entered = self._is_left = False

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

    async def __aenter__(self) -> Self:
        if self._is_entered:
            raise RuntimeError("a resolver can be entered once: make another with client.resolver(...)")
        self._is_entered = True
        await self._watch.__aenter__()
        try:
            for change in await self._watch.present():
                self._take(change)
            self._task = self._client.background("etcd_async.resolver", self._run)
        except BaseException:
            await self._watch.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_left = True
        self._news.tell()
        self._task.cancel()
        try:
            await asyncio.wait([self._task.future])
        finally:
            await self._watch.__aexit__(exc_type, exc, traceback)

    async def _run(self) -> None:
        try:
            async for change in self._watch:
                self._take(change)
        except EtcdError as error:
            self._error = error
        self._news.tell()

    def _take(self, change: ServiceChange) -> None:
        if change.type != "removed" and matches(change.service, self._metadata):
            self._balancer.put(change.service)
        else:
            self._balancer.remove(change.service)
        self._news.tell()

    def _has_healthy(self) -> bool:
        return any(service.is_healthy for service in self.instances)

    def _check(self) -> None:
        if not self._is_entered:
            raise RuntimeError("enter the resolver first: async with client.resolver(...) as resolver")
        if self._is_left:
            raise RuntimeError("the resolver was left: what it knows is no longer kept up to date")
        if self._error is not None:
            raise self._error
