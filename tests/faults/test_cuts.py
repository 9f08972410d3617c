"""
The connection cut at every kind of place that a call has: what comes of the call and of the server's state, and what
is left behind. The cutter reads the frames between client and etcd, so each place is met exactly.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, get_args

import pytest

from etcd_async import Client, EtcdError, Unavailable, put, value, version
from etcd_async import get as get_op
from etcd_async._protocol import keepalive
from etcd_async.testing import EtcdServer
from tests.faults.support import Baseline, outcome
from tests.support.cutter import (
    KEEP_ALIVE,
    PUT,
    RANGE,
    TXN,
    WATCH,
    Cutter,
    Frame,
    How,
    Place,
    after_bytes,
    after_headers,
    after_message,
    after_trailers,
    amid_frame_header,
    amid_message,
    amid_request,
    amid_trailers,
    before_headers,
    unseen,
)
from tests.support.live import take, turns, within

pytestmark = [pytest.mark.faults, pytest.mark.spared]

HOWS: Final[tuple[How, ...]] = get_args(How)
REQUEST: Final[dict[str, Place]] = {"unseen": unseen, "amid the request": amid_request}
ANSWER: Final[dict[str, Place]] = {
    "before headers": before_headers,
    "after headers": after_headers,
    "amid a frame's header": amid_frame_header,
    "amid the message": amid_message(1),
    "before trailers": after_message(1),
    "amid trailers": amid_trailers,
}
STREAM: Final[dict[str, Place]] = {
    "unseen": unseen,
    "before headers": before_headers,
    "after headers": after_headers,
    "amid a frame's header": amid_frame_header,
    "amid the first message": amid_message(1),
    "after the first message": after_message(1),
    "amid the second message": amid_message(2),
    "after the second message": after_message(2),
}
each_how = pytest.mark.parametrize("how", HOWS)

Call = Callable[[Client, str], Awaitable[object]]
WRITES: Final[dict[str, tuple[str, Call]]] = {
    "put": (PUT, lambda client, key: client.put(key, "new")),
    "txn": (TXN, lambda client, key: client.txn(then=[put(key, "new")])),
    "compare-and-swap": (TXN, lambda client, key: client.compare_and_swap(key, "old", "new")),
}
READS: Final[dict[str, tuple[str, Call]]] = {
    "get": (RANGE, lambda client, key: client.get(key)),
    "range": (RANGE, lambda client, key: client.range(prefix=key)),
    "reading txn": (TXN, lambda client, key: client.txn([version(key) > 0], [get_op(key)])),
    "comparing txn": (TXN, lambda client, key: client.txn([value(key) == "old"])),
}


def each_place(*tables: dict[str, Place]) -> pytest.MarkDecorator:
    places = {name: place for table in tables for name, place in table.items()}
    return pytest.mark.parametrize("place", places.values(), ids=places)


@pytest.fixture
async def cutter(server: EtcdServer) -> AsyncIterator[Cutter]:
    async with Cutter(server.endpoint) as cutter:
        yield cutter


@pytest.fixture
async def distant(cutter: Cutter) -> AsyncIterator[Client]:
    """A client behind ``cutter``."""
    async with Client(cutter.endpoint) as client:
        yield client


@pytest.fixture
def baseline(distant: Client, server: EtcdServer) -> Baseline:
    return Baseline(distant, server)


async def check(baseline: Baseline) -> None:
    """Wait until nothing is left: of an endpoint that fails again and again, the last probe may be ten seconds late."""
    probes = [task for task in asyncio.all_tasks() if task.get_name().startswith("etcd_async.probe")]
    if probes:
        await within(asyncio.wait(probes), 20)
    await baseline.check()


async def value_of(client: Client, key: str) -> bytes | None:
    kv = await client.get(key)
    assert kv is None or kv.version == (2 if kv.value == b"new" else 1)
    return None if kv is None else kv.value


async def cut_write(cutter: Cutter, client: Client, distant: Client, place: Place, how: How) -> list[bytes | None]:
    """Cut each kind of write at *place*; return the values of the keys afterwards."""
    found = []
    for name, (path, write) in WRITES.items():
        key = f"/cut/{how}/{name}"
        await client.put(key, "old")
        accepted, cut = cutter.accepted, cutter.at(path, place, how)
        with pytest.raises(Unavailable) as caught:
            await within(write(distant, key))
        assert cut.is_made
        assert caught.value.maybe_applied
        assert len(caught.value.attempts) == 1
        assert cutter.accepted == accepted
        found.append(await value_of(client, key))
        assert await distant.get(key) == await client.get(key)
    return found


@each_how
@each_place(REQUEST)
async def test_a_write_whose_request_is_cut_says_that_it_may_have_been_applied_and_was_not(
    cutter: Cutter, client: Client, distant: Client, baseline: Baseline, place: Place, how: How
) -> None:
    await baseline.take()
    assert set(await cut_write(cutter, client, distant, place, how)) == {b"old"}
    await check(baseline)


@each_how
@each_place(ANSWER)
async def test_a_write_whose_answer_is_cut_says_that_it_may_have_been_applied_and_was_once(
    cutter: Cutter, client: Client, distant: Client, baseline: Baseline, place: Place, how: How
) -> None:
    await baseline.take()
    assert set(await cut_write(cutter, client, distant, place, how)) == {b"new"}
    await check(baseline)


@each_how
@each_place(REQUEST, ANSWER)
async def test_a_read_that_is_cut_is_repeated_and_right(
    cutter: Cutter, client: Client, distant: Client, baseline: Baseline, place: Place, how: How
) -> None:
    await baseline.take()
    await client.put("/cut", "old")
    for path, read in READS.values():
        accepted, cut = cutter.accepted, cutter.at(path, place, how)
        assert await within(read(distant, "/cut")) == await read(client, "/cut")
        assert cut.is_made
        assert cutter.accepted == accepted + 1
    await check(baseline)


@each_how
async def test_an_answer_that_is_cut_right_behind_its_trailers_is_an_answer(
    cutter: Cutter, client: Client, distant: Client, baseline: Baseline, how: How
) -> None:
    await baseline.take()
    for name, (path, call) in {**WRITES, **READS}.items():
        key = f"/cut/{name}"
        await client.put(key, "old")
        cut = cutter.at(path, after_trailers, how)
        await within(call(distant, key))
        assert cut.is_made
        assert await value_of(client, key) == (b"new" if name in WRITES else b"old")
    await check(baseline)


async def test_a_write_made_in_the_turn_of_a_cut_tells_the_truth(
    cutter: Cutter, client: Client, distant: Client, baseline: Baseline
) -> None:
    await baseline.take()
    for number in range(20):
        key = f"/cut/{number}"
        await client.put(key, "old")
        cut = cutter.at(RANGE, after_trailers, HOWS[number % 2])
        await within(distant.get(key))
        assert cut.is_made
        await turns(number // 2)
        result = await within(outcome(distant.put(key, "new")))
        was_applied = await value_of(client, key) == b"new"
        assert was_applied if not isinstance(result, EtcdError) else result.maybe_applied >= was_applied
    await check(baseline)


def amid_large_request(frame: Frame) -> int | None:
    """Before the second piece of the request's message: the first fills the server's window only in part."""
    return 0 if not frame.is_answer and frame.message == 2 else None


async def test_a_write_that_had_left_only_in_part_is_repeated_and_applied_once(
    cutter: Cutter, client: Client, distant: Client, baseline: Baseline
) -> None:
    await baseline.take()
    for how in HOWS:
        key = f"/large/{how}"
        cut = cutter.at(PUT, amid_large_request, how)
        result = await within(distant.put(key, bytes(1_000_000)))
        assert cut.is_made
        kv = await client.get(key)
        assert kv is not None
        assert (kv.version, kv.mod_revision, len(kv.value)) == (1, result.revision, 1_000_000)
    await check(baseline)


async def answer_size(cutter: Cutter, path: str, call: Callable[[], Awaitable[object]]) -> int:
    """Return how many bytes an answer has on a connection on which nothing was said before: later ones are shorter."""
    total = 0

    def measure(frame: Frame) -> None:
        nonlocal total
        total += frame.size if frame.is_answer else 0

    while True:
        cutter.at(path, before_headers)
        await within(outcome(call()))
        total, others = 0, others_answered(cutter, path)
        cutter.at(path, measure)
        await within(call())
        if others_answered(cutter, path) == others:  # no probe came first
            return total


def others_answered(cutter: Cutter, path: str) -> int:
    return sum(number for each, number in cutter.messages.items() if each != path)


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_put_cut_behind_every_single_byte_of_its_answer(
    cutter: Cutter, client: Client, distant: Client, baseline: Baseline
) -> None:
    await baseline.take()
    size, errors = await answer_size(cutter, PUT, lambda: distant.put("/cut", "v")), 0
    for number in range(size):
        key = f"/cut/{number}"
        cut = cutter.at(PUT, after_bytes(number), HOWS[number % 2])
        result = await within(outcome(distant.put(key, "v")))
        if isinstance(result, EtcdError):
            assert cut.is_made
            assert isinstance(result, Unavailable)
            assert result.maybe_applied
            errors += 1
        kv = await client.get(key)
        assert kv is not None
        assert kv.version == 1
    assert errors > 0.8 * size > 50  # the others were shorter: a probe had come first on their connection
    await check(baseline)


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_get_cut_behind_every_single_byte_of_its_answer(
    cutter: Cutter, client: Client, distant: Client, baseline: Baseline
) -> None:
    await baseline.take()
    await client.put("/cut", "v" * 20)
    expected = await client.get("/cut")
    assert expected is not None
    size, made = await answer_size(cutter, RANGE, lambda: distant.get("/cut")), 0
    for number in range(size):
        cutter.at(PUT, before_headers)
        await outcome(distant.put("/fresh", ""))  # so that the next connection is a new one
        cut = cutter.at(RANGE, after_bytes(number), HOWS[number % 2])
        assert await within(distant.get("/cut")) == expected
        made += cut.is_made
    assert made > 0.8 * size > 50
    await check(baseline)


async def watch_through(cut_at: Callable[[], Any], client: Client, distant: Client, prefix: str, number: int) -> None:
    """Write *number* keys under a watch that is cut, and see each once, in order, with nothing after the last."""
    cut = cut_at()
    async with distant.watch(prefix=prefix) as watch:
        written = [(await client.put(f"{prefix}{each}", "v")).revision for each in range(number)]
        assert [event.revision for event in await take(watch, number)] == written
        await cut.made()
        last = await client.put(f"{prefix}last", "v")
        assert [event.revision for event in await take(watch, 1)] == [last.revision]


@each_how
@each_place(STREAM)
async def test_a_watch_that_is_cut_loses_and_repeats_nothing(
    cutter: Cutter, client: Client, distant: Client, baseline: Baseline, place: Place, how: How
) -> None:
    await baseline.take()
    await watch_through(lambda: cutter.at(WATCH, place, how), client, distant, "/watched/", 20)
    await check(baseline)


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_watch_cut_behind_every_single_byte_of_its_first_answers(
    cutter: Cutter, client: Client, distant: Client, baseline: Baseline
) -> None:
    await baseline.take()
    for number in range(150):  # headers, the confirmation, and an event or two
        place, how = after_bytes(number), HOWS[number % 2]
        cut_at = lambda place=place, how=how: cutter.at(WATCH, place, how)  # noqa: E731
        await watch_through(cut_at, client, distant, f"/watched/{number}/", 3)
    await check(baseline)


@each_how
@each_place(STREAM)
async def test_a_lease_whose_renewals_are_cut_lives_on(
    cutter: Cutter,
    client: Client,
    distant: Client,
    baseline: Baseline,
    place: Place,
    how: How,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keepalive, "RENEWALS_PER_TERM", 20)  # many, in a term that outlives a pause of the machine
    await baseline.take()
    cut = cutter.at(KEEP_ALIVE, place, how)
    async with distant.lease(ttl=10) as lease:
        await client.put("/leased", "v", lease=lease.id)
        await cut.made()
        await cutter.answers(KEEP_ALIVE, 2)
        assert not lease.is_lost
        assert await client.get("/leased") is not None
    assert await client.get("/leased") is None
    await check(baseline)
