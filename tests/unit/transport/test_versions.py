"""Which etcd answers where, asked once per connection."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from etcd_async import _codec
from etcd_async._pb.etcdserverpb import StatusResponse
from etcd_async._protocol.endpoints import parse
from etcd_async._transport.caller import Caller
from etcd_async._transport.callstream import CallStream
from etcd_async._transport.methods import WATCH
from etcd_async._transport.versions import Version, Versions, orders_progress, parse_version
from etcd_async.errors import StatusCode, Unavailable
from tests.support.h2server import H2Server, Request

pytestmark = pytest.mark.loops("asyncio", "uvloop")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("3.5.1", (3, 5, 1)),
        ("3.8.0-alpha.0", (3, 8, 0)),
        ("10.20.30", (10, 20, 30)),
        ("", None),
        ("3.5", None),
        ("3.5.x", None),
        ("3.5.1.2", None),
        ("not decided", None),
    ],
)
def test_a_version_is_three_numbers_or_nothing(text: str, version: Version | None) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize(
    ("version", "does"),
    [
        (None, False),
        ((3, 3, 99), False),
        ((3, 4, 24), False),
        ((3, 4, 25), True),
        ((3, 5, 7), False),
        ((3, 5, 8), True),
        ((3, 6, 0), True),
        ((4, 0, 0), True),
    ],
)
def test_progress_is_in_order_from_3_4_25_and_3_5_8_on(version: Version | None, does: bool) -> None:
    assert orders_progress(version) is does


class Server:
    """Tells its version, or what else the test wants."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.asked = 0
        self.refuses = False

    def __call__(self, request: Request) -> None:
        if not request.path.endswith("/Status"):
            return
        self.asked += 1
        if self.refuses:
            request.refuse(StatusCode.PERMISSION_DENIED, "etcdserver: permission denied")
        else:
            request.answer(_codec.encode(StatusResponse(version=self.version)))


@asynccontextmanager
async def asking(answers: Callable[[Request], None]) -> AsyncIterator[tuple[H2Server, Caller, Versions]]:
    async with H2Server(answers=answers) as server, asyncio.timeout(10):
        caller = Caller([parse(server.endpoint)])
        try:
            yield server, caller, Versions(caller)
        finally:
            await caller.aclose()


async def stream_of(caller: Caller) -> CallStream:
    return await caller.open(WATCH, timeout=5)


async def test_a_connection_is_asked_once() -> None:
    member = Server("3.5.9")
    async with asking(member) as (_, caller, versions):
        for _ in range(3):
            stream = await stream_of(caller)
            assert await versions.of(stream) == (3, 5, 9)
            stream.cancel()
        assert member.asked == 1


async def test_the_next_connection_is_asked_again_for_the_member_may_have_been_downgraded() -> None:
    member = Server("3.5.9")
    async with asking(member) as (server, caller, versions):
        stream = await stream_of(caller)
        assert await versions.of(stream) == (3, 5, 9)
        member.version = "3.5.7"
        (await server.peer()).cut()
        with pytest.raises(Unavailable):
            await stream.receive()
        assert await versions.of(await stream_of(caller)) == (3, 5, 7)


async def test_who_does_not_tell_is_asked_again() -> None:
    member = Server("3.6.0")
    member.refuses = True
    async with asking(member) as (_, caller, versions):
        stream = await stream_of(caller)
        assert await versions.of(stream) is None
        member.refuses = False
        assert await versions.of(stream) == (3, 6, 0)


async def test_an_answer_that_is_none_counts_as_not_telling() -> None:
    def malformed(request: Request) -> None:
        if request.path.endswith("/Status"):
            request.answer(b"\xff")

    async with asking(malformed) as (_, caller, versions):
        assert await versions.of(await stream_of(caller)) is None


async def test_a_version_of_another_shape_counts_as_not_telling() -> None:
    async with asking(Server("forty-two")) as (_, caller, versions):
        assert await versions.of(await stream_of(caller)) is None
