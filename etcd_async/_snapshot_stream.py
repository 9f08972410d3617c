"""A snapshot as it arrives: from one endpoint, and only its beginning may be tried again."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

import anyio

from etcd_async import _codec
from etcd_async._core import Core
from etcd_async._pb.etcdserverpb import SnapshotRequest, SnapshotResponse
from etcd_async._protocol.endpoints import Endpoint
from etcd_async._protocol.retry import MAX_STALE, Outcome, classify
from etcd_async._snapshot import Digest, SnapshotChunk
from etcd_async._transport import methods
from etcd_async._transport.attempts import attempt_deadline
from etcd_async._transport.callstream import CallStream
from etcd_async.errors import DeadlineExceeded, EtcdError, RpcError, Unavailable

__all__ = ["checked", "receive"]

_AGAIN: Final = {Outcome.NOT_SERVED, Outcome.WRONG_MEMBER, Outcome.STALE_TOKEN, Outcome.UNSURE}


async def receive(core: Core, endpoint: Endpoint | None, seconds: float | None) -> AsyncGenerator[SnapshotChunk, None]:
    """Yield a snapshot as it comes, unchecked; *seconds* are for its first message, and for each one after it."""
    stream, message = await _begin(core, endpoint, seconds)
    try:
        while message is not None:
            part = _codec.decode(SnapshotResponse, message)
            yield SnapshotChunk(part.blob, part.remaining_bytes, part.version, stream.endpoint.text)
            message = await _next(stream, seconds)
    finally:
        stream.cancel()


async def checked(core: Core, endpoint: Endpoint | None, seconds: float | None) -> AsyncGenerator[SnapshotChunk, None]:
    """Yield a snapshot as it comes, and raise `SnapshotCorrupt` at its end if it is not what was sent."""
    digest = Digest()
    chunks = receive(core, endpoint, seconds)
    try:
        async for chunk in chunks:
            digest.update(chunk.data)
            yield chunk
    finally:
        await chunks.aclose()
    digest.check()


async def _begin(core: Core, endpoint: Endpoint | None, seconds: float | None) -> tuple[CallStream, bytes | None]:
    """Open the stream and wait for its first message; where none comes, try the next endpoint, or with a new token."""
    deadline = None if seconds is None else core.clock() + seconds
    tries = 1 + (1 if endpoint else len(core.caller.addresses()))
    tokens = MAX_STALE
    silent: list[Endpoint] = []
    while True:
        now = core.clock()
        until = attempt_deadline(deadline, now, repeatable=endpoint is None, untried=tries - 1)
        try:
            return await _open(core, endpoint, None if until is None else until - now, silent)
        except EtcdError as error:
            is_late = deadline is not None and core.clock() >= deadline
            is_stale = core.caller.has_user and isinstance(error, RpcError) and classify(error) is Outcome.STALE_TOKEN
            tries, tokens = tries - (not is_stale), tokens - is_stale
            if not (tries and tokens) or is_late or not _may_repeat(error):
                raise


async def _open(
    core: Core, endpoint: Endpoint | None, seconds: float | None, silent: list[Endpoint]
) -> tuple[CallStream, bytes | None]:
    """Open the stream, rather not where it is *silent*, and wait for its first message."""
    payload = _codec.encode(SnapshotRequest())
    stream = await core.caller.open(methods.SNAPSHOT, payload, timeout=seconds, endpoint=endpoint, avoid=silent)
    try:
        return stream, await _next(stream, seconds)
    except BaseException as error:
        if isinstance(error, DeadlineExceeded):
            silent.append(stream.endpoint)
        stream.cancel()
        raise


async def _next(stream: CallStream, seconds: float | None) -> bytes | None:
    with anyio.move_on_after(seconds):
        return await stream.receive()
    error = DeadlineExceeded(f"{stream.endpoint.text} sent nothing for {max(seconds or 0.0, 0.0):.3g} s")
    stream.refused(error)
    raise error


def _may_repeat(error: EtcdError) -> bool:
    if isinstance(error, RpcError):
        return classify(error) in _AGAIN
    return isinstance(error, Unavailable | DeadlineExceeded)
