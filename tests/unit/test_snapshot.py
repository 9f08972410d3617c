"""Snapshots: whether what arrived is what was sent, and the file that is there whole or not at all."""

# ruff: noqa: ASYNC240  # these tests are all that runs in their loop
import asyncio
import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcd_async._snapshot import Digest, Snapshot, SnapshotChunk
from etcd_async._snapshot_file import PartFile, Progress, save
from etcd_async.errors import SnapshotCorrupt, Unavailable
from tests.support.live import forever, within

MIB = 1024 * 1024
DATABASE = bytes(range(256)) * 8
WHOLE = DATABASE + hashlib.sha256(DATABASE).digest()


def cut(data: bytes, *sizes: int) -> list[bytes]:
    """Return *data* in pieces of these sizes, and the rest."""
    pieces, start = [], 0
    for size in sizes:
        pieces.append(data[start : start + size])
        start += size
    return [*pieces, data[start:]]


def digest_of(pieces: list[bytes]) -> Digest:
    digest = Digest()
    for piece in pieces:
        digest.update(piece)
    return digest


async def chunks(*pieces: bytes, failure: BaseException | None = None) -> AsyncGenerator[SnapshotChunk, None]:
    """Yield *pieces* as a server would, and then raise *failure*."""
    remaining = sum(map(len, pieces)) - 32
    for piece in pieces:
        remaining -= len(piece)
        yield SnapshotChunk(piece, max(remaining, 0), "3.6.0", "http://h:2379")
    if failure is not None:
        raise failure


def large(size: int = 3 * MIB) -> list[bytes]:
    """Return the pieces of a snapshot of some blocks."""
    database = os.urandom(4096) * (size // 4096)
    return [*cut(database, *[32 * 1024] * (size // (32 * 1024) - 1)), hashlib.sha256(database).digest()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "backup.db"


@given(st.lists(st.integers(0, 700), max_size=12))
def test_the_digest_is_the_same_however_the_bytes_are_cut(sizes: list[int]) -> None:
    digest = digest_of(cut(WHOLE, *sizes))
    assert digest.size == len(WHOLE)
    assert digest.check() == hashlib.sha256(DATABASE).hexdigest()


@given(st.integers(0, 8 * len(WHOLE) - 1))
def test_any_flipped_bit_is_noticed(bit: int) -> None:
    flipped = bytearray(WHOLE)
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SnapshotCorrupt, match=r"digest is [0-9a-f]{64}, the server's [0-9a-f]{64}"):
        digest_of([bytes(flipped)]).check()


@given(st.integers(0, len(WHOLE) - 1))
def test_any_missing_end_is_noticed(size: int) -> None:
    with pytest.raises(SnapshotCorrupt):
        digest_of([WHOLE[:size]]).check()


def test_a_digest_of_nothing_is_no_snapshot() -> None:
    with pytest.raises(SnapshotCorrupt, match="has 32 bytes"):
        digest_of([hashlib.sha256(b"").digest()]).check()


async def test_a_snapshot_is_written_whole_and_for_its_owner_only(path: Path) -> None:
    pieces = large()
    saved = await save(chunks(*pieces), path, None)
    whole = b"".join(pieces)
    assert path.read_bytes() == whole
    assert path.stat().st_mode & 0o777 == 0o600
    assert saved == Snapshot(path, "http://h:2379", len(whole), whole[-32:].hex(), "3.6.0")
    assert os.listdir(path.parent) == [path.name]


async def test_it_takes_the_place_of_what_was_there(path: Path) -> None:
    path.write_bytes(b"the one before")
    await save(chunks(WHOLE), path, None)
    assert path.read_bytes() == WHOLE


async def test_a_relative_path_counts_from_where_the_process_was_at_first(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    saved = await save(chunks(WHOLE), path.name, lambda _done, _left: os.chdir("/"))
    assert saved.path == path
    assert path.read_bytes() == WHOLE


@pytest.mark.parametrize("is_awaited", [False, True])
async def test_progress_is_told_as_blocks_are_written(path: Path, is_awaited: bool) -> None:
    told: list[tuple[int, int]] = []

    async def tell_later(done: int, remaining: int) -> None:
        await asyncio.sleep(0)
        told.append((done, remaining))

    def tell(done: int, remaining: int) -> None:
        told.append((done, remaining))

    progress: Progress = tell_later if is_awaited else tell
    await save(chunks(*large()), path, progress)
    assert told == [(MIB, 2 * MIB), (2 * MIB, MIB), (3 * MIB, 0), (3 * MIB + 32, 0)]


def left_as_it_was(path: Path) -> bool:
    return os.listdir(path.parent) == [path.name] and path.read_bytes() == b"the one before"


def _full(_part: PartFile, _pieces: Sequence[bytes]) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def test_whatever_goes_wrong_leaves_the_place_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"the one before")
    pieces = large()
    with pytest.raises(Unavailable):
        await save(chunks(*pieces[:-5], failure=Unavailable([])), path, None)
    assert left_as_it_was(path)
    with pytest.raises(SnapshotCorrupt):
        await save(chunks(*pieces[:-1]), path, None)
    assert left_as_it_was(path)
    with pytest.raises(SnapshotCorrupt):
        await save(chunks(*pieces[1:]), path, None)
    assert left_as_it_was(path)
    with monkeypatch.context() as patch:
        patch.setattr(PartFile, "write", _full)
        with pytest.raises(OSError, match="No space left"):
            await save(chunks(*pieces), path, None)
    assert left_as_it_was(path)
    with pytest.raises(ZeroDivisionError):
        await save(chunks(*pieces), path, lambda done, _remaining: 1 // (done - done))
    assert left_as_it_was(path)


async def test_a_snapshot_of_no_bytes_is_no_snapshot(path: Path) -> None:
    with pytest.raises(SnapshotCorrupt):
        await save(chunks(), path, None)
    assert os.listdir(path.parent) == []


Cancel = Callable[[Awaitable[Snapshot], asyncio.Event], Awaitable[None]]


async def by_asyncio(saving: Awaitable[Snapshot], reached: asyncio.Event) -> None:
    task = asyncio.ensure_future(saving)
    await within(reached.wait())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def by_anyio(saving: Awaitable[Snapshot], reached: asyncio.Event) -> None:
    async def run() -> None:
        await saving

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await within(reached.wait())
        group.cancel_scope.cancel()


async def by_asyncio_twice(saving: Awaitable[Snapshot], reached: asyncio.Event) -> None:
    task = asyncio.ensure_future(saving)
    await within(reached.wait())
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    assert task.cancelled()


@pytest.mark.parametrize("cancel", [by_asyncio, by_anyio, by_asyncio_twice])
async def test_a_cancelled_snapshot_leaves_the_place_as_it_was(path: Path, cancel: Cancel) -> None:
    path.write_bytes(b"the one before")
    reached = asyncio.Event()

    async def endless() -> AsyncGenerator[SnapshotChunk, None]:
        for piece in large():
            yield SnapshotChunk(piece)
        reached.set()
        await forever()

    await cancel(save(endless(), path, None), reached)
    assert left_as_it_was(path)


@pytest.mark.parametrize("cancel", [by_asyncio, by_anyio, by_asyncio_twice])
async def test_a_cancellation_waits_for_the_write_under_way(
    path: Path, cancel: Cancel, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(b"the one before")
    loop, reached, after = asyncio.get_running_loop(), asyncio.Event(), []
    sync = PartFile.sync

    def slow(part: PartFile) -> None:
        sync(part)
        loop.call_soon_threadsafe(reached.set)
        for _ in range(20):  # far more turns of the loop than the cancellation needs
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(5)
        after.append(part._file is not None and not part._file.closed)

    monkeypatch.setattr(PartFile, "sync", slow)
    await cancel(save(chunks(*large()), path, None), reached)
    assert after == [True]
    assert left_as_it_was(path)


async def test_a_leftover_of_a_dead_process_is_removed(path: Path) -> None:
    part = path.with_name("backup.db.part")
    part.write_bytes(b"half a snap")
    await save(chunks(WHOLE), path, None)
    assert os.listdir(path.parent) == [path.name]
    assert path.read_bytes() == WHOLE


async def test_two_snapshots_to_one_place_do_not_meet(path: Path) -> None:
    first = PartFile(path)
    first.open()
    with pytest.raises(FileExistsError, match=r"another snapshot to .* is under way"):
        await save(chunks(WHOLE), path, None)
    first.write([WHOLE])
    first.sync()
    first.place()
    first.close()
    assert path.read_bytes() == WHOLE
    assert os.listdir(path.parent) == [path.name]


def test_a_file_that_lost_its_name_to_another_is_not_used(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between creating and locking it, somebody may take it for a leftover, and put another in its place."""
    part = path.with_name("backup.db.part")
    lock = fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        part.unlink()
        part.write_bytes(b"another's")
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    file = PartFile(path)
    with pytest.raises(FileExistsError):
        file.open()
    file.close()
    assert part.read_bytes() == b"another's"


@pytest.mark.parametrize("make", ["symlink", "directory", "pipe"])
async def test_what_is_no_file_of_ours_is_left_alone(path: Path, make: str) -> None:
    part = path.with_name("backup.db.part")
    precious = path.with_name("precious")
    precious.write_bytes(b"precious")
    if make == "symlink":
        part.symlink_to(precious)
    elif make == "directory":
        part.mkdir()
    else:
        os.mkfifo(part)
    with pytest.raises(FileExistsError, match="is in the way"):
        await save(chunks(WHOLE), path, None)
    assert precious.read_bytes() == b"precious"
    assert os.path.lexists(part)
    assert not path.exists()


async def test_a_pipe_or_a_device_is_not_replaced_by_a_snapshot(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(FileExistsError, match="it is no regular file"):
        await save(chunks(WHOLE), path, None)
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert os.listdir(path.parent) == [path.name]


async def test_a_place_that_can_not_be_written_to_is_an_error_before_anything_is_asked(tmp_path: Path) -> None:
    asked = []

    async def recorded() -> AsyncGenerator[SnapshotChunk, None]:
        asked.append(True)
        yield SnapshotChunk(WHOLE)

    with pytest.raises(FileNotFoundError):
        await save(recorded(), tmp_path / "no" / "such" / "directory", None)
    with pytest.raises(IsADirectoryError):
        await save(recorded(), tmp_path, None)
    assert not asked
    assert not Path(f"{tmp_path}.part").exists()
