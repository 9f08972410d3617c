"""Leases whose answers were lost, against a scripted server."""

import pytest

from etcd_async import Client, LeaseGrant, _codec
from etcd_async.wire import LeaseGrantResponse, LeaseTimeToLiveResponse
from tests.support.h2server import H2Server, Request, within

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
