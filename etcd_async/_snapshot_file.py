"""A snapshot on disk: written beside its place, checked, and only then put there."""

from __future__ import annotations

import asyncio
import fcntl
import inspect
import os
import stat
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import BinaryIO, Final, ParamSpec, TypeAlias, TypeVar

import anyio

from etcd_async._snapshot import Digest, Snapshot, SnapshotChunk

__all__ = ["PartFile", "Progress", "save"]

Progress: TypeAlias = Callable[[int, int], object]
"""Told the bytes written and the bytes of the database that remain; what it returns is awaited, if it can be."""

_BLOCK: Final = 1024 * 1024  # written at once: a thread for each of the server's 32 KiB would cost more than the disk
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOUND: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

T = TypeVar("T")
P = ParamSpec("P")


class PartFile:
    """
    The file beside *path* that a snapshot is written to; blocking, one method at a time.

    It is locked (flock) while it is written, so that a leftover of a process that died can be told from the work of
    one that lives: the first is removed, the second left alone.

    Attributes:
        path: Where the snapshot belongs.
        digest: Of what was written so far.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(os.path.abspath(path))  # wherever the process may go meanwhile
        self.digest = Digest()
        self._part = self.path.with_name(f"{self.path.name}.part")
        self._file: BinaryIO | None = None
        self._is_placed = False

    def open(self) -> None:
        """
        Create it, readable and writable by its owner only.

        Raises:
            FileExistsError: Another snapshot is being written to *path*; or what is there, or beside it, is no file.
            OSError: It can't be created.
        """
        if self.path.is_dir():
            raise IsADirectoryError(f"{self.path} is a directory")
        if self.path.exists() and not self.path.is_file():  # the rename would do away with /dev/null, too
            raise FileExistsError(f"{self.path} is in the way: it is no regular file")
        try:
            self._file = self._create()
        except FileExistsError:
            self._remove_leftover()
            self._file = self._create()

    def write(self, pieces: Sequence[bytes]) -> None:
        """Append *pieces*."""
        assert self._file is not None
        for piece in pieces:
            self._file.write(piece)
            self.digest.update(piece)

    def sync(self) -> None:
        """Wait until all of it is on disk."""
        assert self._file is not None
        self._file.flush()
        os.fsync(self._file.fileno())

    def place(self) -> None:
        """Give it its name, in the place of whatever had it."""
        os.replace(self._part, self.path)
        self._is_placed = True

    def close(self) -> None:
        """Close it, and remove it unless it was placed; harmless if it was never opened."""
        if self._file is None:
            return
        try:
            if not self._is_placed:
                self._part.unlink(missing_ok=True)
        finally:
            self._file.close()

    def _create(self) -> BinaryIO:
        file = os.fdopen(os.open(self._part, _NEW, 0o600), "wb")
        try:
            self._claim(file.fileno())
        except BaseException:
            file.close()
            raise
        return file

    def _remove_leftover(self) -> None:
        try:
            descriptor = os.open(self._part, _FOUND)
        except FileNotFoundError:
            return  # its owner has just finished
        except OSError as error:
            raise FileExistsError(f"{self._part} is in the way: {error.strerror}") from error
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise FileExistsError(f"{self._part} is in the way: it is no regular file")
            self._claim(descriptor)
            self._part.unlink()
        finally:
            os.close(descriptor)

    def _claim(self, descriptor: int) -> None:
        """Lock the file, and make sure that it still has the name: its last owner may just have removed it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_there = os.path.samestat(os.fstat(descriptor), os.lstat(self._part))
        except (BlockingIOError, FileNotFoundError):
            is_there = False
        if not is_there:
            raise FileExistsError(f"{self._part} is being written: another snapshot to {self.path} is under way")


async def save(
    chunks: AsyncGenerator[SnapshotChunk, None], path: str | os.PathLike[str], progress: Progress | None
) -> Snapshot:
    """
    Write *chunks* to *path*, all or nothing.

    Until the file gets its name an error or a cancellation removes what was written; from then on it is there, checked
    and whole, whatever happens.
    """
    part = PartFile(path)
    try:
        await _in_thread(part.open)
        last = await _fill(part, chunks, progress)
        sha256 = part.digest.check()
        await _in_thread(part.sync)
        part.place()  # not in a thread: a cancellation comes before it or after it, never in between
    finally:
        await _in_thread(part.close)
    await _in_thread(_sync_directory, part.path.parent)
    return Snapshot(part.path, last.endpoint, part.digest.size, sha256, last.version)


async def _fill(
    part: PartFile, chunks: AsyncGenerator[SnapshotChunk, None], progress: Progress | None
) -> SnapshotChunk:
    """Write *chunks*, a block at a time, and return the last one."""
    chunk = SnapshotChunk(b"")
    pieces: list[bytes] = []
    held = 0
    async with aclosing(chunks):
        async for chunk in chunks:
            pieces.append(chunk.data)
            held += len(chunk.data)
            if held >= _BLOCK:
                await _write(part, pieces, chunk.remaining, progress)
                pieces, held = [], 0
    if pieces:
        await _write(part, pieces, chunk.remaining, progress)
    return chunk


async def _write(part: PartFile, pieces: Sequence[bytes], remaining: int, progress: Progress | None) -> None:
    await _in_thread(part.write, pieces)
    told = progress(part.digest.size, remaining) if progress else None
    if inspect.isawaitable(told):
        await told


async def _in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """
    Run *work* in a thread and wait for its end, also if cancelled meanwhile: the cancellation comes after it.

    (``anyio.to_thread`` does so for its own cancellations, but not for asyncio's: the file would be closed while it is
    being written.)
    """
    future = asyncio.get_running_loop().run_in_executor(None, lambda: work(*args, **kwargs))
    cancellation: asyncio.CancelledError | None = None
    while not future.done():
        try:
            with anyio.CancelScope(shield=cancellation is not None):
                await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancellation = error
    if cancellation is not None:
        with suppress(OSError):
            future.result()
        raise cancellation
    return future.result()


def _sync_directory(path: Path) -> None:
    """Make a new name in *path* outlast a crash of the machine."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
