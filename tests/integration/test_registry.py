"""Service registration under a lease, and discovery without a gap."""

import asyncio
from typing import Any

import pytest

from etcd_async import Client, ClientClosed, Compacted, DeadlineExceeded, Lease, Service, ServiceChange, TxnResult
from etcd_async.testing import EtcdServer
from tests.integration.support import nothing_left, until_expired
from tests.support.live import running, take, turns, until, within

BILLING = Service(name="billing", id="billing-1", address="10.0.0.5:8080", metadata={"zone": "a"})
SECOND = Service(name="billing", id="billing-2", address="10.0.0.6:8080")


async def test_a_service_is_found_while_it_is_registered(client: Client) -> None:
    assert await client.discover("billing") == []
    async with client.register(BILLING, ttl=15) as registration:
        assert await client.discover("billing") == [BILLING]
        assert registration.service == BILLING
        assert registration.is_registered
    assert await client.discover("billing") == []
    assert await client.count(prefix="") == 0
    assert await client.leases.list() == []


async def test_the_lease_of_a_registration_may_be_asked_about(client: Client) -> None:
    async with client.register(BILLING, ttl=7) as registration:
        left = await client.leases.time_to_live(registration.lease_id, keys=True)
    assert left.granted_ttl == 7
    assert left.keys == (b"services/billing/billing-1",)
    assert registration.lease_id == 0


async def test_services_are_found_by_name_in_the_order_of_their_ids(client: Client) -> None:
    other = Service(name="billing2", id="a", address="10.0.0.7:80")
    async with client.register(SECOND), client.register(BILLING), client.register(other):
        assert await client.discover("billing") == [BILLING, SECOND]
        assert await client.discover("billing2") == [other]
        assert await client.discover("bill") == []


async def test_an_update_is_seen_by_all(client: Client, etcd_server: EtcdServer) -> None:
    async with Client(etcd_server.endpoint) as other, client.register(BILLING) as registration:
        await registration.update(metadata={"zone": "b"})
        assert await other.discover("billing") == [Service("billing", "billing-1", "10.0.0.5:8080", {"zone": "b"})]
        await registration.update(address="10.0.0.9:1")
        expected = Service("billing", "billing-1", "10.0.0.9:1", {"zone": "b"})
        assert await other.discover("billing") == [expected]
        assert registration.service == expected
    assert await client.discover("billing") == []


async def test_registering_again_takes_the_place_over(client: Client) -> None:
    async with client.register(BILLING):
        newer = Service("billing", "billing-1", "10.0.0.99:1")
        async with client.register(newer):
            assert await client.discover("billing") == [newer]


async def test_a_watch_begins_with_those_who_are_there_and_goes_on(client: Client) -> None:
    moved = Service("billing", "billing-1", "10.0.0.5:8080", {"zone": "b"})
    async with client.register(BILLING) as registration, client.watch_service("billing") as changes:
        assert await take(changes, 1) == [ServiceChange("added", BILLING)]
        async with client.register(SECOND):
            assert await take(changes, 1) == [ServiceChange("added", SECOND)]
            await registration.update(metadata={"zone": "b"})
            assert await take(changes, 1) == [ServiceChange("modified", moved)]
        assert await take(changes, 1) == [ServiceChange("removed", SECOND)]
        async with client.register(Service("other", "1", "10.0.0.1:1")):
            await registration.update(metadata={"zone": "a"})
            assert await take(changes, 1) == [ServiceChange("modified", BILLING)]


async def test_an_update_that_changes_nothing_is_no_change(client: Client) -> None:
    async with client.register(BILLING) as registration, client.watch_service("billing") as changes:
        assert await take(changes, 1) == [ServiceChange("added", BILLING)]
        await registration.update(metadata={"zone": "a"})
        async with client.register(SECOND):
            assert await take(changes, 1) == [ServiceChange("added", SECOND)]


async def test_snapshot_and_changes_join_without_gap_or_repeat(client: Client) -> None:
    async def come(number: int) -> None:
        await registrations[number].__aenter__()

    services = [Service("many", f"{number:02d}", f"10.0.0.{number}:80") for number in range(40)]
    registrations = [client.register(service) for service in services]
    coming = asyncio.gather(*(come(number) for number in range(40)))
    async with client.watch_service("many") as changes:
        seen = await take(changes, 40)
    await within(coming)
    assert {change.type for change in seen} == {"added"}
    assert sorted(change.service.id for change in seen) == [service.id for service in services]
    for registration in registrations:
        await registration.__aexit__(None, None, None)


async def test_a_watch_of_services_survives_compaction(client: Client) -> None:
    async with client.watch_service("billing") as changes, client.register(BILLING) as registration:
        assert await take(changes, 1) == [ServiceChange("added", BILLING)]
        for zone in ("b", "c", "d"):
            await registration.update(metadata={"zone": zone})
            await client.compact((await client.put("/elsewhere", "v")).revision)
        zones = [change.service.metadata["zone"] for change in await take(changes, 3)]
    assert zones == ["b", "c", "d"]


async def test_a_service_whose_lease_is_revoked_registers_itself_anew(client: Client) -> None:
    async with client.watch_service("billing") as changes, client.register(BILLING, ttl=3) as registration:
        assert await take(changes, 1) == [ServiceChange("added", BILLING)]
        lost = registration.lease_id
        await client.leases.revoke(lost)
        assert await take(changes, 2) == [ServiceChange("removed", BILLING), ServiceChange("added", BILLING)]
        await within(registration.registered())
        assert registration.lease_id not in (0, lost)
        assert await client.discover("billing") == [BILLING]
    assert await client.discover("billing") == []
    assert await client.leases.list() == []


async def test_what_was_updated_is_what_is_registered_anew(client: Client) -> None:
    async with client.register(BILLING, ttl=3) as registration:
        await registration.update(metadata={"zone": "b"})
        async with client.watch_service("billing") as changes:
            await take(changes, 1)
            await client.leases.revoke(registration.lease_id)
            removed, added = await take(changes, 2)
    assert (removed.type, added.type) == ("removed", "added")
    assert added.service.metadata == {"zone": "b"}


async def test_a_service_stays_far_beyond_its_term(client: Client) -> None:
    async with client.register(BILLING, ttl=2):
        await until_expired(client, 5)
        assert await client.discover("billing") == [BILLING]


async def test_a_dead_service_disappears_with_its_lease(client: Client, etcd_server: EtcdServer) -> None:
    dying = Client(etcd_server.endpoint)
    await dying.register(BILLING, ttl=3).__aenter__()
    async with client.watch_service("billing") as changes:
        assert await take(changes, 1) == [ServiceChange("added", BILLING)]
        await dying.aclose()
        assert await take(changes, 1) == [ServiceChange("removed", BILLING)]
    assert await client.discover("billing") == []


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"junk",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"name":"billing"}',
        b"null",
        b"3",
        b'{"name":"billing","id":"junk","address":"a","metadata":[1]}',
        b'{"name":"billing","id":7,"address":"a","metadata":{}}',
        b'{"name":"billing","id":"junk","address":7,"metadata":{}}',
        b'{"name":"billing","id":"junk","address":"a","metadata":{"zone":7}}',
        b'{"name":"billing","id":"other","address":"a","metadata":{}}',
        b'{"name":"other","id":"junk","address":"a","metadata":{}}',
        b'{"name":"billing","id":"junk","address":"","metadata":{}}',
        b"[" * 100_000,
    ],
    ids=lambda junk: junk[:60].decode(errors="replace"),
)
async def test_a_foreign_value_is_left_out_and_breaks_nothing(client: Client, junk: bytes) -> None:
    await client.put("services/billing/junk", junk)
    async with client.watch_service("billing") as changes, client.register(BILLING):
        assert await client.discover("billing") == [BILLING]
        assert await take(changes, 1) == [ServiceChange("added", BILLING)]
        await client.put("services/billing/junk", junk + b" ")
        async with client.register(SECOND):
            assert await take(changes, 1) == [ServiceChange("added", SECOND)]


async def test_a_value_that_turns_into_junk_is_a_removal(client: Client) -> None:
    async with client.register(BILLING), client.watch_service("billing") as changes:
        assert await take(changes, 1) == [ServiceChange("added", BILLING)]
        await client.put("services/billing/billing-1", "junk")
        assert await take(changes, 1) == [ServiceChange("removed", BILLING)]


async def test_metadata_and_ids_may_hold_any_text(client: Client) -> None:
    service = Service("сервис", "é-1", "[::1]:80", {"ключ": 'quotes " and \n newlines'})
    async with client.register(service):
        assert await client.discover("сервис") == [service]


async def test_a_registration_cancelled_at_its_start_leaves_nothing(client: Client) -> None:
    async def register() -> None:
        async with client.register(BILLING):
            await asyncio.Event().wait()

    for number in range(0, 60, 3):
        async with running(register()):
            await turns(number)  # some turns of the loop further each time
    await until(lambda: nothing_left(client))


async def test_an_update_whose_lease_is_gone_unnoticed_is_made_anew(client: Client) -> None:
    async with client.register(BILLING, ttl=3) as registration:
        await client.leases.revoke(registration.lease_id)
        await within(registration.update(address="10.0.0.9:1"))
        assert [service.address for service in await client.discover("billing")] == ["10.0.0.9:1"]


async def test_of_two_updates_at_once_the_later_one_stands(etcd_server: EtcdServer, client: Client) -> None:
    class Hesitant(Client):
        number = 0

        async def txn(self, *args: Any, **options: Any) -> TxnResult:
            self.number += 1
            if self.number == 1:
                for _ in range(10):
                    await super().put("/elsewhere", "")
            return await super().txn(*args, **options)

    async with Hesitant(etcd_server.endpoint) as hesitant, hesitant.register(BILLING, ttl=30) as registration:
        updates = (registration.update(metadata={"number": number}) for number in "12")
        await within(asyncio.gather(*updates))
        assert hesitant.number >= 2
        assert registration.service.metadata == {"number": "2"}
        assert await client.discover("billing") == [registration.service]


async def test_an_update_that_can_not_be_written_changes_nothing(client: Client) -> None:
    metadata: dict[str, Any] = {"zone": "a"}
    service = Service("billing", "billing-1", "10.0.0.5:8080", metadata)
    async with client.register(service, ttl=3) as registration:
        with pytest.raises(ValueError, match="surrogates"):
            await registration.update(address="\ud800")
        metadata["zone"] = object()
        first = registration.lease_id
        await client.leases.revoke(first)

        async def is_registered_anew() -> bool:
            return await client.exists("services/billing/billing-1") and registration.lease_id not in (0, first)

        await until(is_registered_anew)
        found = await client.discover("billing")
    assert found == [Service("billing", "billing-1", "10.0.0.5:8080", {"zone": "a"})]


async def test_a_registration_left_while_it_heals_leaves_nothing(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    txn, has_put, go_on = client.txn, asyncio.Event(), asyncio.Event()

    async def slow_txn(*args: Any, **options: Any) -> object:
        result = await txn(*args, **options)
        has_put.set()
        await go_on.wait()
        return result

    async with client.register(BILLING, ttl=30) as registration:
        monkeypatch.setattr(client, "txn", slow_txn)
        await client.leases.revoke(registration.lease_id)
        await within(has_put.wait())
        go_on.set()  # the answer is there, and the body is left in the same turn
    assert await client.leases.list() == []
    assert await client.discover("billing") == []


async def test_a_registration_is_entered_once_at_a_time(client: Client) -> None:
    registration = client.register(BILLING)
    with pytest.raises(RuntimeError, match="enter the registration first"):
        await registration.update(address="x")
    async with registration:
        with pytest.raises(RuntimeError, match="entered already"):
            await registration.__aenter__()
    async with registration:
        assert await client.discover("billing") == [BILLING]


async def test_a_snapshot_whose_revision_is_compacted_at_once_is_taken_again(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch, refused = client.watch, [Compacted.at(1)]

    def compacted_once(*args: Any, **options: Any) -> Any:
        if refused and "prefix" in options:  # not that of the registration, for its own key
            raise refused.pop()
        return watch(*args, **options)

    monkeypatch.setattr(client, "watch", compacted_once)
    async with client.register(BILLING), client.watch_service("billing") as changes:
        assert await take(changes, 1) == [ServiceChange("added", BILLING)]
    assert refused == []


async def test_whoever_waits_for_a_registration_is_told_that_it_ended(etcd_server: EtcdServer, client: Client) -> None:
    closing = Client(etcd_server.endpoint)
    async with closing.register(BILLING, ttl=60) as registration:
        await closing.aclose()
        for work in (registration.registered(), registration.update(address="h:1"), registration.set_health(True)):
            with pytest.raises(ClientClosed):
                await within(work)
    for work in (registration.registered(), registration.update(address="h:1")):
        with pytest.raises(RuntimeError, match="enter the registration first"):
            await within(work)


async def test_a_deletion_is_noticed_though_the_key_could_not_be_watched_at_first(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, may_watch = client.watch, asyncio.Event()

    def out_of_reach(*arguments: Any, **options: Any) -> Any:
        if not may_watch.is_set():
            may_watch.set()
            raise DeadlineExceeded("the watch was not registered")
        return whole(*arguments, **options)

    monkeypatch.setattr(client, "watch", out_of_reach)
    async with client.register(BILLING) as registration:
        await within(may_watch.wait())
        await client.delete("services/billing/billing-1")

        async def is_back() -> bool:
            return await client.discover("billing") == [registration.service]

        await until(is_back)


async def test_who_lost_its_place_to_another_does_not_ask_for_it_again_and_again(
    client: Client, etcd_server: EtcdServer
) -> None:
    newer = Service("billing", "billing-1", "10.0.0.99:1")
    successor = client.register(newer, ttl=30)
    before = (await client.put("/elsewhere", "")).revision

    class Overtaken(Client):
        leases_taken = 0

        def lease(self, *args: Any, **options: Any) -> Lease:
            self.leases_taken += 1
            return super().lease(*args, **options)

        async def txn(self, *args: Any, **options: Any) -> TxnResult:
            if self.leases_taken == 2 and not successor.lease_id:
                await successor.__aenter__()
            return await super().txn(*args, **options)

    async with Overtaken(etcd_server.endpoint) as overtaken, overtaken.register(BILLING, ttl=30) as registration:
        first = registration.lease_id
        await client.delete("services/billing/billing-1")

        async def has_another_lease() -> bool:
            await client.get("/elsewhere")
            return registration.lease_id not in (0, first)

        await until(has_another_lease)
        for _ in range(3):  # watches of the past get it all together, every now and then
            async with overtaken.watch("services/billing/billing-1", start_revision=before) as history:
                assert [event.type for event in await take(history, 3)] == ["put", "delete", "put"]
        assert await client.discover("billing") == [newer]
        assert overtaken.leases_taken == 2
        await successor.__aexit__(None, None, None)

        async def is_back() -> bool:
            return await client.discover("billing") == [BILLING]

        await until(is_back)


async def test_what_was_put_by_hand_is_replaced_when_registering_anew(client: Client) -> None:
    async with client.register(BILLING, ttl=3) as registration:
        first = registration.lease_id
        await client.put("services/billing/billing-1", "by hand, and on no lease")
        await client.leases.revoke(first)

        async def is_back() -> bool:
            return await client.discover("billing") == [BILLING]

        await until(is_back)
    assert await client.count(prefix="") == 0


async def test_a_slash_parts_services_from_a_namespace_without_one(client: Client) -> None:
    within_x = client.namespaced("/apps/x")
    async with within_x.watch_service("billing") as changes, within_x.register(BILLING):
        assert await take(changes, 1) == [ServiceChange("added", BILLING)]
        assert await within_x.discover("billing") == [BILLING]
        assert await client.keys() == [b"/apps/x/services/billing/billing-1"]


@pytest.mark.parametrize("metadata", ["zone", {"zone": 1}, [("zone", "a")]])
async def test_what_is_no_metadata_is_refused_before_anything_is_read(metadata: Any) -> None:
    client = Client("localhost:1")
    with pytest.raises(TypeError, match="metadata must map str to str"):
        await client.discover("billing", metadata=metadata)
    with pytest.raises(TypeError, match="metadata must map str to str"):
        client.resolver("billing", metadata=metadata)
    with pytest.raises(TypeError, match="metadata must map str to str"):
        client.register(Service("billing", "1", "h:1", metadata))
