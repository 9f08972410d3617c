"""What tests of configurations share."""

import asyncio
from typing import Any

LARGE = [{"group0": {}, **{f"leaf{n:04}": [generation, n] for n in range(1000)}} for generation in range(6)]
"""Generations of a configuration that takes several transactions."""


async def said(updates: Any, text: str) -> bool:
    await asyncio.sleep(0)
    return text in str(updates.error)
