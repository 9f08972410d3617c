"""
The one place that knows grpclib's private names, and h2's part in a connection.

grpclib makes the connection (TLS, unix sockets, HTTP/2 preface, windows), to an address that `dialing` finds; h2 keeps
the settings of both sides and the connection's outbound window. grpclib's calls (`Stream`, `Wrapper`,
`EventsProcessor`) are not used: ``tests/unit/transport/test_grpclib_defects.py`` says why.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol, cast

import grpclib.client
from grpclib.config import Configuration
from grpclib.encoding.base import CodecBase
from grpclib.protocol import H2Protocol
from h2.connection import H2Connection
from h2.events import RemoteSettingsChanged
from h2.exceptions import ProtocolError as H2ProtocolError
from h2.settings import SettingCodes
from hpack.exceptions import HPACKError, OversizedHeaderListError

from etcd_async._protocol.endpoints import Endpoint
from etcd_async._protocol.frames import ConnectionFault, ErrorCode
from etcd_async._protocol.outbox import PeerSettings
from etcd_async.options import TransportOptions

_PING_PAYLOAD = b"etcd_asy"


class Link(Protocol):
    """What a connection takes from its transport."""

    def data_received(self, data: bytes) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def connection_lost(self, error: BaseException | None) -> None: ...


class Control:
    """h2's part in a connection: settings of both sides, pings, and what the peer allows us to send."""

    def __init__(self, connection: H2Connection) -> None:
        self._connection = connection

    @property
    def peer(self) -> PeerSettings:
        """What the peer allows."""
        return self._connection

    def receive(self, frame: bytes) -> bool:
        """Take a frame of stream 0; True if the peer's settings came with it."""
        try:
            events = self._connection.receive_data(frame)
        except H2ProtocolError as error:
            self._connection.clear_outbound_data_buffer()
            raise ConnectionFault(ErrorCode(error.error_code), str(error)) from error
        return any(isinstance(event, RemoteSettingsChanged) for event in events)

    def answer(self) -> bytes:
        """Return what h2 wants to send now."""
        return self._connection.data_to_send()

    def ping(self) -> bytes:
        """Return a PING frame."""
        self._connection.ping(_PING_PAYLOAD)
        return self.answer()

    def decode(self, block: bytes) -> Iterable[tuple[bytes, bytes]]:
        """Return the fields of a header block; every block must pass through here, in order."""
        try:
            return cast(Iterable[tuple[bytes, bytes]], self._connection.decoder.decode(block, raw=True))
        except OversizedHeaderListError as error:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a header list without measure") from error
        except (HPACKError, IndexError, TypeError, ValueError) as error:  # as h2's own _decode_headers
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, f"a header block that is not HPACK: {error}") from error


class _NoCodec(CodecBase):
    """Fills a parameter: messages are encoded elsewhere, and grpclib's default would look for google's protobuf."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        raise NotImplementedError

    def decode(self, data: bytes, message_type: Any) -> Any:
        raise NotImplementedError


class _Protocol(H2Protocol):
    """grpclib's protocol up to the preface; from there all bytes are the link's."""

    link: Link
    make_link: Callable[[asyncio.Transport, Control], Link]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        h2 = self.connection._connection
        h2.update_settings({SettingCodes.ENABLE_PUSH: 0})
        self.link = self.make_link(cast(asyncio.Transport, transport), Control(h2))

    def data_received(self, data: bytes) -> None:
        self.link.data_received(data)

    def pause_writing(self) -> None:
        self.link.pause_writing()

    def resume_writing(self) -> None:
        self.link.resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.link.connection_lost(exc)
        super().connection_lost(exc)


class _Channel(grpclib.client.Channel):
    make_link: Callable[[asyncio.Transport, Control], Link]
    dial: Callable[[str, int], Awaitable[socket.socket]]

    def _protocol_factory(self) -> H2Protocol:
        protocol = _Protocol(grpclib.client.Handler(), self._config, self._h2_config)
        protocol.make_link = self.make_link
        return protocol

    async def _create_connection(self) -> H2Protocol:
        if self._path is not None or "%" in self._host:  # uvloop's sock_connect loses the zone of an IPv6 address
            return await super()._create_connection()
        # grpclib would leave all the time there is to the first address of a name.
        connected = await self.dial(self._host, self._port)
        server_name = self._config.ssl_target_name_override if self._ssl is not None else None
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(
            self._protocol_factory, sock=connected, ssl=self._ssl, server_hostname=server_name
        )
        return protocol


async def connect(
    endpoint: Endpoint,
    *,
    context: ssl.SSLContext | None,
    server_name: str,
    options: TransportOptions,
    dial: Callable[[str, int], Awaitable[socket.socket]],
    make_link: Callable[[asyncio.Transport, Control], Link],
) -> None:
    """
    Connect to *endpoint* by *dial*, TLS included, and hand the connection to what *make_link* returns.

    Raises:
        OSError: No connection; `ssl.SSLError` and `socket.gaierror` are kinds of it.
    """
    config = Configuration(
        http2_connection_window_size=options.connection_window,
        http2_stream_window_size=options.stream_window,
        ssl_target_name_override=server_name if context is not None else None,
    )
    channel = _Channel(endpoint.host, endpoint.port, path=endpoint.path, codec=_NoCodec(), ssl=context, config=config)
    channel.make_link, channel.dial = make_link, dial
    await channel._create_connection()
