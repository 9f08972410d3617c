"""What the tests of the transport share."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from etcd_async._protocol.endpoints import parse
from etcd_async._transport.channel import Channel
from etcd_async.options import TLS, Backoff, TransportOptions
from tests.support.h2server import H2Server
from tests.support.live import turns, within

PATH = "/etcdserverpb.KV/Range"
QUICK = Backoff(initial=0.001, maximum=0.002)


def options(*, ping_interval: float | None = None, **changes: Any) -> TransportOptions:
    """Return options; a *ping_interval* under the public floor is set past its check, to keep tests short."""
    made = replace(TransportOptions(), **changes)
    if ping_interval is not None:
        object.__setattr__(made, "ping_interval", ping_interval)
    return made


@asynccontextmanager
async def channel_to(
    server: H2Server | str, made: TransportOptions | None = None, *, tls: TLS | None = None, backoff: Backoff = QUICK
) -> AsyncIterator[Channel]:
    """A channel to *server*, closed at the end, after which no task of it may be left."""
    before = asyncio.all_tasks()
    text = server if isinstance(server, str) else server.endpoint
    channel = Channel(parse(text), tls=tls, options=made or TransportOptions(), backoff=backoff)
    try:
        yield channel
    finally:
        await within(channel.aclose())
    left = {task for task in asyncio.all_tasks() - before if task.get_name().startswith("etcd_async")}
    assert not left


def call(channel: Channel, payload: bytes = b"ping", *, deadline: float | None = None) -> asyncio.Task[bytes]:
    """Start a unary call."""
    return asyncio.create_task(channel.unary(PATH, payload, deadline=deadline))


async def warm(server: H2Server, channel: Channel) -> None:
    """Make the connection, with one call on it."""
    task = call(channel)
    (await server.request()).answer(b"")
    await within(task)


def run_out(channel: Channel) -> float:
    """
    Let the time of what is under way be up now, and return when that was.

    A deadline of some milliseconds may pass before anything has left.
    """
    connection = channel._connector.current
    assert connection is not None
    now = time.monotonic()
    for exchange in connection.outbox.unfinished():
        exchange.deadline = now
    connection._deadlines.watch(now)
    return now


async def settled() -> None:
    """Let everything that can happen now happen."""
    await turns(20)
