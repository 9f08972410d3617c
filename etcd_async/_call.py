"""One wire message to a service, and its answer."""

from __future__ import annotations

from typing import Any

from etcd_async import _codec
from etcd_async._core import Core
from etcd_async._protocol.endpoints import Endpoint
from etcd_async._transport.methods import Method

__all__ = ["call"]


async def call(
    core: Core,
    method: Method,
    request: object,
    *,
    seconds: float | None,
    endpoint: Endpoint | None = None,
    repeatable: bool | None = None,
) -> Any:
    """
    Return the answer of a unary *method*; arguments and errors are those of `Caller.unary`.

    An answer that can't be read leaves open whether a write was applied, and its error says so.
    """
    payload = _codec.encode(request)
    answer = await core.caller.unary(method, payload, timeout=seconds, repeatable=repeatable, endpoint=endpoint)
    try:
        return _codec.decode(method.response, answer)
    except _codec.DecodeError as error:
        error.maybe_applied = method.writes
        raise
