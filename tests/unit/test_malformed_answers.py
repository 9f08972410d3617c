"""Answers that are no protobuf: typed errors, the truth about writes, and a client that goes on."""

from typing import Any

import pytest

import etcd_async
from etcd_async import ops
from etcd_async.errors import ProtocolError
from etcd_async.wire import PutRequest
from tests.support.h2server import H2Server, Request

pytestmark = pytest.mark.loops("asyncio", "uvloop")


def malformed(request: Request) -> None:
    request.answer(b"\xff")


@pytest.mark.parametrize(
    ("op", "maybe_applied"),
    [
        (ops.get("k"), False),
        (ops.put("k", "v"), True),
        (ops.delete("k"), True),
        (ops.txn(then=[ops.get("k")]), False),
        (ops.txn(then=[ops.put("k", "v")]), True),
    ],
    ids=["get", "put", "delete", "reading txn", "writing txn"],
)
async def test_a_malformed_answer_breaks_the_protocol_and_a_write_may_have_been_applied(
    op: ops.Op, maybe_applied: bool
) -> None:
    async with H2Server(answers=malformed) as server, etcd_async.Client(server.endpoint) as client:
        with pytest.raises(ProtocolError) as caught:
            await client.do(op)
        assert caught.value.maybe_applied is maybe_applied


async def test_a_malformed_answer_to_a_write_by_its_wire_message_leaves_open_whether_it_was_applied() -> None:
    async with H2Server(answers=malformed) as server, etcd_async.Client(server.endpoint) as client:
        with pytest.raises(ProtocolError) as caught:
            await client.rpc("/etcdserverpb.KV/Put", PutRequest(key=b"k"))
        assert caught.value.maybe_applied


async def test_a_malformed_grant_ends_no_client_and_the_lease_may_exist() -> None:
    async with H2Server(answers=malformed) as server, etcd_async.Client(server.endpoint) as client:
        for _ in range(2):
            with pytest.raises(ProtocolError) as caught:
                await client.lease(5).__aenter__()
            assert caught.value.maybe_applied
        with pytest.raises(ProtocolError) as caught:
            await client.leases.grant(5)
        assert caught.value.maybe_applied


async def test_a_malformed_answer_to_a_login_is_told_as_such() -> None:
    login: Any = {"user": "root", "password": "secret"}
    async with H2Server(answers=malformed) as server:
        with pytest.raises(ProtocolError):
            async with etcd_async.Client(server.endpoint, **login) as client:
                await client.get("k")
