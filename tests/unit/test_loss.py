import asyncio
from typing import Any

import pytest

from etcd_async._loss import Guard, Loss, OnLoss, check_on_loss, guarding
from etcd_async.errors import LeaseLost, LockLost

REASON = LockLost("its key was deleted")


async def run_body(loss: Loss, on_loss: OnLoss, body: Any) -> str:
    """What an ``async with`` does with a guard, and what comes of it."""
    guard = Guard(loss, on_loss)
    guard.open()
    swallowed = False
    error: BaseException | None = None
    try:
        await body()
    except BaseException as exc:
        error = exc
        swallowed = guard.close(type(exc), exc, exc.__traceback__)
        if not swallowed:
            raise
    else:
        guard.close(None, None, None)
    guard.raise_loss(error, swallowed)
    return "left normally"


async def test_a_loss_cancels_the_body_and_is_raised_in_its_place() -> None:
    loss = Loss()
    asyncio.get_running_loop().call_soon(loss.fire, REASON)
    with pytest.raises(LockLost) as caught:
        await run_body(loss, "cancel", asyncio.Event().wait)
    assert caught.value is REASON
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_loss_before_the_body_cancels_it_at_its_first_await() -> None:
    loss = Loss()
    loss.fire(REASON)
    with pytest.raises(LockLost):
        await run_body(loss, "cancel", asyncio.Event().wait)


async def test_a_body_that_did_not_notice_still_hears_of_the_loss() -> None:
    loss = Loss()

    async def body() -> None:
        loss.fire(REASON)

    with pytest.raises(LockLost):
        await run_body(loss, "cancel", body)


async def test_the_bodys_own_error_is_not_hidden() -> None:
    loss = Loss()

    async def body() -> None:
        loss.fire(REASON)
        raise KeyError("own")

    with pytest.raises(KeyError, match="own"):
        await run_body(loss, "cancel", body)


async def test_with_signal_the_body_goes_on() -> None:
    loss = Loss()

    async def body() -> None:
        loss.fire(REASON)
        assert await loss.wait() is REASON

    assert await run_body(loss, "signal", body) == "left normally"


async def test_a_cancellation_from_outside_is_not_taken_for_the_loss() -> None:
    loss = Loss()
    task = asyncio.create_task(run_body(loss, "cancel", asyncio.Event().wait))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_after_the_body_a_loss_is_nobodys_business() -> None:
    loss = Loss()
    assert await run_body(loss, "cancel", lambda: asyncio.sleep(0)) == "left normally"
    loss.fire(REASON)
    await asyncio.sleep(0)


async def test_a_loss_fires_once() -> None:
    loss = Loss()
    heard: list[LeaseLost] = []
    loss.tell(heard.append)
    loss.fire(REASON)
    loss.fire(LockLost("later"))
    loss.tell(heard.append)
    assert heard == [REASON, REASON]
    assert loss.is_lost


async def test_a_guarded_block_raises_the_loss() -> None:
    loss = Loss()
    asyncio.get_running_loop().call_soon(loss.fire, REASON)
    with pytest.raises(LockLost), guarding(loss):
        await asyncio.Event().wait()


async def test_a_guarded_block_passes_its_own_errors_on() -> None:
    with pytest.raises(KeyError), guarding(Loss()):
        raise KeyError("own")
    with guarding(Loss()):
        await asyncio.sleep(0)


def test_there_are_two_ways_to_hear_of_a_loss() -> None:
    check_on_loss("cancel")
    check_on_loss("signal")
    with pytest.raises(ValueError, match="on_loss must be 'cancel' or 'signal', not 'ignore'"):
        check_on_loss("ignore")
