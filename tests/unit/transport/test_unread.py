"""A peer that reads nothing: what piles up on our side, and when that is its fault."""

import asyncio

import pytest
from h2.settings import SettingCodes

from etcd_async._protocol.frames import PING, frame
from etcd_async._transport import connection as module
from etcd_async._transport.connection import Connection
from etcd_async._transport.failure import AttemptFailed
from tests.support.h2server import H2Server, Peer
from tests.support.live import within
from tests.unit.transport.support import PATH, call, channel_to, warm

pytestmark = pytest.mark.loops("asyncio", "uvloop")

STREAMS = 300


def stop_reading(peer: Peer, connection: Connection) -> None:
    """Let the pipe to *peer* fill up."""
    peer.transport.pause_reading()
    connection._transport.write(bytes(20_000_000))
    assert connection._is_paused


async def test_many_streams_left_while_the_peer_reads_nothing_are_no_flood_of_its(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_UNWRITTEN", STREAMS // 2)
    made = {SettingCodes.MAX_CONCURRENT_STREAMS: 2 * STREAMS}
    async with H2Server(settings=made) as server, channel_to(server) as channel:
        await warm(server, channel)
        connection = channel._connector.current
        assert connection is not None
        streams = [await channel.open(PATH) for _ in range(STREAMS)]
        for _ in streams:
            await server.request()
        stop_reading(await server.peer(), connection)
        for stream in streams:
            stream.cancel()
        await asyncio.sleep(0)
        assert connection.outbox.is_idle
        assert connection.is_usable
        connection.abort("the test is over")


async def test_a_peer_that_pings_on_and_on_and_reads_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_UNWRITTEN", 100)
    async with H2Server() as server, channel_to(server) as channel:
        await warm(server, channel)
        connection = channel._connector.current
        assert connection is not None
        peer = await server.peer()
        stop_reading(peer, connection)
        task = call(channel)
        for _ in range(200):
            peer.write(frame(PING, 0, 0, bytes(8)))
        with pytest.raises(AttemptFailed, match="floods the connection and reads nothing"):
            await within(task)
