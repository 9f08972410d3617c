import anyio
import pytest

from etcd_async import (
    ClientClosed,
    DeadlineExceeded,
    EtcdError,
    NoSpace,
    PermissionDenied,
    RequestTooLarge,
    StatusCode,
    Unavailable,
)
from etcd_async.recipes import _patience
from etcd_async.recipes._patience import Pauses, is_transient


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (Unavailable([]), True),
        (DeadlineExceeded(), True),
        (NoSpace(StatusCode.RESOURCE_EXHAUSTED, ""), True),
        (RequestTooLarge(StatusCode.RESOURCE_EXHAUSTED, "grpc: received message larger than max"), False),
        (PermissionDenied(StatusCode.PERMISSION_DENIED, ""), False),
        (ClientClosed(), False),
    ],
)
def test_what_is_worth_waiting_out(error: EtcdError, passes: bool) -> None:
    assert is_transient(error) is passes


async def test_pauses_grow_to_a_limit_until_a_try_went_well(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(anyio, "sleep", sleep)
    monkeypatch.setattr(_patience.random, "uniform", lambda low, high: 1.0)  # type: ignore[attr-defined]
    pauses = Pauses()
    for _ in range(12):
        await pauses.pause()
    assert slept == sorted(slept)
    assert slept[0] == 0.1
    assert slept[-1] == slept[-2] == 2.0
    pauses.reset()
    await pauses.pause()
    assert slept[-1] == 0.1
