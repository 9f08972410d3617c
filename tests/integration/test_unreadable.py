"""One value that can't be opened: an error where it is asked for, and no harm to anything beside it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from etcd_async import Client, DecryptionFailed, Service, UnreadableKeyValue, delete, get, ops, put, txn
from etcd_async.crypto import Encryption, Keyring
from etcd_async.testing import EtcdServer
from tests.support.live import take, within


@pytest.fixture
async def secret(etcd_server: EtcdServer, client: Client) -> AsyncIterator[Client]:
    """A client that encrypts everything, and ``/s/bad`` with a value that it can't open."""
    async with Client(etcd_server.endpoint, encryption=Encryption(Keyring.generate())) as secret:
        await secret.put("/s/good", "v")
        await client.put("/s/bad", "forged")
        yield secret


async def test_who_asks_for_it_is_told(secret: Client) -> None:
    for asking in (
        secret.get("/s/bad"),
        secret.move("/s/bad", "/s/new"),
        secret.compare_and_swap("/s/bad", "forged", "x"),
    ):
        with pytest.raises(DecryptionFailed, match="/s/bad"):
            await asking
    assert not await secret.exists("/s/new")
    kv = await secret.get("/s/bad", keys_only=True)
    assert kv is not None
    assert kv.value == b""


async def test_listings_and_scans_hold_it_in_its_place(secret: Client) -> None:
    bad, good = await secret.range(prefix="/s/")
    assert isinstance(bad, UnreadableKeyValue)
    assert good.value == b"v"
    assert [kv async for kv in secret.scan(prefix="/s/", page_size=1)] == [bad, good]
    assert await secret.keys(prefix="/s/") == [b"/s/bad", b"/s/good"]
    assert await secret.count(prefix="/s/") == 2


async def test_writes_tell_of_it_as_what_was_there_before(client: Client, secret: Client) -> None:
    replaced = await secret.put("/s/bad", "readable", prev_kv=True)
    assert isinstance(replaced.prev_kv, UnreadableKeyValue)
    kv = await secret.get("/s/bad")
    assert kv is not None
    assert kv.value == b"readable"
    await client.put("/s/bad", "forged")
    deleted = await secret.delete(prefix="/s/", prev_kv=True)
    assert [isinstance(kv, UnreadableKeyValue) for kv in deleted.prev_kvs] == [True, False]


async def test_transactions_hold_it_wherever_it_is(secret: Client) -> None:
    inner = txn(then=[get("/s/bad"), ops.range(prefix="/s/"), get("/s/good")])
    outer = await secret.txn(then=[inner, put("/s/bad", "x", prev_kv=True), delete("/s/good", prev_kv=True)])
    nested, replaced, deleted = (result for result in outer.results)
    assert isinstance(nested, type(outer))
    assert isinstance(nested.results[0], UnreadableKeyValue)
    listing: Any = nested.results[1]
    assert isinstance(listing[0], UnreadableKeyValue)
    found: Any = nested.results[2]
    assert found.value == b"v"
    assert isinstance(getattr(replaced, "prev_kv", None), UnreadableKeyValue)
    assert next(iter(getattr(deleted, "prev_kvs", ()))).value == b"v"


async def test_watches_and_caches_go_on(client: Client, secret: Client) -> None:
    async with secret.watch(prefix="/s/", prev_kv=True) as watch, secret.cache(prefix="/s/") as cache:
        assert isinstance(cache["/s/bad"], UnreadableKeyValue)
        assert cache["/s/good"].value == b"v"
        await client.put("/s/worse", "forged")
        await client.delete("/s/bad")
        last = await secret.put("/s/good", "w")
        worse, gone, good = await take(watch, 3)
        assert isinstance(worse.kv, UnreadableKeyValue)
        assert gone.type == "delete"
        assert isinstance(gone.prev_kv, UnreadableKeyValue)
        assert not isinstance(gone.kv, UnreadableKeyValue)
        assert good.kv.value == b"w"
        assert good.prev_kv is not None
        assert good.prev_kv.value == b"v"
        await within(cache.wait_for(last.revision))
        assert list(cache) == [b"/s/good", b"/s/worse"]
        assert isinstance(cache.values()[1], UnreadableKeyValue)


async def test_a_forged_instance_is_no_instance(client: Client, secret: Client) -> None:
    async with secret.register(Service("billing", "1", "h:1")) as registration:
        await client.put("services/billing/2", '{"name": "billing", "id": "2", "address": "evil:1", "metadata": {}}')
        assert await secret.discover("billing") == [registration.service]
        async with secret.resolver("billing") as resolver:
            assert {resolver.pick().address for _ in range(4)} == {"h:1"}


async def test_replacing_needs_no_reading(secret: Client) -> None:
    listed = (await secret.range(prefix="/s/bad"))[0]
    assert await secret.replace("/s/bad", "new", mod_revision=listed.mod_revision)
    kv = await secret.get("/s/bad")
    assert kv is not None
    assert kv.value == b"new"


async def test_what_is_no_value_is_refused_before_anything_is_read(secret: Client) -> None:
    with pytest.raises(TypeError, match="must be str or bytes, not int"):
        await secret.compare_and_swap("/s/bad", "x", 5)  # type: ignore[arg-type]


async def test_reencryption_goes_on_from_a_key_of_its_prefix_only(client: Client, secret: Client) -> None:
    with pytest.raises(ValueError, match="after must be a key of the prefix b'/t/', not b'/s/a'"):
        await secret.reencrypt(prefix="/t/", after="/s/a")
    done = await secret.reencrypt(prefix="/s/")
    assert done.unreadable == (b"/s/bad",)
    assert done.examined == 2
