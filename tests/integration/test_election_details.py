"""Elections beyond one process's term: restarts, observers that fall behind, words under contention."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from etcd_async import Client, Election, LeadershipLost, LeaseNotFound, Ticket, put
from etcd_async.crypto import Encryption, Keyring
from etcd_async.testing import EtcdServer, FaultProxy
from etcd_async.wire import LeaderRequest
from tests.integration.support import TERM, until_expired, until_keys, wipe
from tests.support.live import forever, running, take, within

MIB = 1024 * 1024


@pytest.fixture
async def restarted(etcd_server: EtcdServer) -> AsyncIterator[Client]:
    """The client of a process that was started anew."""
    async with Client(etcd_server.endpoint) as client:
        yield client


async def suspended(client: Client, name: str, identity: str, ttl: float = 30) -> Ticket:
    """Win the election and leave it standing."""
    async with client.election(name, identity=identity, ttl=ttl).campaign() as leadership:
        return await leadership.suspend()


async def test_a_suspended_leader_goes_on_with_the_same_token_and_word(client: Client, restarted: Client) -> None:
    async with client.election("e", identity="one", ttl=30).campaign() as leadership:
        await leadership.proclaim("one again")
        token, stored = leadership.fencing_token, leadership.ticket.to_json()
        assert await leadership.suspend() == Ticket.from_json(stored)
    election = restarted.election("e")
    assert await election.leader() == b"one again"
    async with asyncio.timeout(10), election.resume(Ticket.from_json(stored)) as resumed:
        assert resumed.fencing_token == token
        assert await election.leader() == b"one again"
        await resumed.proclaim("still one")
        assert (await restarted.txn([resumed.owned], [put("/report", "v")])).succeeded
        answer = await client.rpc("/v3electionpb.Election/Leader", LeaderRequest(name=b"e"))
        assert (answer.kv.key, answer.kv.value) == (resumed.key, b"still one")
    assert await election.leader() is None
    assert await client.leases.list() == []


async def test_a_resumed_leader_is_kept_far_beyond_its_term(client: Client, restarted: Client) -> None:
    ticket = await suspended(client, "e", "one", ttl=TERM)
    async with restarted.election("e").resume(ticket) as resumed:
        await until_expired(restarted, TERM + 2)
        assert not resumed.is_lost
        assert await client.election("e").leader() == b"one"


async def test_nobody_leads_between_suspending_and_resuming(client: Client, restarted: Client) -> None:
    async def stand() -> None:
        async with client.election("e", identity="two", ttl=30).campaign():
            leading.set()
            await forever()

    leading = asyncio.Event()
    async with client.election("e", identity="one", ttl=30).campaign() as leadership, running(stand()):
        await until_keys(client, "e/", 2)
        ticket = await leadership.suspend()
        assert not leadership.is_lost
        async with restarted.election("e").resume(ticket):
            assert await client.election("e").leader() == b"one"
            assert not leading.is_set()
        await within(leading.wait())


async def test_a_suspended_leader_says_nothing_more(client: Client, restarted: Client) -> None:
    async with client.election("e", identity="first", ttl=30).campaign() as leadership:
        ticket = await leadership.suspend()
        async with restarted.election("e").resume(ticket) as resumed:
            await resumed.proclaim("resumed")
            with pytest.raises(LeadershipLost, match="over"):
                await leadership.proclaim("suspended")
            assert await client.election("e").leader() == b"resumed"


async def test_a_suspended_place_runs_out_by_itself(client: Client) -> None:
    ticket = await suspended(client, "e", "one", ttl=3)
    async with asyncio.timeout(15), client.election("e", identity="two", ttl=30).campaign():
        assert await client.election("e").leader() == b"two"
        with pytest.raises(LeadershipLost, match="lease has ended"):
            async with client.election("e").resume(ticket):
                pytest.fail("resumed what has run out")
        assert await client.election("e").leader() == b"two"
    assert await client.leases.list() == []


async def test_a_place_whose_key_was_deleted_can_not_be_resumed(client: Client) -> None:
    ticket = await suspended(client, "e", "one")
    await client.delete(ticket.key)
    with pytest.raises(LeadershipLost, match="deleted"):
        async with client.election("e").resume(ticket):
            pytest.fail("resumed what was deleted")
    assert await client.leases.list() == []


async def test_a_place_whose_key_was_made_anew_can_not_be_resumed(client: Client) -> None:
    ticket = await suspended(client, "e", "one")
    await client.delete(ticket.key)
    await client.put(ticket.key, "one", lease=ticket.lease)
    with pytest.raises(LeadershipLost, match="deleted"):
        async with client.election("e").resume(ticket, timeout=0):
            pytest.fail("resumed what another made")


async def test_a_candidate_that_waited_goes_on_waiting_in_its_place(client: Client, restarted: Client) -> None:
    order: list[str] = []

    async def stand(name: str) -> None:
        async with client.election("e", identity=name, ttl=30).campaign():
            order.append(name)

    async def resume(ticket: Ticket) -> None:
        async with restarted.election("e").resume(ticket):
            order.append("resumed")

    first = client.election("e", identity="first", ttl=30)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group, first.campaign():
        lease = await client.leases.grant(30)
        key = f"e/{lease.id:x}".encode()
        placed = await client.put(key, "waits", lease=lease.id)  # of a process that was killed while it waited
        group.create_task(stand("last"))
        await until_keys(client, "e/", 3)
        group.create_task(resume(Ticket(key, lease.id, placed.revision)))
        await client.get("/anything")
        assert order == []
    assert order == ["resumed", "last"]


async def test_a_resumed_leadership_is_lost_like_any_other(client: Client, restarted: Client) -> None:
    async def lead(ticket: Ticket) -> None:
        async with asyncio.timeout(10), restarted.election("e").resume(ticket):
            await client.leases.revoke(ticket.lease)
            await forever()

    ticket = await suspended(client, "e", "one")
    with pytest.raises(LeadershipLost):
        await lead(ticket)


async def test_a_resumed_leader_that_is_cut_off_stops_in_its_term(client: Client, etcd_server: EtcdServer) -> None:
    """What it can't hear from the server, that its key is gone, its lease's own term tells."""
    ticket = await suspended(client, "e", "one", ttl=TERM)
    async with FaultProxy(etcd_server.endpoint) as proxy, Client(proxy.endpoint) as behind:

        async def lead() -> None:
            async with behind.election("e").resume(ticket):
                proxy.blackhole()
                await forever()

        with pytest.raises(LeadershipLost, match="its lease was lost"):
            await within(lead(), 15)


async def test_what_is_over_can_not_be_suspended(client: Client) -> None:
    async with client.election("e", ttl=30).campaign() as leadership:
        await leadership.suspend()
        with pytest.raises(RuntimeError, match="over"):
            await leadership.suspend()
    await wipe(client)
    async with client.election("e", ttl=30).campaign(on_loss="signal") as leadership:
        await client.delete(leadership.key)
        await within(leadership.lost())
        with pytest.raises(LeadershipLost):
            await leadership.suspend()
    assert await client.leases.list() == []


async def test_tickets_of_other_elections_and_other_texts_are_refused(client: Client) -> None:
    ticket = await suspended(client, "e", "one")
    with pytest.raises(ValueError, match="not of the election"):
        client.election("other").resume(ticket)
    for text in ("", "7", "{}", '{"key": "6", "lease": 1, "revision": 1}', '{"key": "65", "lease": 0, "revision": 1}'):
        with pytest.raises(ValueError, match="not a ticket"):
            Ticket.from_json(text)


async def test_a_leader_resumes_encrypted_and_in_a_namespace(etcd_server: EtcdServer, client: Client) -> None:
    encryption = Encryption(Keyring.generate())
    async with Client(etcd_server.endpoint, namespace="/ns/", encryption=encryption) as secret:
        ticket = await suspended(secret, "e", "one")
        async with secret.election("e").resume(ticket):
            assert await secret.election("e").leader() == b"one"
    assert await client.count(prefix="") == 0


async def test_a_lease_that_is_there_can_be_kept(client: Client, restarted: Client) -> None:
    granted = await client.leases.grant(TERM)
    await client.put("/ephemeral", "v", lease=granted.id)
    async with restarted.keep_lease(granted.id) as lease:
        assert (lease.id, lease.ttl) == (granted.id, TERM)
        await until_expired(client, TERM + 2)
        assert await client.exists("/ephemeral")
        lease.leave_standing()
    assert await client.exists("/ephemeral")
    async with restarted.keep_lease(granted):
        pass
    assert not await client.exists("/ephemeral")
    with pytest.raises(LeaseNotFound):
        await restarted.keep_lease(granted).__aenter__()
    with pytest.raises(ValueError, match="id"):
        restarted.keep_lease(0)


async def test_standing_without_waiting_wins_only_if_nobody_else_stands(client: Client) -> None:
    async with client.election("e", identity="one", ttl=30).campaign(timeout=0):
        with pytest.raises(TimeoutError):
            async with client.election("e", identity="two", ttl=30).campaign(timeout=0):
                pytest.fail("leads although another does")
        assert await client.count(prefix="e/") == 1
    assert await client.leases.list() == []


async def test_the_leaders_key_tells_token_word_and_when_it_was_said(client: Client) -> None:
    election = client.election("e", identity="one", ttl=30)
    assert await election.leading() is None
    async with election.campaign() as leadership:
        leading = await election.leading()
        assert leading is not None
        assert (leading.key, leading.value) == (leadership.key, b"one")
        assert leading.create_revision == leading.mod_revision == leadership.fencing_token
        assert leading.lease == leadership.ticket.lease
        await leadership.proclaim("two")
        said = await election.leading()
        assert said is not None
        assert said.value == b"two"
        assert said.mod_revision > said.create_revision == leadership.fencing_token


async def test_an_observer_sees_the_last_word_although_what_came_before_was_compacted(client: Client) -> None:
    election = client.election("e", identity="one", ttl=30)
    observer = election.observe()
    async with election.campaign() as leadership, client.watch("/all/said") as watch:
        assert await take(observer, 1) == [b"one"]
        for number in range(30):  # more than a watch holds for an observer that does not look
            await leadership.proclaim(f"{number}".zfill(MIB))
        await client.put("/all/said", "")
        await take(watch, 1)  # on the same stream, so that all it holds has come
        leading = await election.leading()
        assert leading is not None
        await client.compact(leading.mod_revision)
        heard = [int((await within(anext(observer)))[-2:])]
        while heard[-1] != 29:
            heard.append(int((await within(anext(observer)))[-2:]))
        assert len(heard) < 30
        assert heard == sorted(set(heard))
    async with client.election("e", identity="two", ttl=30).campaign():
        assert await take(observer, 1) == [b"two"]
    await observer.aclose()


async def test_only_leaders_are_heard_while_many_stand_and_proclaim(client: Client) -> None:
    async def stand(number: int) -> None:
        for _ in range(3):
            async with client.election("e", identity=f"{number}", ttl=30).campaign() as leadership:
                for word in range(3):
                    await leadership.proclaim(f"{number}:{word}:{leadership.fencing_token}")
            with pytest.raises(LeadershipLost):  # its key is gone: nothing is said
                await leadership.proclaim("late")

    start = (await client.put("/start", "")).revision
    await within(asyncio.gather(*(stand(number) for number in range(8))), 30)
    assert await client.leases.list() == []
    standing: dict[bytes, int] = {}
    end = (await client.put("/end", "")).revision
    async with client.watch(prefix="", start_revision=start) as watch:
        async for event in watch:
            if event.revision == end:
                break
            if event.kv.key.startswith(b"e/") and event.type == "put":
                standing.setdefault(event.kv.key, event.kv.create_revision)
                first = min(standing.values())
                assert event.is_create or event.kv.create_revision == first
                assert event.kv.value != b"late"
            else:
                standing.pop(event.kv.key, None)
    assert not standing


async def test_observers_agree_on_the_order_of_leaders(client: Client, restarted: Client) -> None:
    async def observe(observer: Election) -> None:
        async with aclosing(observer.observe()) as words:
            async for word in words:
                heard[observer].append(word)
                if word == b"end":
                    return

    chooser = random.Random(7)
    heard: dict[Election, list[bytes]] = {each.election("e"): [] for each in (client, restarted)}
    observers = [asyncio.create_task(observe(each)) for each in heard]
    words = [*(str(chooser.random()) for _ in range(20)), "end"]
    for word in words:
        async with client.election("e", identity=word, ttl=30).campaign():
            pass
        if word != "end":
            continue
        async with client.election("e", identity="end", ttl=30).campaign():
            await within(asyncio.gather(*observers))
    for each in heard.values():
        places = [words.index(word.decode()) for word in each]
        assert places == sorted(places)
