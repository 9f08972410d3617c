"""A lease that etcd refuses to renew, among others of the same client."""

import pytest

from etcd_async import LeaseLost, PermissionDenied
from tests.faults.auth import ann, guarded_server, root
from tests.support.live import within
from tests.support.versions import present

pytestmark = [pytest.mark.faults, pytest.mark.timeout(60)]

ASKS_FOR_PERMISSION = (3, 5, 35)


async def test_what_one_lease_is_denied_ends_that_lease_only() -> None:
    if present() < ASKS_FOR_PERMISSION:
        pytest.skip("this etcd lets everybody renew every lease; 3.5.35 and newer ask for permission to write its keys")
    async with (
        guarded_server() as server,
        root(server) as admin,
        ann(server.endpoint) as client,
        client.lease(3, on_loss="signal") as denied,
        client.lease(3) as kept,
    ):
        await client.put("/ann/mine", "v", lease=kept)
        await admin.put("/secret", "v", lease=denied)
        loss = await within(denied.lost())
        assert isinstance(loss, LeaseLost)
        assert isinstance(loss.__cause__, PermissionDenied)
        renewed = kept.expires_at
        while kept.expires_at == renewed:
            assert await client.exists("/ann/mine")
        assert not kept.is_lost
