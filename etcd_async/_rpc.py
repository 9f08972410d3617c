"""Any RPC of etcd with its wire messages, for what is not wrapped."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from etcd_async import _codec
from etcd_async._call import call
from etcd_async._core import Core
from etcd_async._transport import methods

__all__ = ["rpc"]


async def rpc(core: Core, path: object, message: Any, timeout: float | None) -> Any:
    """Return the answer of a unary RPC, or an iterator over the answers of a streaming one."""
    method = methods.METHODS.get(path) if isinstance(path, str) else None
    if method is None:
        raise ValueError(f"path must be that of an RPC of etcd such as /etcdserverpb.KV/Range, not {path!r}")
    if not isinstance(message, method.request):
        raise TypeError(f"message must be a {method.request.__name__}, not {type(message).__name__}")
    if method.kind is not methods.Kind.UNARY:
        return _answers(core, method, _codec.encode(message), timeout)
    # A lease that is granted twice has either two ids, or one that is taken the second time.
    repeatable = False if method is methods.LEASE_GRANT else None
    return await call(core, method, message, seconds=timeout, repeatable=repeatable)


async def _answers(
    core: Core, method: methods.Method, payload: bytes, timeout: float | None
) -> AsyncGenerator[Any, None]:
    is_duplex = method.kind is methods.Kind.DUPLEX
    stream = await core.caller.open(method, None if is_duplex else payload, timeout=timeout)
    try:
        if is_duplex:
            stream.send(payload)
        while (answer := await stream.receive()) is not None:
            yield _codec.decode(method.response, answer)
    finally:
        stream.cancel()
