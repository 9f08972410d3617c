"""A small DNS server on the loopback, which knows the SRV records that a test gives it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset


class DnsServer(asyncio.DatagramProtocol):
    """
    Answers SRV questions over UDP.

    Args:
        records: By name, without the final dot: ``"priority weight port target."`` of each record. Other names do not
            exist; a name with None gets no answer at all.
    """

    def __init__(self, records: Mapping[str, Sequence[str] | None]) -> None:
        self.asked: list[str] = []
        self._records = records

    @property
    def address(self) -> str:
        host, port = self._transport.get_extra_info("sockname")
        return f"{host}:{port}"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        query = dns.message.from_wire(data)
        [question] = query.question
        name = question.name.to_text(omit_final_dot=True)
        self.asked.append(name)
        records = self._records.get(name, ())
        if records is None:
            return
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA
        if records:
            kinds = (dns.rdataclass.IN, dns.rdatatype.SRV)
            response.answer.append(dns.rrset.from_text(question.name, 60, *kinds, *records))
        else:
            response.set_rcode(dns.rcode.NXDOMAIN)
        self._transport.sendto(response.to_wire(), addr)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transport.close()
