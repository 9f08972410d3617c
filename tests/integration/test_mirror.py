"""A prefix copied to another cluster: equal in the end whatever happened, and resumable."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from etcd_async import (
    Client,
    DeadlineExceeded,
    DecryptionFailed,
    EtcdError,
    PermissionDenied,
    RangeResult,
    StatusCode,
    TransportOptions,
    TxnResult,
)
from etcd_async.crypto import Encryption, Keyring
from etcd_async.options import Backoff
from etcd_async.recipes import _patience
from etcd_async.testing import EtcdServer, FaultProxy
from tests.support.live import within


@pytest.fixture
async def other(etcd_server: EtcdServer) -> AsyncIterator[Client]:
    """A second client; the mirrors of these tests copy within one cluster unless they need two."""
    async with Client(etcd_server.endpoint) as other:
        yield other


async def copy_of(client: Client, prefix: str) -> dict[bytes, bytes]:
    return {kv.key.removeprefix(prefix.encode()): kv.value for kv in await client.range(prefix=prefix)}


async def test_it_copies_what_is_there_and_follows(client: Client, other: Client) -> None:
    await client.put_many({f"/a/{number:03}": str(number) for number in range(100)})
    await other.put_many({"/b/000": "0", "/b/001": "wrong", "/b/stray": "x", "/b/0005": "x", "/other": "kept"})
    async with client.mirror("/a/", other, "/b/") as mirror:
        await within(mirror.wait_for(1))
        assert await copy_of(client, "/b/") == await copy_of(client, "/a/")
        untouched = await client.get("/b/000")
        assert untouched is not None
        assert untouched.version == 1
        assert await client.exists("/other")
        await client.put("/a/new", "x")
        gone = await client.delete("/a/001")
        await within(mirror.wait_for(gone.revision))
        assert await copy_of(client, "/b/") == await copy_of(client, "/a/")
        assert mirror.revision >= gone.revision


async def test_one_revision_is_one_step(client: Client, other: Client) -> None:
    async with other.watch(prefix="/b/") as watch, client.mirror("/a/", other, "/b/") as mirror:
        await within(mirror.wait_for(1))
        put = await client.put_many({f"/a/{number}": "x" for number in range(50)})
        await within(mirror.wait_for(put.revision))
        batch = await within(anext(watch.batches()))
        assert len(batch.events) == 50


async def test_a_revision_that_does_not_fit_a_transaction_is_copied_whole(client: Client, other: Client) -> None:
    async with client.mirror("/a/", other, "/b/", checkpoint="/mirror") as mirror:
        await within(mirror.wait_for(1))
        put = await client.put_many({f"/a/{number:03}": "x" for number in range(128)})
        await within(mirror.wait_for(put.revision))
        big = await client.put_many({"/a/big1": bytes(700_000), "/a/big2": bytes(700_000)})
        await within(mirror.wait_for(big.revision))
        assert await copy_of(client, "/b/") == await copy_of(client, "/a/")


async def test_it_goes_on_where_it_stopped(client: Client, other: Client) -> None:
    await client.put_many({"/a/1": "x", "/a/2": "y"})
    async with client.mirror("/a/", other, "/b/", checkpoint="/mirror") as mirror:
        await within(mirror.wait_for(1))
    await client.put("/a/3", "z")
    gone = await client.delete("/a/1")
    await other.put("/b/stray", "a full comparison would delete it")
    async with client.mirror("/a/", other, "/b/", checkpoint="/mirror") as mirror:
        await within(mirror.wait_for(gone.revision))
    assert await copy_of(client, "/b/") == await copy_of(client, "/a/") | {
        b"stray": b"a full comparison would delete it"
    }


@pytest.mark.parametrize("keys", [1, 200], ids=["one transaction", "the first of several"])
async def test_a_step_that_seemed_lost_and_is_carried_out_late_does_nothing(
    client: Client, other: Client, monkeypatch: pytest.MonkeyPatch, keys: int
) -> None:
    whole, seemed_lost = other.txn, asyncio.Event()
    late: list[Any] = []

    async def txn(*arguments: Any, **options: Any) -> TxnResult:
        if not late and any(op.key == b"/b/000" for op in arguments[1]):
            late.extend(arguments)
            seemed_lost.set()
            raise DeadlineExceeded(maybe_applied=True)
        return await whole(*arguments, **options)

    monkeypatch.setattr(other, "txn", txn)
    async with client.mirror("/a/", other, "/b/", checkpoint="/mirror") as mirror:
        await within(mirror.wait_for(1))
        await client.put_many({f"/a/{number:03}": "old" for number in range(keys)}, atomic=False)
        await within(seemed_lost.wait())
        gone = await client.delete(prefix="/a/")
        await within(mirror.wait_for(gone.revision))
        assert not (await whole(*late)).succeeded
        assert await copy_of(client, "/b/") == {}


async def test_a_step_whose_answer_was_lost_is_known_as_its_own(
    client: Client, other: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_patience, "_BACKOFF", Backoff(initial=0.01, maximum=0.01))
    whole, steps = other.txn, itertools.count()

    async def txn(*arguments: Any, **options: Any) -> TxnResult:
        result = await whole(*arguments, **options)
        if result.succeeded and next(steps) % 2 == 0:
            raise DeadlineExceeded(maybe_applied=True)
        return result

    monkeypatch.setattr(other, "txn", txn)
    await client.put_many({f"/a/{number:03}": "x" for number in range(200)}, atomic=False)
    async with client.mirror("/a/", other, "/b/", checkpoint="/mirror") as mirror:
        for number in range(5):
            put = await client.put("/a/000", str(number))
            await within(mirror.wait_for(put.revision))
    assert await copy_of(client, "/b/") == await copy_of(client, "/a/")


async def test_of_two_mirrors_the_one_that_began_later_goes_on(client: Client, other: Client) -> None:
    async with client.mirror("/a/", other, "/b/", checkpoint="/mirror") as first:
        await within(first.wait_for(1))
        async with client.mirror("/a/", other, "/b/", checkpoint="/mirror") as second:
            await within(second.wait_for(1))
            put = await client.put("/a/1", "x")
            with pytest.raises(EtcdError, match="another mirror has taken the checkpoint b'/mirror'"):
                await within(first.wait())
            await within(second.wait_for(put.revision))
    assert await copy_of(client, "/b/") == {b"1": b"x"}


async def test_a_mirror_takes_the_checkpoint_of_one_that_is_at_work(
    client: Client, other: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one writes it between its being read and taken."""
    whole = other.range

    async def read(**options: Any) -> RangeResult:
        monkeypatch.setattr(other, "range", whole)
        found = await whole(**options)
        await client.put("/mirror", f"1 {'a' * 16}")
        return found

    monkeypatch.setattr(other, "range", read)
    put = await client.put("/a/1", "x")
    async with client.mirror("/a/", other, "/b/", checkpoint="/mirror") as mirror:
        await within(mirror.wait_for(put.revision))
    assert await copy_of(client, "/b/") == {b"1": b"x"}


async def test_history_that_is_gone_means_to_compare_everything(client: Client, other: Client) -> None:
    await client.put_many({"/a/1": "x", "/a/2": "y"})
    async with client.mirror("/a/", other, "/b/", checkpoint="/mirror") as mirror:
        await within(mirror.wait_for(1))
    await client.delete("/a/1")
    last = await client.put("/a/3", "z")
    await client.compact(last.revision)
    async with client.mirror("/a/", other, "/b/", checkpoint="/mirror") as mirror:
        await within(mirror.wait_for(last.revision))
    assert await copy_of(client, "/b/") == {b"2": b"y", b"3": b"z"}


@pytest.mark.parametrize("word", ["no number", "999999999", "9" * 5000])
async def test_a_checkpoint_of_something_else_is_not_followed(client: Client, other: Client, word: str) -> None:
    await client.put("/a/1", "x")
    await other.put_many({"/mirror": word, "/b/stray": "x"})
    async with client.mirror("/a/", other, "/b/", checkpoint="/mirror") as mirror:
        await within(mirror.wait_for(1))
    assert await copy_of(client, "/b/") == {b"1": b"x"}


async def test_a_target_that_is_away_is_waited_for(client: Client, etcd_server: EtcdServer) -> None:
    async with FaultProxy(etcd_server.endpoint) as proxy, Client(proxy.endpoint, timeout=0.5) as far:
        proxy.refuse()
        async with client.mirror("/a/", far, "/b/", checkpoint="/mirror") as mirror:
            with pytest.raises(DeadlineExceeded, match="not at revision 1 "):
                await mirror.wait_for(1, timeout=1)
            proxy.accept()
            await within(mirror.wait_for(1))
            proxy.refuse()
            proxy.cut()
            put = await client.put("/a/1", "x")
            with pytest.raises(DeadlineExceeded):
                await mirror.wait_for(put.revision, timeout=1)
            proxy.accept()
            await within(mirror.wait_for(put.revision))
        assert await copy_of(client, "/b/") == {b"1": b"x"}


@pytest.mark.judged
@pytest.mark.parametrize("checkpoint", [None, "/mirror"])
async def test_random_changes_and_cuts_on_both_sides_end_equal(
    client: Client, etcd_server: EtcdServer, monkeypatch: pytest.MonkeyPatch, checkpoint: str | None
) -> None:
    monkeypatch.setattr(_patience, "_BACKOFF", Backoff(initial=0.01, maximum=0.01))
    chance = random.Random(11)
    last = 1
    async with (
        FaultProxy(etcd_server.endpoint) as near,
        FaultProxy(etcd_server.endpoint) as far,
        Client(near.endpoint) as source,
        Client(far.endpoint) as target,
        source.mirror("/a/", target, "/b/", checkpoint=checkpoint) as mirror,
    ):
        for number in range(400):
            key = f"/a/{chance.randrange(30)}"
            if chance.random() < 0.3:
                deleted = await client.delete(key)
                last = deleted.revision if deleted.deleted else last
            else:
                last = (await client.put(key, str(number))).revision
            if chance.random() < 0.05:
                cut = chance.choice((near, far))
                if cut is far and checkpoint is None:  # nothing keeps a write that was under way from coming late
                    await within(mirror.wait_for(last))
                cut.cut()
        await within(mirror.wait_for(last))
        assert await copy_of(client, "/b/") == await copy_of(client, "/a/")


async def test_values_are_opened_and_sealed_on_the_way(client: Client, etcd_server: EtcdServer) -> None:
    here, there = Encryption(Keyring.generate()), Encryption(Keyring.generate())
    async with (
        Client(etcd_server.endpoint, encryption=here) as source,
        Client(etcd_server.endpoint, encryption=there) as target,
    ):
        await source.put("/a/1", "x")
        async with source.mirror("/a/", target, "/b/") as mirror:
            await within(mirror.wait_for(1))
        found = await target.get("/b/1")
        assert found is not None
        assert found.value == b"x"


async def test_an_error_that_is_no_matter_of_time_ends_it(client: Client, other: Client) -> None:
    async def denied(**_: object) -> None:
        raise PermissionDenied(StatusCode.PERMISSION_DENIED, "etcdserver: permission denied")

    other.txn = denied  # type: ignore[assignment]
    await client.put("/a/1", "x")
    async with client.mirror("/a/", other, "/b/") as mirror:
        with pytest.raises(PermissionDenied):
            await within(mirror.wait())
        with pytest.raises(PermissionDenied):
            await mirror.wait_for(1)


async def test_bad_arguments(client: Client, other: Client) -> None:
    with pytest.raises(ValueError, match="checkpoint must lie outside of target_prefix"):
        client.mirror("/a/", other, "/b/", checkpoint="/b/mirror")
    with pytest.raises(TypeError, match="target_client must be a client, not str"):
        client.mirror("/a/", "http://other", "/b/")  # type: ignore[arg-type]
    mirror = client.mirror("/a/", other, "/b/")
    with pytest.raises(RuntimeError, match="enter the mirror first"):
        await mirror.wait_for(1)


@pytest.mark.parametrize("prefixes", [("/a/", "/a/copy/"), ("/a/b/", "/a/"), ("/a/", "/a/"), ("", "/b/"), ("/a/", "")])
def test_prefixes_that_overlap_are_refused(prefixes: tuple[str, str]) -> None:
    """The copy would be copied, or the originals deleted as keys that the target should not have."""
    client = Client()
    with pytest.raises(ValueError, match="must not overlap"):
        client.mirror(prefixes[0], client, prefixes[1])
    with pytest.raises(ValueError, match="must not overlap"):
        client.mirror("/x" + prefixes[0], client.namespaced("/x"), prefixes[1])
    client.mirror(prefixes[0], Client(), prefixes[1])


def test_a_checkpoint_in_the_source_is_refused() -> None:
    client = Client()
    with pytest.raises(ValueError, match="checkpoint must lie outside of source_prefix"):
        client.mirror("/a/", client, "/b/", checkpoint="/a/mirror")
    client.mirror("/a/", Client(), "/b/", checkpoint="/a/mirror")


async def test_a_key_that_would_have_no_name_is_left_out(
    client: Client, other: Client, caplog: pytest.LogCaptureFixture
) -> None:
    target = other.namespaced("/b/")
    await client.put_many({"/a/": "x", "/a/1": "y"})
    async with client.mirror("/a/", target, "") as mirror:
        await within(mirror.wait_for(1))
        await client.put("/a/", "z")
        last = await client.put("/a/2", "z")
        await within(mirror.wait_for(last.revision))
    assert await copy_of(client, "/b/") == {b"1": b"y", b"2": b"z"}
    assert "b'/a/' is not mirrored" in caplog.text


async def test_values_that_can_not_be_opened(client: Client, etcd_server: EtcdServer) -> None:
    """On the target they are overwritten; on the source they end the mirror, for a copy without them would be none."""
    async with Client(etcd_server.endpoint, encryption=Encryption(Keyring.generate())) as sealing:
        await client.put_many({"/a/1": "x", "/b/1": "not sealed"})
        async with client.mirror("/a/", sealing, "/b/") as mirror:
            await within(mirror.wait_for(1))
            assert (await sealing.range(prefix="/b/"))[0].value == b"x"
        async with sealing.mirror("/a/", client, "/c/") as mirror:
            with pytest.raises(DecryptionFailed, match="/a/1"):
                await within(mirror.wait())


async def test_whoever_waits_for_a_mirror_is_told_that_it_was_left(client: Client, other: Client) -> None:
    async with client.mirror("/a/", other, "/b/") as mirror:
        waiting = [asyncio.ensure_future(mirror.wait()), asyncio.ensure_future(mirror.wait_for(10**9))]
        await within(mirror.wait_for(1))
    for each in waiting:
        with pytest.raises(RuntimeError, match="the mirror was left"):
            await within(each)


async def test_many_big_values_fit(client: Client, etcd_server: EtcdServer) -> None:
    """A page of the usual thousand would be larger than an answer may be."""
    small = TransportOptions(max_receive_bytes=8 * 1024 * 1024, stream_window=65_535)
    async with Client(etcd_server.endpoint, transport=small) as source:
        for number in range(100):
            await source.put(f"/a/{number:03}", bytes(100_000))
        async with source.mirror("/a/", client, "/b/") as mirror:
            await within(mirror.wait_for(1))
    assert await client.count(prefix="/b/") == 100
