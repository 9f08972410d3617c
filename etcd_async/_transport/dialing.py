"""TCP connections to a host that may have several addresses, some of them dead (Happy Eyeballs, RFC 8305)."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterable
from itertools import chain, zip_longest
from typing import Any, Final, TypeAlias

import anyio

STAGGER: Final = 0.25
"""Seconds that an address has until the next one is tried beside it (RFC 8305 §5)."""

Address: TypeAlias = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]
"""Family, and what a socket of it connects to."""


class Dialer:
    """
    Connects to one host, again and again.

    Its addresses are tried in the resolver's order, the families in turn; the next one begins when the last one has
    failed, or had `STAGGER`. Those that have disappointed come after all others, the latest last: behind an address
    that lets itself be connected to there may be nobody who speaks.
    """

    def __init__(self) -> None:
        self._last: Address | None = None
        self._disappointments: dict[Address, int] = {}

    async def dial(self, host: str, port: int) -> socket.socket:
        """
        Return a socket connected to the first address that lets itself be connected to.

        Raises:
            OSError: None of them could be reached, for the one reason that it gives, or for each its own;
                `socket.gaierror` if there is none.
        """
        self._last = None
        found = await _resolved(host, port)
        addresses = in_turn((socket.AddressFamily(family), where) for family, *_, where in found)
        known = self._disappointments = {each: self._disappointments.get(each, 0) for each in addresses}
        race = _Race()
        try:
            await race.run(sorted(addresses, key=known.__getitem__))
            self._last, connected = race.result()
            return connected
        except BaseException:
            race.close()
            raise

    def disappointed(self) -> None:
        """Hear that the connection made last came to nothing, or to its end."""
        if self._last is not None:
            worst = max(self._disappointments.values(), default=0)
            self._disappointments[self._last] = worst + 1


def in_turn(addresses: Iterable[Address]) -> list[Address]:
    """Return each of *addresses* once, in their order, but with the families taking turns (RFC 8305 §4)."""
    families: dict[socket.AddressFamily, list[Address]] = {}
    for address in dict.fromkeys(addresses):
        families.setdefault(address[0], []).append(address)
    return [address for address in chain.from_iterable(zip_longest(*families.values())) if address is not None]


class _Race:
    """Attempts at the addresses of one host; the first that is through ends the others."""

    def __init__(self) -> None:
        self._winner: tuple[Address, socket.socket] | None = None
        self._errors: dict[str, OSError] = {}

    async def run(self, addresses: Iterable[Address]) -> None:
        """Try *addresses* until one is through or all have failed."""
        async with anyio.create_task_group() as group:
            for address in addresses:
                has_failed = anyio.Event()
                group.start_soon(self._try, address, has_failed, group.cancel_scope)
                with anyio.move_on_after(STAGGER):
                    await has_failed.wait()

    def result(self) -> tuple[Address, socket.socket]:
        """Return the winner and its socket, or raise why there is none."""
        if self._winner is not None:
            return self._winner
        if len({error.errno for error in self._errors.values()}) == 1:
            raise next(iter(self._errors.values()))
        raise OSError("; ".join(f"{name}: {_reason(error)}" for name, error in self._errors.items()))

    def close(self) -> None:
        """Let go of the winner's socket."""
        if self._winner is not None:
            self._winner[1].close()

    async def _try(self, address: Address, has_failed: anyio.Event, scope: anyio.CancelScope) -> None:
        try:
            connected = await _connect(address)
        except OSError as error:
            self._errors[str(address[1][0])] = error
            has_failed.set()
            return
        if self._winner is None:
            self._winner = address, connected
            scope.cancel()
        else:
            connected.close()


async def _resolved(host: str, port: int) -> list[Any]:
    """Look *host* up; an address needs none of the threads in which names are, and which may all be busy."""
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


async def _connect(address: Address) -> socket.socket:
    family, where = address
    # asyncio switches Nagle's algorithm off only where the protocol is named (asyncio/base_events.py _set_nodelay).
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setblocking(False)
        await asyncio.get_running_loop().sock_connect(made, where)
    except BaseException:
        made.close()
        raise
    return made


def _reason(error: OSError) -> str:
    return str(error) if error.errno is None else os.strerror(error.errno).lower()
