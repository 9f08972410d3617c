"""grpcio.aio and google's protobuf, called directly: as little client as there can be; also writes what others read."""

from collections.abc import Callable, Sequence
from typing import Any

import grpc  # type: ignore[import-untyped]  # its stubs are no dependency of ours
import grpc.aio  # type: ignore[import-untyped]
import rpc_pb2 as pb  # type: ignore[import-not-found]  # compiled from proto/ into the peer's environment

from tests.benchmarks.clients.interface import touch

OPTIONS = [("grpc.max_receive_message_length", -1)]


class Grpcio:
    """Three calls and one stream on one channel."""

    def __init__(self, endpoint: str) -> None:
        self._channel = channel = grpc.aio.insecure_channel(endpoint.removeprefix("http://"), options=OPTIONS)
        self._range = _unary(channel, "Range", pb.RangeRequest, pb.RangeResponse)
        self._put = _unary(channel, "Put", pb.PutRequest, pb.PutResponse)
        self._txn = _unary(channel, "Txn", pb.TxnRequest, pb.TxnResponse)
        self._watch = channel.stream_stream(
            "/etcdserverpb.Watch/Watch", pb.WatchRequest.SerializeToString, pb.WatchResponse.FromString
        )

    async def get(self, key: bytes) -> int:
        answer = await self._range(pb.RangeRequest(key=key))
        return len(answer.kvs[0].value) if answer.kvs else 0

    async def put(self, key: bytes, value: bytes) -> None:
        await self._put(pb.PutRequest(key=key, value=value))

    async def read_range(self, prefix: bytes, end: bytes) -> int:
        answer = await self._range(pb.RangeRequest(key=prefix, range_end=end))
        for kv in answer.kvs:
            touch(kv)
        return len(answer.kvs)

    async def watch(
        self, prefix: bytes, end: bytes, *, revision: int | None, events: int, registered: Callable[[], None]
    ) -> None:
        create = pb.WatchCreateRequest(key=prefix, range_end=end, start_revision=revision or 0)
        call = self._watch()
        await call.write(pb.WatchRequest(create_request=create))
        await call.read()
        registered()
        while events > 0:
            answer = await call.read()
            for event in answer.events:
                _ = (event.kv.key, event.kv.value, event.kv.mod_revision)
            events -= len(answer.events)
        call.cancel()

    async def write(self, pairs: Sequence[tuple[bytes, bytes]]) -> int:
        """Put all pairs in one transaction; return its revision."""
        puts = [pb.RequestOp(request_put=pb.PutRequest(key=key, value=value)) for key, value in pairs]
        answer = await self._txn(pb.TxnRequest(success=puts))
        return int(answer.header.revision)

    async def aclose(self) -> None:
        await self._channel.close()


def _unary(channel: Any, name: str, request: Any, response: Any) -> Any:
    return channel.unary_unary(f"/etcdserverpb.KV/{name}", request.SerializeToString, response.FromString)


connect = Grpcio
