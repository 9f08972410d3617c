"""Unary calls against a scripted server: answers, refusals, and answers that break the rules."""

import asyncio
import time
import tomllib
from pathlib import Path

import pytest

from etcd_async._transport import channel as channel_module
from etcd_async._transport.failure import AttemptFailed
from etcd_async.errors import (
    ClientClosed,
    DeadlineExceeded,
    LeaseNotFound,
    ProtocolError,
    RequestTooLarge,
    ResponseTooLarge,
    RpcError,
    StatusCode,
)
from tests.support.h2server import ANSWER_HEADERS, H2Server, Request, prefixed
from tests.support.live import within
from tests.unit.transport.support import PATH, call, channel_to, options

pytestmark = pytest.mark.loops("asyncio", "uvloop")

END_STREAM, END_HEADERS = 1, 4


async def test_the_answer_comes_back_and_the_request_is_grpc() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        task = call(channel)
        request = await server.request()
        assert await request.message() == b"ping"
        request.answer(b"pong")
        assert await within(task) == b"pong"
        assert request.path == PATH
        assert request.headers["content-type"] == "application/grpc"
        assert request.headers["te"] == "trailers"
        assert request.headers["user-agent"].startswith("etcd_async/")
        assert request.headers[":authority"] == f"127.0.0.1:{server.port}"
        assert "grpc-timeout" not in request.headers


async def test_metadata_and_the_time_left_travel_with_the_call() -> None:
    async with H2Server(answers=lambda request: request.answer(b"")) as server, channel_to(server) as channel:
        deadline = time.monotonic() + 30
        assert await channel.unary(PATH, b"", metadata=(("token", "abc"),), deadline=deadline) == b""
        request = await server.request()
        assert request.headers["token"] == "abc"
        assert 20_000 < int(request.headers["grpc-timeout"].removesuffix("m")) <= 30_000


async def test_calls_made_in_one_turn_leave_in_one_write() -> None:
    async with H2Server(answers=lambda request: request.answer(b"x")) as server, channel_to(server) as channel:
        await channel.unary(PATH, b"", deadline=None)
        peer = await server.peer()
        before = len(peer.reads)
        assert await asyncio.gather(*[call(channel, b"%d" % n) for n in range(50)]) == [b"x"] * 50
        assert len(peer.reads) - before == 1


async def test_a_hundred_calls_at_once_get_their_own_answers_in_any_order() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        tasks = [call(channel, b"%d" % n) for n in range(100)]
        requests = [await (await server.request()).whole() for _ in tasks]
        for request in reversed(requests):
            request.answer(request.messages[0] * 2)
        assert await within(asyncio.gather(*tasks)) == [b"%d" % n * 2 for n in range(100)]


async def test_a_refusal_is_the_class_of_its_text_and_percent_decoded() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        task = call(channel)
        (await server.request()).refuse(5, "etcdserver%3A requested lease%20not found")
        with pytest.raises(LeaseNotFound):
            await within(task)


async def test_a_refusal_may_come_in_trailers_after_headers() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        task = call(channel)
        request = await server.request()
        request.send_headers()
        request.send_trailers(9, "no")
        with pytest.raises(RpcError) as caught:
            await within(task)
        assert (caught.value.code, caught.value.message) == (StatusCode.FAILED_PRECONDITION, "no")


def only_ok(request: Request) -> None:
    request.refuse(0)


def no_message(request: Request) -> None:
    request.send_headers()
    request.send_trailers()


def two_messages(request: Request) -> None:
    request.send_headers()
    request.send_data(prefixed(b"a") + prefixed(b"b"))
    request.send_trailers()


def two_messages_in_two_frames(request: Request) -> None:
    request.send_headers()
    request.send_message(b"a")
    request.send_message(b"b")


def a_second_message_begins_in_the_same_frame(request: Request) -> None:
    request.send_headers()
    request.send_data(prefixed(b"a") + prefixed(b"b")[:1])


def a_second_message_begins_in_the_next_frame(request: Request) -> None:
    request.send_headers()
    request.send_message(b"a")
    request.send_data(prefixed(b"b")[:1])


def compressed(request: Request) -> None:
    request.send_headers()
    request.send_data(prefixed(b"a", compressed=1))


def compressed_encoding(request: Request) -> None:
    request.send_headers(*ANSWER_HEADERS, ("grpc-encoding", "gzip"))


def html(request: Request) -> None:
    request.send_headers((":status", "200"), ("content-type", "text/html"))


def no_status(request: Request) -> None:
    request.send_headers()
    request.send_message(b"a")
    request.peer.h2.send_headers(request.stream_id, [("x", "y")], end_stream=True)


def data_ends_stream(request: Request) -> None:
    request.send_headers()
    request.peer.h2.send_data(request.stream_id, prefixed(b"a"), end_stream=True)


def cut_short(request: Request) -> None:
    request.send_headers()
    request.send_data(prefixed(b"abc")[:-1])
    request.send_trailers()


def headers_twice(request: Request) -> None:
    request.send_headers()
    request.peer.write(b"\0\0\1\1\4" + request.stream_id.to_bytes(4, "big") + b"\x88")


def data_first(request: Request) -> None:
    request.peer.write(b"\0\0\5\0\0" + request.stream_id.to_bytes(4, "big") + prefixed(b""))


def only_1xx(request: Request) -> None:
    block = b"\x08\x03103"
    frame = bytes((0, 0, len(block), 1, END_HEADERS | END_STREAM)) + request.stream_id.to_bytes(4, "big") + block
    request.peer.write(frame)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (only_ok, "without an answer"),
        (no_message, "without an answer"),
        (two_messages, "two messages"),
        (two_messages_in_two_frames, "two messages"),
        (a_second_message_begins_in_the_same_frame, "two messages"),
        (a_second_message_begins_in_the_next_frame, "two messages"),
        (compressed, "compressed"),
        (compressed_encoding, "compresses"),
        (html, "content type 'text/html'"),
        (no_status, "without a grpc-status"),
        (data_ends_stream, "without a grpc-status"),
        (cut_short, "cut its last message short"),
        (headers_twice, "headers in the middle"),
        (data_first, "data before headers"),
        (only_1xx, "1xx"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_an_answer_that_breaks_the_rules_is_an_error_of_its_call_only(answers: object, said: str) -> None:
    async with H2Server() as server, channel_to(server) as channel:
        other, task = call(channel), call(channel)
        spared, broken = await server.request(), await (await server.request()).whole()
        assert callable(answers)
        answers(broken)
        broken.peer.flush()
        with pytest.raises(ProtocolError, match=said) as caught:
            await within(task)
        assert caught.value.maybe_applied
        spared.answer(b"fine")
        assert await within(other) == b"fine"
        assert len(server.peers) == 1


@pytest.mark.parametrize(
    ("status", "code"), [(400, StatusCode.INTERNAL), (401, StatusCode.UNAUTHENTICATED), (404, StatusCode.UNIMPLEMENTED)]
)
@pytest.mark.parametrize("end", [True, False])
async def test_an_http_error_is_an_rpc_error(status: int, code: StatusCode, end: bool) -> None:
    async with H2Server() as server, channel_to(server) as channel:
        task = call(channel)
        (await server.request()).send_headers((":status", str(status)), ("content-type", "text/html"), end=end)
        with pytest.raises(RpcError, match=f"HTTP {status}") as caught:
            await within(task)
        assert caught.value.code is code


@pytest.mark.parametrize("end", [True, False])
async def test_a_proxys_503_is_a_failed_attempt_that_may_have_been_sent(end: bool) -> None:
    async with H2Server() as server, channel_to(server) as channel:
        task = call(channel)
        (await server.request()).send_headers((":status", "503"), end=end)
        with pytest.raises(AttemptFailed) as caught:
            await within(task)
        assert (caught.value.sent, caught.value.reason) == (True, "the server answered HTTP 503")


async def test_early_hints_are_passed_over() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        task = call(channel)
        request = await server.request()
        request.send_headers((":status", "103"), ("link", "x"))
        request.answer(b"pong")
        assert await within(task) == b"pong"


async def test_a_status_wins_over_a_missing_content_type() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        task = call(channel)
        (await server.request()).send_headers(
            (":status", "200"), ("grpc-status", "7"), ("grpc-message", "no"), end=True
        )
        with pytest.raises(RpcError, match="no"):
            await within(task)


async def test_a_request_over_the_limit_is_not_sent() -> None:
    async with H2Server() as server, channel_to(server, options(max_send_bytes=10)) as channel:
        with pytest.raises(RequestTooLarge, match="11 bytes, max_send_bytes is 10"):
            await channel.unary(PATH, bytes(11), deadline=None)
        assert not server.peers


async def test_an_answer_over_the_limit_is_refused_by_its_prefix() -> None:
    async with H2Server() as server, channel_to(server, options(max_receive_bytes=1000)) as channel:
        task = call(channel)
        request = await server.request()
        request.send_headers()
        request.send_data(b"\0" + (256 << 20).to_bytes(4, "big"))
        with pytest.raises(ResponseTooLarge, match="max_receive_bytes is 1000") as caught:
            await within(task)
        assert caught.value.maybe_applied
        assert await request.reset() == 8


async def test_a_reset_without_error_after_the_answer_is_harmless() -> None:
    def answer(request: Request) -> None:
        request.answer(b"pong")
        request.peer.write(b"\0\0\4\3\0" + request.stream_id.to_bytes(4, "big") + bytes(4))

    async with H2Server(answers=answer) as server, channel_to(server) as channel:
        for _ in range(3):
            assert await channel.unary(PATH, b"", deadline=None) == b"pong"
        assert len(server.peers) == 1


async def test_long_metadata_goes_on_in_continuation_frames() -> None:
    async with H2Server(answers=lambda request: request.answer(b"")) as server, channel_to(server) as channel:
        await channel.unary(PATH, b"", metadata=(("long", "x" * 40_000),), deadline=None)
        assert len((await server.request()).headers["long"]) == 40_000


async def test_the_server_giving_up_at_the_deadline_is_a_deadline_exceeded() -> None:
    async with H2Server(answers=lambda request: request.refuse(4)) as server, channel_to(server) as channel:
        with pytest.raises(DeadlineExceeded) as caught:
            await channel.unary(PATH, b"", deadline=time.monotonic() + 30)
        assert caught.value.maybe_applied
        with pytest.raises(RpcError):
            await channel.unary(PATH, b"", deadline=None)


async def test_a_closed_channel_refuses_calls_and_ends_those_under_way() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        task = call(channel)
        await (await server.request()).whole()
        await within(channel.aclose())
        with pytest.raises(ClientClosed) as caught:
            await within(task)
        assert caught.value.maybe_applied
        with pytest.raises(ClientClosed):
            await channel.unary(PATH, b"", deadline=None)
        with pytest.raises(ClientClosed):
            await channel.open(PATH)
        assert len(server.peers) == 1
        assert not channel.is_connected


async def test_abort_cuts_the_connection_at_once() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        task = call(channel)
        request = await server.request()
        channel.abort()
        with pytest.raises(ClientClosed):
            await within(task)
        await request.peer.lost()


def test_the_user_agent_names_the_version_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert f"etcd_async/{project['version']}" == channel_module._USER_AGENT


async def test_a_channel_is_idle_unless_it_connects_or_a_call_is_under_way() -> None:
    async with H2Server() as server, channel_to(server) as channel:
        seen = [channel.is_idle]
        task = call(channel)
        await asyncio.sleep(0)
        seen.append(channel.is_idle)  # it connects
        request = await server.request()
        seen.append(channel.is_idle)
        request.answer(b"")
        await within(task)
        seen.append(channel.is_idle)
    assert seen == [True, False, False, True]
