"""Work that takes the processor for long, such as decrypting megabytes, leaves the event loop alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar, TypeVarTuple

import anyio.to_thread

__all__ = ["BIG", "offload"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

BIG: Final = 256 * 1024
"""Bytes that are worth a thread: AES-256-GCM takes about as long for them as a thread takes to be asked."""


async def offload(size: int, work: Callable[[*Ts], T], *args: *Ts) -> T:
    """Return what *work* returns: called right here for up to `BIG` bytes, else in a worker thread."""
    if size <= BIG:
        return work(*args)
    return await anyio.to_thread.run_sync(work, *args)
