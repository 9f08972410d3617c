"""A cluster of two endpoints, of which one is no etcd but floods, lies or hangs up: what users notice."""

import pytest

from etcd_async import Client, EtcdError, ProtocolError, Unavailable
from etcd_async.testing import EtcdServer
from tests.faults.support import outcome
from tests.support.h2server import raw_frame
from tests.support.hostile import END, START, HostileServer, Script
from tests.support.live import take, until, within

pytestmark = [pytest.mark.faults, pytest.mark.spared]

CALLS = 10
SCRIPTS = {
    "pings": Script(forever=raw_frame(6, 0, 0, b"floodfld") * 1000),
    "headers without end": Script(raw_frame(1, 0, 1, START), raw_frame(9, 0, 1)),
    "a frame too large": Script(b"\xff\xff\xff\0\0\0\0\0\1"),
    "no HTTP/2": Script(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "a window too large": Script(raw_frame(8, 0, 0, b"\x7f\xff\xff\xff")),
    "resets": Script(raw_frame(3, 0, 1, b"\0\0\0\2")),
}
each_script = pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)


@each_script
async def test_reads_go_elsewhere_and_writes_tell_the_truth(server: EtcdServer, client: Client, script: Script) -> None:
    await client.put("/k", "v")
    with HostileServer(script, always=True) as hostile:
        async with Client([hostile.endpoint, server.endpoint]) as divided:
            for _ in range(CALLS):
                kv = await within(divided.get("/k"))
                assert kv is not None
                assert kv.value == b"v"
            for number in range(CALLS):
                result = await within(outcome(divided.put(f"/once/{number}", "v")))
                kv = await client.get(f"/once/{number}")
                if isinstance(result, EtcdError):
                    assert isinstance(result, Unavailable)
                    assert result.maybe_applied
                    assert kv is None  # it never got to etcd
                else:
                    assert kv is not None
                    assert kv.version == 1
    assert hostile.clients


@each_script
async def test_watches_and_leases_find_the_endpoint_that_serves(
    server: EtcdServer, client: Client, script: Script
) -> None:
    with HostileServer(script, always=True) as hostile:
        async with (
            Client([hostile.endpoint, server.endpoint]) as divided,
            divided.lease(ttl=4) as lease,
            divided.watch(prefix="/w/") as watch,
        ):
            written = [(await client.put(f"/w/{number}", "v", lease=lease.id)).revision for number in range(CALLS)]
            assert [event.revision for event in await take(watch, CALLS, 20)] == written
            granted = lease.expires_at

            async def is_renewed() -> bool:
                return await client.exists("/w/0") and lease.expires_at > granted

            await until(is_renewed)
            assert not lease.is_lost
    assert hostile.clients


async def test_answers_that_are_no_protobuf_are_protocol_errors_and_the_next_call_goes_on(server: EtcdServer) -> None:
    nonsense = raw_frame(1, 4, 1, START) + raw_frame(0, 0, 1, b"\0\0\0\0\2\xff\xff") + raw_frame(1, 5, 1, END)
    with HostileServer(Script(nonsense), always=True) as hostile:
        async with Client(hostile.endpoint) as deceived, Client(server.endpoint) as client:
            error = await within(outcome(deceived.put("/k", "v")))
            assert isinstance(error, ProtocolError)
            assert error.maybe_applied
            assert await client.get("/k") is None
