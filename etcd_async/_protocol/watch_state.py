"""One watch as its machine knows it, and what a refused creation means for it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from etcd_async._codec.responses import WatchResponse
from etcd_async._pb.etcdserverpb import WatchCreateRequest
from etcd_async._protocol.cursor import Cursor
from etcd_async._protocol.retry import MAX_STALE, Outcome, classify
from etcd_async.errors import (
    EtcdError,
    PermissionDenied,
    RpcError,
    StatusCode,
    error_for,
    error_for_cancel_reason,
)

MAX_REFUSALS: Final = MAX_STALE
"""Creations refused in a row, each on a stream of its own, until a stale token counts as final."""

_NOT_FINAL = frozenset({Outcome.STALE_TOKEN, Outcome.NOT_SERVED, Outcome.WRONG_MEMBER, Outcome.UNSURE})


class State(enum.Enum):
    """Where a watch stands; the drawing is in `watch`."""

    PENDING = "to be created"
    CREATING = "creation not yet answered"
    ACTIVE = "created"
    PAUSED = "not wanted for now"


@dataclass(slots=True, eq=False)
class WatchState:
    """
    One watch.

    Attributes:
        handle: What its user calls it.
        request: As it was asked for.
        cursor: How far it has come.
        state: Where it stands.
        wire_id: The server's name for it, in the latest creation.
        starts_at: The start that the latest creation asked for.
        created_at: The store's revision in the answer to it.
        stale_answers: How many answers about the whole stream may be yet to come that are older than it.
        refusals: Of its creation, in a row.
    """

    handle: int
    request: WatchCreateRequest
    cursor: Cursor
    state: State = State.PENDING
    wire_id: int = 0
    starts_at: int = 0
    created_at: int = 0
    stale_answers: int = 0
    refusals: int = 0

    @property
    def is_in_step(self) -> bool:
        """Whether news of the whole stream concern it: it is created, and not in the midst of a revision."""
        return self.state is State.ACTIVE and not self.cursor.is_amid_revision

    def refused(self, response: WatchResponse, *, has_user: bool) -> tuple[EtcdError, RpcError | None]:
        """
        Return why its creation was refused, and the reason to try on another stream, if there is one.

        Args:
            response: The refusal.
            has_user: The client can log in again.
        """
        error = error_for_cancel_reason(response.cancel_reason, response.compact_revision)
        if has_user and isinstance(error, PermissionDenied) and not self.refusals:
            # etcd before 3.5.6 says so to a stale token, too (https://github.com/etcd-io/etcd/pull/14547): only what is
            # denied again after a new login is denied.
            error = error_for(StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token")
        may_pass = isinstance(error, RpcError) and classify(error) in _NOT_FINAL and self.refusals < MAX_REFUSALS
        return error, error if may_pass and isinstance(error, RpcError) else None
