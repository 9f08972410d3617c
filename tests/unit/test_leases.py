"""Leases whose answers were lost, against a scripted server."""

import pytest

from etcd_async import Client, LeaseGrant, Unavailable, _codec
from etcd_async.wire import LeaseGrantRequest, LeaseGrantResponse, LeaseTimeToLiveResponse
from tests.support.h2server import H2Server, Request
from tests.support.live import within

pytestmark = pytest.mark.loops("asyncio", "uvloop")


@pytest.mark.parametrize(
    ("granted_ttl", "grants"), [(7, 1), (0, 2)], ids=["which is there still", "which has run out meanwhile"]
)
async def test_a_grant_may_find_the_lease_of_its_own_first_attempt(granted_ttl: int, grants: int) -> None:
    asked: list[str] = []

    def answer(request: Request) -> None:
        asked.append(request.path.rpartition("/")[2])
        if asked == ["LeaseGrant"]:
            request.refuse(9, "etcdserver: lease already exists")
        elif asked[-1] == "LeaseGrant":
            request.answer(_codec.encode(LeaseGrantResponse(id=1, ttl=7)))
        else:
            request.answer(_codec.encode(LeaseTimeToLiveResponse(ttl=granted_ttl or -1, granted_ttl=granted_ttl)))

    async with H2Server(answers=answer) as server, Client(server.endpoint) as client:
        granted = await within(client.leases.grant(7))
    assert isinstance(granted, LeaseGrant)
    assert granted.ttl == 7
    assert asked.count("LeaseGrant") == grants


@pytest.mark.parametrize("id", [0, 7])
async def test_a_grant_by_its_wire_message_is_never_repeated(id: int) -> None:
    """It could not be told apart from another lease, or from somebody else's."""
    asked: list[Request] = []

    def lose(request: Request) -> None:
        asked.append(request)
        request.abandon(8)

    async with H2Server(answers=lose) as server, Client(server.endpoint) as client:
        with pytest.raises(Unavailable) as caught:
            await within(client.rpc("/etcdserverpb.Lease/LeaseGrant", LeaseGrantRequest(ttl=7, id=id)))
    assert caught.value.maybe_applied
    assert len(asked) == 1
