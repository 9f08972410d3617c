"""One client, one event loop."""

from __future__ import annotations

import asyncio


def check_loop(own: asyncio.AbstractEventLoop) -> None:
    """
    Raise unless *own* is what runs here.

    Raises:
        RuntimeError: It is another loop's turn: of a later `asyncio.run`, another thread, a forked process. Nothing may
            be touched from there.
    """
    if asyncio.get_running_loop() is not own:
        raise RuntimeError("a client belongs to the event loop that it was first used in: make one for each loop")
