"""What one holder writes again and again: a write that seemed lost never undoes one that came after it."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from etcd_async import Client, DeadlineExceeded, LeadershipLost, PermissionDenied, Service, StatusCode, TxnResult
from etcd_async.testing import EtcdServer

BILLING = Service(name="billing", id="billing-1", address="h:1")
KEY = "services/billing/billing-1"


class Seizing(Client):
    """A client whose next transaction seems lost; whether it is carried out at once or later on is for the test."""

    is_applied: bool | None = None
    late: Callable[[], Awaitable[TxnResult]]

    async def txn(self, *args: Any, **options: Any) -> TxnResult:
        applied, self.is_applied = self.is_applied, None
        if applied is None:
            return await super().txn(*args, **options)
        self.late = lambda: super(Seizing, self).txn(*args, **options)
        if applied:
            await self.late()
        raise DeadlineExceeded(maybe_applied=True)


@pytest.fixture
async def seizing(client: Client, etcd_server: EtcdServer) -> Any:
    async with Seizing(etcd_server.endpoint) as seizing:
        yield seizing


@pytest.mark.parametrize("is_applied", [False, True])
async def test_a_leaders_word_that_comes_late_is_not_the_last_one(seizing: Seizing, is_applied: bool) -> None:
    election = seizing.election("e", identity="one", ttl=30)
    async with election.campaign() as leadership:
        for round in range(2):
            seizing.is_applied = is_applied
            with pytest.raises(DeadlineExceeded):
                await leadership.proclaim(f"old {round}")
            await leadership.proclaim(f"new {round}")
            assert not (await seizing.late()).succeeded
            assert await election.leader() == f"new {round}".encode()


async def test_a_resumed_leader_speaks_after_all_that_was_said_before(client: Client, seizing: Seizing) -> None:
    async with seizing.election("e", identity="one", ttl=30).campaign() as leadership:
        await leadership.proclaim("two")
        seizing.is_applied = False
        with pytest.raises(DeadlineExceeded):
            await leadership.proclaim("late")
        ticket = await leadership.suspend()
    async with client.election("e").resume(ticket) as resumed:
        await resumed.proclaim("three")
        assert not (await seizing.late()).succeeded
        assert await client.election("e").leader() == b"three"


async def test_a_leader_whose_key_is_somebody_elses_says_nothing(client: Client) -> None:
    async with client.election("e", ttl=30).campaign(on_loss="signal") as leadership:
        await client.delete(leadership.key)
        await client.put(leadership.key, "mine")
        with pytest.raises(LeadershipLost, match="deleted"):
            await leadership.proclaim("still me")
        assert await client.election("e").leader() == b"mine"


@pytest.mark.parametrize("is_applied", [False, True])
async def test_a_report_that_comes_late_is_not_the_last_one(seizing: Seizing, is_applied: bool) -> None:
    async with seizing.register(BILLING, ttl=30) as registration:
        for zone in "ab":
            seizing.is_applied = is_applied
            with pytest.raises(DeadlineExceeded):
                await registration.set_health(False, "starting")
            await registration.update(metadata={"zone": zone})
            await registration.set_health(True)
            assert not (await seizing.late()).succeeded
            assert await seizing.discover("billing") == [registration.service]
            assert registration.service.is_healthy


async def test_an_update_leaves_the_place_to_the_process_that_came_later(client: Client) -> None:
    later = Service("billing", "billing-1", "h:2")
    async with client.register(BILLING, ttl=30) as registration, client.register(later, ttl=30):
        await registration.update(metadata={"zone": "a"})
        assert await client.discover("billing") == [later]


async def test_an_update_writes_what_somebody_else_has_overwritten_or_deleted(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    _refuse(monkeypatch, client, "watch")  # or the deletion would be noticed
    async with client.register(BILLING, ttl=30) as registration:
        await client.put(KEY, "junk")
        await registration.update(address="h:2")
        assert await client.discover("billing") == [registration.service]
        await client.delete(KEY)
        await registration.update(address="h:3")
        assert await client.discover("billing") == [registration.service]
    assert not await client.exists(KEY)


async def test_who_may_only_write_its_key_can_change_it(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async with client.register(BILLING, ttl=30) as registration:
        _refuse(monkeypatch, client, "txn")
        await registration.update(address="h:2")
        assert await client.discover("billing") == [registration.service]


def _refuse(monkeypatch: pytest.MonkeyPatch, client: Client, call: str) -> None:
    def refused(*args: Any, **options: Any) -> Any:
        raise PermissionDenied(StatusCode.PERMISSION_DENIED, "etcdserver: permission denied")

    monkeypatch.setattr(client, call, refused)
