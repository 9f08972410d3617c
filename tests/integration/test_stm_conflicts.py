"""Transactions of functions in trouble: conflicts, limits, lost history, members that are behind."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from etcd_async import (
    Client,
    DecryptionFailed,
    Delete,
    FutureRevision,
    Isolation,
    PermissionDenied,
    Range,
    StatusCode,
    TooManyConflicts,
    TooManyOps,
    Transaction,
)
from etcd_async.crypto import Encryption, Keyring
from etcd_async.testing import EtcdServer
from tests.integration.interference import GUARDING_READS, LEVELS, ONE_REVISION, Interfering, number
from tests.support.live import within


class Recording(Client):
    """A client that knows what transactions it has sent."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(endpoint)
        self.sent: list[Sequence[object]] = []

    async def txn(self, when: Any = (), then: Any = (), otherwise: Any = (), **options: Any) -> Any:
        self.sent.append([*then, *otherwise])
        return await super().txn(when, then, otherwise, **options)


@pytest.mark.parametrize("isolation", LEVELS)
async def test_no_transaction_that_only_reads_is_sent(etcd_server: EtcdServer, isolation: Isolation) -> None:
    """etcd before 3.5.5 panics when one of those is cancelled (https://github.com/etcd-io/etcd/issues/14110)."""
    async with Recording(etcd_server.endpoint) as client:
        await client.put("b", "1")
        others = Interfering(lambda: client.put("a", "1"))

        async def read(t: Transaction) -> None:
            await t.get("a")
            await others.interfere()
            await t.get("b")

        async def write(t: Transaction) -> None:
            await read(t)
            t.delete("b")

        await client.stm(read, isolation=isolation, prefetch=["a"])
        assert client.sent == []
        others = Interfering(lambda: client.put("a", "2"))
        await client.stm(write, isolation=isolation, prefetch=["a"])
        assert len(client.sent) == others.attempts
        assert all(any(isinstance(op, Delete) for op in ops) for ops in client.sent)


async def test_conflicts_go_on_until_nobody_interferes(client: Client) -> None:
    others = Interfering(lambda: client.put("n", str(100 * others.attempts)), times=4)

    async def increase(t: Transaction) -> None:
        found = await number(t, "n")
        await others.interfere()
        t.put("n", str(found + 1))

    result = await within(client.stm(increase))
    assert (await number(client, "n"), result.attempts) == (401, 5)


async def test_attempts_may_be_limited(client: Client) -> None:
    others = Interfering(lambda: client.put("n", "10"), times=10)

    async def increase(t: Transaction) -> None:
        found = await number(t, "n")
        await others.interfere()
        t.put("n", str(found + 1))

    with pytest.raises(TooManyConflicts, match="3 attempts"):
        await client.stm(increase, max_attempts=3)
    assert (others.attempts, await number(client, "n")) == (3, 10)


@pytest.mark.parametrize("isolation", ONE_REVISION)
async def test_an_attempt_after_a_conflict_is_of_one_revision_too(client: Client, isolation: Isolation) -> None:
    """Etcd's own recipe mixes what the conflict told with newer keys here."""
    await client.put_many({"x": "1", "y": "1"})
    others = Interfering(lambda: client.put_many({"x": "2", "y": "2"}))
    more = Interfering(lambda: client.put_many({"x": "3", "y": "3"}), times=1)
    seen: list[tuple[int, int]] = []

    async def work(t: Transaction) -> None:
        if not seen:
            x, y = await number(t, "x"), 1
            await others.interfere()
        else:
            y = await number(t, "y")
            await more.interfere()
            x = await number(t, "x")
        seen.append((x, y))
        t.put("z", str(x + y))

    await within(client.stm(work, isolation=isolation))
    assert seen == [(1, 1), (2, 2), (3, 3)]


@pytest.mark.parametrize("isolation", LEVELS)
async def test_keys_read_ahead_and_not_used_are_not_compared(client: Client, isolation: Isolation) -> None:
    await client.put_many({"a": "1", "b": "1", "c": "1"})
    others = Interfering(lambda: client.put("c", "2"))

    async def work(t: Transaction) -> int:
        await others.interfere()
        found = await number(t, "a") + await number(t, "b")
        t.put("a", str(found))
        return found

    result = await client.stm(work, isolation=isolation, prefetch=["c", "a", "b", "missing", b"a"])
    assert (result.value, result.attempts) == (2, 1)


@pytest.mark.parametrize("isolation", ONE_REVISION)
async def test_keys_read_ahead_are_as_of_the_beginning(client: Client, isolation: Isolation) -> None:
    await client.put_many({"a": "1", "b": "1"})
    others = Interfering(lambda: client.put_many({"a": "2", "b": "2"}))

    async def work(t: Transaction) -> tuple[int, int]:
        await others.interfere()
        return await number(t, "a"), await number(t, "b")

    assert (await client.stm(work, isolation=isolation, prefetch=["a"])).value == (1, 1)


async def test_a_history_compacted_meanwhile_runs_it_again(client: Client) -> None:
    await client.put_many({"x": "1", "y": "1"})

    async def forget() -> None:
        await client.put_many({"x": "2", "y": "2"})
        await client.compact((await client.put("z", "")).revision)

    others = Interfering(forget)

    async def read(t: Transaction) -> tuple[int, int]:
        x = await number(t, "x")
        await others.interfere()
        return x, await number(t, "y")

    result = await within(client.stm(read))
    assert (result.value, result.attempts) == ((2, 2), 2)


async def test_too_many_keys_are_refused_and_nothing_is_written(client: Client) -> None:
    async def read_many(t: Transaction) -> None:
        for each in range(129):
            await t.get(f"k{each}")
        t.put("x", "1")

    async def write_many(t: Transaction) -> None:
        for each in range(129):
            t.put(f"k{each}", "")

    for work in (read_many, write_many):
        with pytest.raises(TooManyOps) as caught:
            await client.stm(work)
        assert not caught.value.maybe_applied
    assert await client.count(prefix="") == 0


async def test_nonsense_is_refused(client: Client) -> None:
    async def nothing(t: Transaction) -> None:
        return

    with pytest.raises(ValueError, match="isolation must be one of serializable_snapshot, "):
        await client.stm(nothing, isolation="snapshot")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="prefetch"):
        await client.stm(nothing, prefetch="x")
    with pytest.raises(ValueError, match="max_attempts"):
        await client.stm(nothing, max_attempts=0)


async def test_keys_of_a_namespace(client: Client) -> None:
    async def work(t: Transaction) -> None:
        t.put("x", str(await number(t, "x") + 1))

    inside = client.namespaced("/app/")
    for _ in range(2):
        await inside.stm(work)
    assert await client.keys() == [b"/app/x"]
    assert await number(inside, "x") == 2


@pytest.fixture
async def secret(client: Client, etcd_server: EtcdServer) -> AsyncIterator[Client]:
    """A client that encrypts everything, on the same server as the plain *client*."""
    async with Client(etcd_server.endpoint, encryption=Encryption(Keyring.generate())) as secret:
        yield secret


@pytest.mark.parametrize("isolation", GUARDING_READS)
async def test_encrypted_keys_are_guarded_as_well(secret: Client, isolation: Isolation) -> None:
    async def increase(t: Transaction) -> None:
        t.put("n", str(await number(t, "n") + 1))

    await within(asyncio.gather(*(secret.stm(increase, isolation=isolation) for _ in range(20))), 30)
    assert await number(secret, "n") == 20


async def test_a_value_that_cant_be_opened_says_so(client: Client, secret: Client) -> None:
    await client.put("plain", "v")

    async def read(t: Transaction) -> None:
        await t.get("plain")

    async def overwrite(t: Transaction) -> None:
        with pytest.raises(DecryptionFailed):
            await t.get("plain")
        t.put("plain", "sealed")

    with pytest.raises(DecryptionFailed):
        await secret.stm(read)
    await secret.stm(overwrite)
    kv = await secret.get("plain")
    assert kv is not None
    assert kv.value == b"sealed"


class Refusing(Client):
    """A client some of whose reads are refused, as by a member that is behind or by permissions."""

    def __init__(self, endpoint: str, refusal: Callable[[Range], Exception | None]) -> None:
        super().__init__(endpoint)
        self._refusal = refusal

    async def do(self, op: Any, **options: Any) -> Any:
        if isinstance(op, Range) and (error := self._refusal(op)):
            raise error
        return await super().do(op, **options)


async def test_a_member_that_is_behind_is_asked_to_catch_up(etcd_server: EtcdServer, client: Client) -> None:
    await client.put_many({"a": "1", "b": "2"})

    def behind(op: Range) -> Exception | None:
        return FutureRevision(StatusCode.OUT_OF_RANGE, "required revision is a future one") if op.serializable else None

    async def read(t: Transaction) -> list[int]:
        return [await number(t, "a"), await number(t, "b")]

    async with Refusing(etcd_server.endpoint, behind) as refusing:
        assert (await refusing.stm(read)).value == [1, 2]


async def test_an_error_of_reading_ahead_comes_alone(etcd_server: EtcdServer) -> None:
    def forbidden(op: Range) -> Exception | None:
        return PermissionDenied(StatusCode.PERMISSION_DENIED, "no") if op.key != b"a" else None

    async def nothing(t: Transaction) -> None:
        return

    async with Refusing(etcd_server.endpoint, forbidden) as refusing:
        with pytest.raises(PermissionDenied):
            await refusing.stm(nothing, prefetch=["a", "b", "c"])
