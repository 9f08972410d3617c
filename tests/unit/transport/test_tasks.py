"""Background tasks: who owns them, how they end, and that none is left."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

import anyio
import pytest

from etcd_async._transport.tasks import Tasks
from etcd_async.errors import ClientClosed, LeaseNotFound, StatusCode

pytestmark = pytest.mark.loops("asyncio", "debug", "uvloop")

NOT_FOUND = LeaseNotFound(StatusCode.NOT_FOUND, "gone")


def unexpected(error: BaseException) -> None:
    raise AssertionError(f"crashed: {error!r}")


@asynccontextmanager
async def supervised() -> AsyncIterator[Tasks]:
    """Tasks that are closed at the end, after which none may be left."""
    before = asyncio.all_tasks()
    tasks = Tasks(unexpected)
    try:
        yield tasks
    finally:
        await tasks.aclose()
        assert asyncio.all_tasks() == before


async def for_ever() -> None:
    await asyncio.Event().wait()


async def test_the_result_of_the_work_comes_through_its_future() -> None:
    async def work() -> str:
        return "done"

    async with supervised() as tasks:
        assert await tasks.start("one", work).future == "done"
        assert await tasks.start("another", work).future == "done"


async def test_a_task_carries_its_name() -> None:
    names: list[str] = []

    async def work() -> None:
        task = asyncio.current_task()
        assert task is not None
        names.append(task.get_name())

    async with supervised() as tasks:
        background = tasks.start("etcd_async.something", work)
        await background.future
    assert names == [background.name] == ["etcd_async.something"]


async def test_closing_cancels_all_and_waits_for_their_end() -> None:
    ended: list[str] = []
    started = asyncio.Event()

    async def work() -> None:
        try:
            started.set()
            await for_ever()
        finally:
            with anyio.CancelScope(shield=True):
                await asyncio.sleep(0)
            ended.append("cleaned up")

    async with supervised() as tasks:
        background = tasks.start("one", work)
        await started.wait()
        await tasks.aclose()
        assert ended == ["cleaned up"]
        with pytest.raises(ClientClosed):
            await background.future


async def test_closing_without_any_task_is_harmless_any_number_of_times() -> None:
    tasks = Tasks(unexpected)
    await tasks.aclose()
    await tasks.aclose()
    with pytest.raises(ClientClosed):
        tasks.start("late", for_ever)


async def test_work_that_had_no_time_to_start_ends_with_the_client() -> None:
    async with supervised() as tasks:
        background = tasks.start("one", for_ever)
        await tasks.aclose()
    with pytest.raises(ClientClosed):
        await background.future


async def test_started_in_one_task_and_closed_in_another() -> None:
    before = asyncio.all_tasks()
    tasks = Tasks(unexpected)

    async def begin() -> None:
        tasks.start("one", for_ever)
        await asyncio.sleep(0)

    await asyncio.create_task(begin())
    await asyncio.create_task(tasks.aclose())
    assert asyncio.all_tasks() == before


async def test_two_close_in_any_order() -> None:
    first, second = Tasks(unexpected), Tasks(unexpected)
    backgrounds = [each.start("one", for_ever) for each in (first, second)]
    await asyncio.sleep(0)
    await first.aclose()
    assert not backgrounds[1].future.done()
    await second.aclose()


async def test_cancelling_one_leaves_the_others_alone() -> None:
    async with supervised() as tasks:
        one, other = tasks.start("one", for_ever), tasks.start("other", for_ever)
        await asyncio.sleep(0)
        one.cancel()
        await asyncio.wait([one.future])
        assert one.future.cancelled()
        assert not other.future.done()
        one.cancel()


async def test_cancelling_before_the_start_means_that_little_happens() -> None:
    async with supervised() as tasks:
        one = tasks.start("one", for_ever)
        one.cancel()
        await asyncio.wait([one.future])
        assert one.future.cancelled()


@pytest.mark.parametrize("error", [None, NOT_FOUND])
async def test_a_waiter_that_is_cancelled_does_not_disturb_the_work(error: Exception | None) -> None:
    release, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await release.wait()
        ended.set()
        if error is not None:
            raise error

    async with supervised() as tasks:
        background = tasks.start("one", work)
        background.future.cancel()  # as a cancelled task does to what it awaits
        await asyncio.sleep(0)
        release.set()
        await ended.wait()


async def test_an_etcd_error_is_for_whoever_waits_and_no_crash() -> None:
    async def work() -> None:
        raise NOT_FOUND

    async with supervised() as tasks:
        background = tasks.start("one", work)
        with pytest.raises(LeaseNotFound):
            await background.future
        unobserved = tasks.start("other", work)
        await asyncio.wait([unobserved.future])
        assert isinstance(tasks.start("third", for_ever).future, asyncio.Future)


async def test_a_crash_is_told_once_ends_the_others_and_is_raised_by_closing_once() -> None:
    told: list[Exception] = []
    tasks = Tasks(told.append)
    bystander = tasks.start("bystander", for_ever)
    await asyncio.sleep(0)

    async def crash() -> None:
        raise ZeroDivisionError("bug")

    background = tasks.start("crash", crash)
    with pytest.raises(ZeroDivisionError):
        await background.future
    with pytest.raises(ClientClosed):
        await bystander.future
    with pytest.raises(ClientClosed):
        tasks.start("late", for_ever)
    with pytest.raises(ZeroDivisionError, match="bug"):
        await tasks.aclose()
    await tasks.aclose()
    assert [repr(error) for error in told] == ["ZeroDivisionError('bug')"]


async def test_crashes_during_a_crash_are_raised_too() -> None:
    told: list[Exception] = []
    tasks = Tasks(told.append)
    started = asyncio.Event()

    async def crash_when_cancelled() -> None:
        try:
            started.set()
            await for_ever()
        finally:
            raise KeyError("second")

    async def crash() -> None:
        await started.wait()
        raise ZeroDivisionError("first")

    tasks.start("second", crash_when_cancelled)
    await asyncio.wait([tasks.start("first", crash).future])
    with pytest.raises(ExceptionGroup) as caught:
        await tasks.aclose()
    assert sorted(repr(error) for error in caught.value.exceptions) == [
        "KeyError('second')",
        "ZeroDivisionError('first')",
    ]
    assert [repr(error) for error in told] == ["ZeroDivisionError('first')"]


async def test_closing_that_is_cancelled_can_be_repeated() -> None:
    before = asyncio.all_tasks()
    release = asyncio.Event()

    async def slow_to_end() -> None:
        try:
            await for_ever()
        finally:
            with anyio.CancelScope(shield=True):
                await release.wait()

    tasks = Tasks(unexpected)
    tasks.start("slow", slow_to_end)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    closing = asyncio.create_task(tasks.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    release.set()
    await tasks.aclose()
    assert asyncio.all_tasks() == before


VARIABLE: ContextVar[str] = ContextVar("VARIABLE", default="none")


async def test_tasks_do_not_keep_the_context_of_whoever_was_first() -> None:
    async def work() -> str:
        return VARIABLE.get()

    VARIABLE.set("of a request")
    async with supervised() as tasks:
        assert await tasks.start("one", work).future == "none"


def test_the_end_of_the_loop_ends_the_tasks() -> None:
    tasks = Tasks(unexpected)

    async def main() -> asyncio.Future[None]:
        background = tasks.start("one", for_ever)
        await asyncio.sleep(0)
        return background.future

    future = asyncio.run(main())
    assert isinstance(future.exception(), ClientClosed)
    asyncio.run(tasks.aclose())
    with pytest.raises(ClientClosed):
        asyncio.run(_start(tasks))


async def _start(tasks: Tasks) -> None:
    tasks.start("late", for_ever)


def test_a_loop_closed_without_any_goodbye_does_not_hang_the_closing() -> None:
    loop = asyncio.new_event_loop()
    tasks = Tasks(unexpected)

    async def begin() -> None:
        tasks.start("one", for_ever)

    loop.run_until_complete(begin())
    owner = tasks._owner
    assert owner is not None
    owner._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()
    asyncio.run(tasks.aclose())
