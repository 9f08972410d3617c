"""The largest requests and answers, those that are too large, and streams that nobody reads."""

import asyncio

import pytest

from etcd_async import Client, RequestTooLarge, ResponseTooLarge, TransportOptions, put, wire
from etcd_async._codec import decode, encode
from etcd_async._transport import methods
from etcd_async.testing import EtcdServer
from tests.faults.support import MIB, in_turn, open_exchanges
from tests.support.live import take, within

pytestmark = pytest.mark.faults

LARGE = 64


async def fill(client: Client, number: int) -> bytes:
    """Write so many values of 1 MiB, none of them like another, and return what they begin with."""
    value = bytes(range(256)) * (MIB // 256)

    async def write(index: int) -> None:
        await client.put(f"/large/{index:03}", index.to_bytes(4, "big") + value[4:], timeout=30)

    await in_turn(write, range(number), workers=4)
    return value


async def test_a_range_of_64_mib_arrives_whole_and_holds_up_no_other_call(server: EtcdServer, client: Client) -> None:
    value = await fill(client, LARGE)
    await client.put("/small", "v")
    reading = asyncio.create_task(client.range(prefix="/large/", timeout=30))
    small = 0
    while not reading.done():
        assert await client.exists("/small")
        small += 1
    found = await reading
    assert small > 1
    assert [kv.value for kv in found] == [index.to_bytes(4, "big") + value[4:] for index in range(LARGE)]


async def test_a_watch_brings_64_mib(server: EtcdServer, client: Client) -> None:
    value = await fill(client, LARGE)
    async with client.watch(prefix="/large/", start_revision=1) as watch:
        events = await take(watch, LARGE, 30)
    assert sorted(event.kv.value[:4] for event in events) == [index.to_bytes(4, "big") for index in range(LARGE)]
    assert all(event.kv.value[4:] == value[4:] for event in events)


async def test_puts_up_to_the_servers_limit_work_and_larger_ones_are_refused(client: Client) -> None:
    room = 512  # for the key and the request around it
    value = b"x" * (3 * MIB // 2 - room)
    await client.put("/largest", value)
    kv = await client.get("/largest")
    assert kv is not None
    assert kv.value == value
    with pytest.raises(RequestTooLarge) as by_server:
        await client.put("/too-large", b"x" * (3 * MIB // 2 + room))
    assert not by_server.value.maybe_applied
    with pytest.raises(RequestTooLarge) as by_client:
        await client.put("/too-large", b"x" * (3 * MIB))
    assert not by_client.value.maybe_applied
    with pytest.raises(RequestTooLarge):
        await client.txn(then=[put(f"/too-large/{part}", b"x" * MIB) for part in range(3)])
    assert not await client.exists("/too-large")


async def test_an_answer_past_the_clients_limit_is_refused_and_the_connection_goes_on(
    server: EtcdServer, client: Client
) -> None:
    await fill(client, 8)
    async with Client(server.endpoint, transport=TransportOptions(max_receive_bytes=4 * MIB)) as limited:
        async with limited.watch("/k") as watch:
            [connection] = limited._core.caller._channels[server.endpoint]._connector.live
            with pytest.raises(ResponseTooLarge) as caught:
                await limited.range(prefix="/large/")
            assert not caught.value.maybe_applied
            assert len(await limited.range(prefix="/large/", limit=3)) == 3
            assert [kv.key async for kv in limited.scan(prefix="/large/", page_size=2)][-1] == b"/large/007"
            await limited.put("/k", "v")
            assert (await take(watch, 1))[0].kv.value == b"v"
            assert limited._core.caller._channels[server.endpoint]._connector.current is connection
        await within(client.get("/k"))
    assert open_exchanges(limited) == 0


async def test_a_stream_that_nobody_reads_holds_up_no_call(server: EtcdServer, client: Client) -> None:
    await fill(client, LARGE)
    core = client._core
    stream = await core.caller.open(methods.SNAPSHOT, encode(wire.SnapshotRequest()), timeout=5)
    try:
        first = await within(stream.receive(), 40)  # etcd writes all to its disk before
        assert first is not None
        # More than the windows of the stream: the rest waits on the server, and nothing else does.
        for number in range(100):
            await client.put("/k", str(number), timeout=5)
            assert len(await client.range(prefix="/large/", limit=1, timeout=5)) == 1
        async with client.watch("/k") as watch, client.lease(ttl=30):
            await client.put("/k", "seen")
            assert (await take(watch, 1))[0].kv.value == b"seen"
        held = sum(map(len, stream._stream._messages)) + stream._stream.held
        assert held <= 2 * TransportOptions().stream_window
        size = len(decode(wire.SnapshotResponse, first).blob)
        while (message := await within(stream.receive())) is not None:
            size += len(decode(wire.SnapshotResponse, message).blob)
        assert size > LARGE * MIB
    finally:
        stream.cancel()
