"""A range of any size, read piece by piece at one revision."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from functools import partial

from etcd_async import _codec, ops
from etcd_async._core import Core
from etcd_async._keyspace import Keyspace
from etcd_async._offload import offload
from etcd_async._transport import methods
from etcd_async._transport.callstream import CallStream
from etcd_async.errors import EtcdError, RpcError, StatusCode
from etcd_async.types import KeyValue, RangeResult

__all__ = ["scan"]


async def scan(
    core: Core, space: Keyspace, op: ops.Range, page_size: int, timeout: float | None
) -> AsyncGenerator[KeyValue, None]:
    """Yield the keys of *op* in key order, as of one revision."""
    key, range_end = space.span(op.key, op.range_end)
    reader = _Reader(core, replace(op, key=key, range_end=range_end), page_size, timeout)
    try:
        while not reader.is_done:
            piece = await reader.read()
            for kv in await _mapped(space, piece, not op.keys_only) if space.maps else piece:
                yield kv
    finally:
        reader.close()


async def _mapped(space: Keyspace, kvs: Sequence[KeyValue], has_values: bool) -> Sequence[KeyValue]:
    size = sum(len(kv.value) for kv in kvs) if space.cipher else 0
    return await offload(size, partial(space.kvs, kvs, has_values=has_values))


class _Reader:
    """
    Reads what is left of a range, a piece at a time.

    The first page fixes the revision. What it leaves is streamed where the server can (RangeStream, etcd 3.7); where it
    can't, or when the stream breaks off, the next page goes on after the last key that was read.
    """

    def __init__(self, core: Core, left: ops.Range, page_size: int, timeout: float | None) -> None:
        self.is_done = False
        self._core = core
        self._left = left
        self._page_size = page_size
        self._timeout = timeout
        self._stream: CallStream | None = None

    async def read(self) -> Sequence[KeyValue]:
        """Return the next keys; perhaps none, without being done."""
        if self._stream is not None:
            return self._taken(await self._chunk())
        page = self._taken(await self._page())
        if self._core.streams_ranges and not self.is_done:
            await self._open()
        return page

    def close(self) -> None:
        """Give up the stream, if there is one."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.cancel()

    async def _page(self) -> RangeResult:
        request = _codec.encode_range_request(replace(self._left, limit=self._page_size))
        answer = await self._core.caller.unary(methods.RANGE, request, timeout=self._timeout)
        page = _codec.decode_range_result(answer)
        self.is_done = not page.more
        return page

    async def _open(self) -> None:
        request = _codec.encode_range_request(self._left)
        try:
            self._stream = await self._core.caller.open(methods.RANGE_STREAM, request, timeout=self._timeout)
        except EtcdError:
            self.close()

    async def _chunk(self) -> RangeResult:
        assert self._stream is not None
        try:
            async with asyncio.timeout(self._timeout):
                message = await self._stream.receive()
        except (EtcdError, TimeoutError) as error:
            # The next page goes on from here, and raises what is not the stream's fault alone.
            if _is_unknown(error):
                self._core.reads_in_pages(self._stream.connection)
            self.close()
            return RangeResult()
        self.is_done = message is None
        return RangeResult() if message is None else _codec.decode_range_stream_chunk(message)

    def _taken(self, piece: RangeResult) -> Sequence[KeyValue]:
        if piece:
            revision = self._left.revision or piece.revision
            self._left = replace(self._left, key=piece[-1].key + b"\x00", revision=revision)
        return piece.kvs


def _is_unknown(error: Exception) -> bool:
    return isinstance(error, RpcError) and error.code is StatusCode.UNIMPLEMENTED
