"""Callers on a network of fakes, and how its endpoints fail."""

from collections.abc import Callable
from random import Random

from etcd_async import _codec
from etcd_async._pb.etcdserverpb import AuthenticateResponse
from etcd_async._protocol.endpoints import parse
from etcd_async._transport.caller import Caller
from etcd_async._transport.failure import AttemptFailed
from etcd_async._transport.metadata import COMMON_METADATA
from etcd_async.errors import (
    RpcError,
    StatusCode,
    error_for,
)
from etcd_async.options import Backoff, Credentials, TransportOptions

A, B, C = "http://a:1", "http://b:1", "http://c:1"
QUICK = Backoff(initial=0.0001, maximum=0.0002)
ROOT = Credentials("root", "very secret")


class Clock:
    """Time that stands still unless told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def caller_of(
    *endpoints: str,
    clock: Callable[[], float] | None = None,
    backoff: Backoff = QUICK,
    credentials: Credentials | None = None,
    options: TransportOptions | None = None,
) -> Caller:
    return Caller(
        [parse(each) for each in endpoints or (A,)],
        clock=clock or Clock(),
        backoff=backoff,
        credentials=credentials,
        options=options,
        random=Random(0),
    )


def refused(endpoint: str) -> AttemptFailed:
    return AttemptFailed(endpoint, "connection refused", sent=False)


def lost(endpoint: str) -> AttemptFailed:
    return AttemptFailed(endpoint, "connection lost", sent=True)


def no_leader() -> RpcError:
    return error_for(StatusCode.UNAVAILABLE, "etcdserver: no leader")


def stale() -> RpcError:
    return error_for(StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token")


def token(text: str) -> bytes:
    return _codec.encode(AuthenticateResponse(token=text))


def with_token(text: str) -> tuple[tuple[str, str], ...]:
    return (*COMMON_METADATA, ("token", text))
