"""Waiting for work that must be carried out whatever becomes of the task that wants it done."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio

from etcd_async._transport.tasks import Background
from etcd_async.options import CLEANUP_TIMEOUT

__all__ = ["finish"]


async def finish(work: Background[Any]) -> None:
    """Wait until *work* has ended, but not for long; also if cancelled meanwhile: the cancellation comes after it."""
    try:
        await asyncio.wait([work.future], timeout=CLEANUP_TIMEOUT)
    except asyncio.CancelledError:
        with anyio.CancelScope(shield=True):
            await asyncio.wait([work.future], timeout=CLEANUP_TIMEOUT)
        raise
