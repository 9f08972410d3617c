"""Encryption on a real etcd: what lies there, and what comes back."""

import asyncio
import itertools
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest

import etcd_async
from etcd_async import (
    Client,
    DeadlineExceeded,
    DecryptionFailed,
    EtcdError,
    KeyValue,
    Reencrypted,
    TxnResult,
    UnreadableKeyValue,
    get,
    mod_revision,
    put,
    txn,
)
from etcd_async.crypto import Encryption, Keyring
from etcd_async.kv import KV
from etcd_async.recipes import reencryption
from etcd_async.testing import EtcdServer
from tests.support.live import take, turns, within


@pytest.fixture
def ring() -> Keyring:
    return Keyring.generate()


@pytest.fixture
async def secret(client: Client, etcd_server: EtcdServer, ring: Keyring) -> AsyncIterator[Client]:
    """A client that encrypts what lies under /s/, on the same server as the plain *client*."""
    async with Client(etcd_server.endpoint, encryption=Encryption(ring, prefixes=("/s/",))) as secret:
        yield secret


async def raw_value(client: Client, key: str) -> bytes:
    found = await client.get(key)
    assert found is not None
    return found.value


async def test_values_lie_sealed_and_come_back_open(client: Client, secret: Client) -> None:
    await secret.put("/s/a", "värld")
    raw = await raw_value(client, "/s/a")
    assert raw.startswith(b"\xffEAE\x01")
    assert "värld".encode() not in raw
    found = await secret.get("/s/a")
    assert found is not None
    assert found.text() == "värld"


async def test_keys_outside_of_the_prefixes_stay_plain(client: Client, secret: Client) -> None:
    await secret.put("/public", "v")
    assert await raw_value(client, "/public") == b"v"


async def test_every_way_to_read_and_write(client: Client, secret: Client) -> None:
    await secret.put_many({"/s/a": "1", "/s/b": "2"})
    assert [kv.value for kv in await secret.range(prefix="/s/")] == [b"1", b"2"]
    assert [kv.value async for kv in secret.scan(prefix="/s/", page_size=1)] == [b"1", b"2"]
    assert await secret.keys(prefix="/s/") == [b"/s/a", b"/s/b"]
    assert (await secret.put("/s/a", "3", prev_kv=True)).prev_kv.value == b"1"  # type: ignore[union-attr]
    result = await secret.txn(
        [etcd_async.version("/s/a") == 2],
        [put("/s/c", "4", prev_kv=True), get("/s/a"), txn(then=[get("/s/b"), put("/s/d", "5")])],
    )
    _, a, nested = result.results
    assert a.value == b"3"  # type: ignore[union-attr]
    assert nested.results[0].value == b"2"  # type: ignore[union-attr]
    assert await raw_value(client, "/s/d") != b"5"
    assert (await secret.delete(prefix="/s/c", prev_kv=True)).prev_kvs[0].value == b"4"
    assert await secret.put_if_absent("/s/e", "6")
    assert not await secret.put_if_absent("/s/e", "7")
    assert [kv.value for kv in await secret.range(prefix="/s/")] == [b"3", b"2", b"5", b"6"]


async def test_compare_and_swap_compares_what_was_meant(secret: Client) -> None:
    assert await secret.compare_and_swap("/s/n", None, "1")
    assert not await secret.compare_and_swap("/s/n", "0", "2")
    assert await secret.compare_and_swap("/s/n", "1", "2")
    found = await secret.get("/s/n")
    assert found is not None
    assert found.value == b"2"
    assert await secret.replace("/s/n", "3", mod_revision=found.mod_revision)
    assert not await secret.replace("/s/n", "4", mod_revision=found.mod_revision)


async def test_compare_and_swap_loses_no_increment(secret: Client) -> None:
    await secret.put("/s/n", "0")

    async def increment() -> None:
        while True:
            found = await secret.get("/s/n")
            assert found is not None
            if await secret.compare_and_swap("/s/n", found.value, str(int(found.value) + 1)):
                return

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(increment())
    found = await secret.get("/s/n")
    assert found is not None
    assert (found.value, found.version) == (b"20", 21)


async def test_move_seals_the_value_for_its_new_name(client: Client, secret: Client) -> None:
    await secret.put("/s/old", "v")
    await secret.move("/s/old", "/s/new")
    moved = await secret.get("/s/new")
    assert moved is not None
    assert moved.value == b"v"
    await secret.move("/s/new", "/public")
    assert await raw_value(client, "/public") == b"v"


async def test_two_values_that_were_swapped_are_detected(client: Client, secret: Client) -> None:
    await secret.put_many({"/s/a": "1", "/s/b": "2", "/s/c": "3"})
    a, b = await raw_value(client, "/s/a"), await raw_value(client, "/s/b")
    await client.put_many({"/s/a": b, "/s/b": a})
    for key in ("/s/a", "/s/b"):
        with pytest.raises(DecryptionFailed, match="another key's name") as caught:
            await secret.get(key)
        assert caught.value.key == key.encode()
    listing = await secret.range(prefix="/s/")
    assert [isinstance(kv, UnreadableKeyValue) for kv in listing] == [True, True, False]
    assert listing[2].value == b"3"
    scanned = [kv async for kv in secret.scan(prefix="/s/")]
    assert scanned == list(listing)


async def test_a_watch_delivers_values_open_and_goes_on_after_one_that_is_not(client: Client, secret: Client) -> None:
    async with secret.watch(prefix="/s/", prev_kv=True) as watch:
        await secret.put("/s/a", "1")
        await client.put("/s/a", "forged")
        await secret.put("/s/a", "2")
        await secret.delete("/s/a")
        first, forged, second, gone = await take(watch, 4)
    assert first.kv.value == b"1"
    assert isinstance(forged.kv, UnreadableKeyValue)
    assert forged.prev_kv is not None
    assert forged.prev_kv.value == b"1"
    assert second.kv.value == b"2"
    assert isinstance(second.prev_kv, UnreadableKeyValue)
    assert gone.kv.value == b""
    assert gone.prev_kv is not None
    assert gone.prev_kv.value == b"2"


async def test_the_namespace_is_part_of_the_name(client: Client, etcd_server: EtcdServer, ring: Keyring) -> None:
    async with Client(etcd_server.endpoint, namespace="/x", encryption=Encryption(ring, prefixes=("/x/s/",))) as inner:
        await inner.put("/s/a", "v")
        found = await inner.namespaced("/s").get("/a")
        assert found is not None
        assert found.value == b"v"
        await client.put("/x/s/b", await raw_value(client, "/x/s/a"))
        with pytest.raises(DecryptionFailed, match="'/x/s/b'"):
            await inner.get("/s/b")


async def test_what_the_server_can_not_do_is_refused_before_it_is_asked(secret: Client) -> None:
    with pytest.raises(ValueError, match="compare_and_swap"):
        await secret.txn([etcd_async.value("/s/a") == "1"])
    with pytest.raises(ValueError, match="sort it here"):
        await secret.range(prefix="/s/", sort_by="value")


async def test_locks_elections_and_services_work_encrypted(etcd_server: EtcdServer, client: Client) -> None:
    async with Client(etcd_server.endpoint, encryption=Encryption(Keyring.generate())) as all_secret:
        async with all_secret.lock("l") as lock:
            result = await all_secret.txn([lock.owned], [put("/done", "1")])
            assert result.succeeded
        async with all_secret.election("e", identity="me").campaign():
            assert await all_secret.election("e").leader() == b"me"
        service = etcd_async.Service("web", "1", "127.0.0.1:80")
        async with all_secret.register(service):
            assert await all_secret.discover("web") == [service]
            await client.put("services/web/2", "forged")
            assert await all_secret.discover("web") == [service]


async def test_big_values_leave_the_loop_alone(secret: Client) -> None:
    value = bytes(1_400_000)
    callers = set()
    seal, opened = secret._space.cipher.seal, secret._space.cipher.open  # type: ignore[union-attr]

    class Spy:
        covers = staticmethod(secret._space.cipher.covers)  # type: ignore[union-attr]
        covers_any = staticmethod(secret._space.cipher.covers_any)  # type: ignore[union-attr]

        def seal(self, name: bytes, value: bytes) -> bytes:
            callers.add(threading.current_thread())
            return seal(name, value)

        def open(self, name: bytes, data: bytes) -> bytes:
            callers.add(threading.current_thread())
            return opened(name, data)

    secret._space.cipher = Spy()  # type: ignore[assignment]
    async with secret.watch(prefix="/s/") as watch:
        await secret.put("/s/big", value)
        found = await secret.get("/s/big")
        [event] = await take(watch, 1)
        [scanned] = [kv async for kv in secret.scan(prefix="/s/")]
    assert found == event.kv == scanned
    assert found is not None
    assert found.value == value
    assert callers
    assert threading.main_thread() not in callers


async def test_a_watch_cancelled_while_it_opens_a_batch_loses_nothing(secret: Client) -> None:
    async with asyncio.timeout(30), secret.watch(prefix="/s/") as watch:
        for number in range(3):
            await secret.put("/s/big", bytes(1_000_000) + bytes([number]))
        seen: list[int] = []
        later = 0
        while len(seen) < 3:
            task = asyncio.create_task(watch.next_batch())
            await turns(later)
            later += 1
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                seen += [event.kv.value[-1] for event in task.result().events]
                later = 0
    assert seen == [0, 1, 2]


@pytest.mark.parametrize("prefix", ["", "/apps/", "/apps/x/", "/apps/x/secrets/"])
def test_prefixes_are_those_of_full_names(ring: Keyring, prefix: str) -> None:
    client = Client("localhost:1", namespace="/apps/x/", encryption=Encryption(ring, prefixes=("/other/", prefix)))
    assert client.endpoints == ("localhost:1",)


@pytest.mark.parametrize("prefix", ["/secrets/", "/apps/y/", "/apps/x0", "/apps/w"])
def test_encryption_that_covers_nothing_of_the_namespace_is_refused(ring: Keyring, prefix: str) -> None:
    with pytest.raises(ValueError, match="full names"):
        Client("localhost:1", namespace="/apps/x/", encryption=Encryption(ring, prefixes=(prefix,)))


async def test_rotation(client: Client, secret: Client, ring: Keyring) -> None:
    for start in range(0, 300, 100):
        await secret.put_many({f"/s/{number:03}": f"v{number}" for number in range(start, start + 100)})
    await client.put_many({"/s/forged": "plain", "/public": "plain"})
    lease = await client.leases.grant(60)
    await secret.put("/s/leased", "v", lease=lease.id)
    old = ring.primary
    ring.set_primary(ring.add_key())
    told: list[Reencrypted] = []
    done = await secret.reencrypt(progress=told.append)
    assert (done.examined, done.rewritten, done.unreadable) == (302, 301, (b"/s/forged",))
    assert [each.examined for each in told[:3]] == [32, 64, 96]
    assert told[0].last_key == b"/s/031"
    ring.remove(old)
    for number in range(300):
        found = await secret.get(f"/s/{number:03}")
        assert found is not None
        assert found.text() == f"v{number}"
    leased = await secret.get("/s/leased")
    assert leased is not None
    assert leased.lease == lease.id
    assert await raw_value(client, "/public") == b"plain"
    assert (await secret.reencrypt("/s/0")).rewritten == 0
    with pytest.raises(DeadlineExceeded):
        await secret.reencrypt(timeout=0)


async def test_rotation_goes_on_where_it_was_interrupted(secret: Client, ring: Keyring) -> None:
    await secret.put_many({f"/s/{number:02}": "v" for number in range(100)})
    ring.set_primary(ring.add_key())
    told: list[Reencrypted] = []

    def stop(progress: Reencrypted) -> None:
        told.append(progress)
        raise KeyError("enough")

    with pytest.raises(KeyError):
        await secret.reencrypt(prefix="/s/", progress=stop)
    [first] = told
    assert (first.rewritten, first.last_key) == (32, b"/s/31")
    assert first.last_key is not None
    done = await secret.reencrypt(prefix="/s/", after=first.last_key)
    assert done.rewritten == 68


async def test_plain_values_from_before_can_be_migrated(client: Client, etcd_server: EtcdServer, ring: Keyring) -> None:
    await client.put_many({"/s/a": "1", "/s/b": ""})
    async with Client(etcd_server.endpoint, encryption=Encryption(ring, allow_plaintext=True)) as migrating:
        found = await migrating.get("/s/a")
        assert found is not None
        assert found.value == b"1"
        assert (await migrating.reencrypt(prefix="/s/")).rewritten == 2
    assert (await raw_value(client, "/s/a")).startswith(b"\xffEAE")
    async with Client(etcd_server.endpoint, encryption=Encryption(ring)) as strict:
        assert [kv.value for kv in await strict.range(prefix="/s/")] == [b"1", b""]


@pytest.mark.judged
async def test_two_rotations_at_once_while_fifty_tasks_write(
    client: Client, secret: Client, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every value stays readable, no write is lost, and none is left under an old key."""
    monkeypatch.setattr(reencryption, "_MOST_PASSES", 100)  # each change of the primary key may take two
    keys = [f"/s/{number:02}" for number in range(50)]
    await secret.put_many(dict.fromkeys(keys, "0"))
    old = ring.primary
    rotating = True
    written = dict.fromkeys(keys, 0)

    async def write(key: str) -> None:
        while rotating:
            await secret.put(key, str(written[key] + 1))
            written[key] += 1
            found = await secret.get(key)
            assert found is not None
            assert found.text() == str(written[key])

    async def rotate() -> None:
        nonlocal rotating
        try:
            for _ in range(3):
                await asyncio.to_thread(lambda: ring.set_primary(ring.add_key()))
                await secret.reencrypt(prefix="/s/")
        finally:
            rotating = False

    async with asyncio.TaskGroup() as group:
        for key in keys:
            group.create_task(write(key))
        group.create_task(rotate())
        group.create_task(rotate())
    await secret.reencrypt(prefix="/s/")
    for id in set(ring.ids) - {ring.primary}:
        ring.remove(id)
    assert old not in ring.ids
    found = {kv.key.decode(): int(kv.value) for kv in await secret.range(prefix="/s/")}
    assert found == written
    assert min(written.values()) > 0


async def test_reencrypt_needs_encryption(client: Client) -> None:
    with pytest.raises(RuntimeError, match="pass encryption="):
        await client.reencrypt()
    with pytest.raises(TypeError, match="encryption must be an Encryption, not Keyring"):
        Client(encryption=Keyring.generate())  # type: ignore[arg-type]


async def test_a_write_that_another_made_first_is_kept_by_the_rotation(secret: Client, ring: Keyring) -> None:
    await secret.put("/s/a", "1")
    before = await secret.get("/s/a")
    assert before is not None
    ring.set_primary(ring.add_key())
    result = await secret.txn([mod_revision("/s/a") == before.mod_revision], [put("/s/a", "2")])
    assert result.succeeded
    assert (await secret.reencrypt()).rewritten == 0


@pytest.mark.parametrize("passes", [2, None])
async def test_a_rotation_waits_for_others_to_follow_but_not_for_ever(
    etcd_server: EtcdServer, ring: Keyring, monkeypatch: pytest.MonkeyPatch, passes: int | None
) -> None:
    """Before each of the first *passes*, or before every one, somebody writes with the old key."""
    whole, begun = KV.scan, itertools.count()
    behind = Keyring.from_json(ring.to_json())
    ring.set_primary(ring.add_key())
    async with (
        Client(etcd_server.endpoint, encryption=Encryption(behind)) as old,
        Client(etcd_server.endpoint, encryption=Encryption(ring)) as new,
    ):

        async def scan(self: KV, **options: Any) -> AsyncGenerator[KeyValue, None]:
            if passes is None or next(begun) < passes:
                await old.put("/s/a", "v")
            async for kv in whole(self, **options):
                yield kv

        monkeypatch.setattr(KV, "scan", scan)
        if passes is None:
            with pytest.raises(EtcdError, match="b'/s/a' was not under the primary key in the last of 8 passes"):
                await within(new.reencrypt(prefix="/s/"))
        else:
            assert (await within(new.reencrypt(prefix="/s/"))).rewritten == passes


async def test_a_rotation_does_not_fight_for_a_key_for_ever(
    etcd_server: EtcdServer, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = KV.txn
    behind = Keyring.from_json(ring.to_json())
    ring.set_primary(ring.add_key())
    async with (
        Client(etcd_server.endpoint, encryption=Encryption(behind)) as old,
        Client(etcd_server.endpoint, encryption=Encryption(ring)) as new,
    ):
        await old.put("/s/a", "v")

        async def txn(self: KV, *arguments: Any, **options: Any) -> TxnResult:
            await old.put("/s/a", "v")
            return await whole(self, *arguments, **options)

        monkeypatch.setattr(KV, "txn", txn)
        with pytest.raises(EtcdError, match="somebody goes on sealing with another key"):
            await within(new.reencrypt(prefix="/s/"))


async def test_a_rotation_that_goes_on_looks_at_the_keys_before_once_more(secret: Client, ring: Keyring) -> None:
    """Somebody may have written there with the old key while the rotation was interrupted."""
    await secret.put_many({"/s/a": "1", "/s/b": "2"})
    ring.set_primary(ring.add_key())
    assert (await secret.reencrypt(after="/s/b")).rewritten == 2
