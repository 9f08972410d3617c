"""The errors that this side finds by itself: nothing answered, time ran out, something held was lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from etcd_async.errors._base import EtcdError, caution


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a call: the endpoint it went to and why it failed there."""

    endpoint: str
    reason: str


class ClientClosed(EtcdError):
    """Raised when the client was closed before the call, or while it was under way."""

    def __init__(self, message: str = "the client is closed") -> None:
        super().__init__(message)


class Unavailable(EtcdError):
    """
    Raised when no endpoint gave an answer.

    Attributes:
        attempts: Every endpoint that was tried and why it failed, in order.
    """

    def __init__(self, attempts: Sequence[Attempt], *, maybe_applied: bool = False) -> None:
        self.attempts: tuple[Attempt, ...] = tuple(attempts)
        self.maybe_applied = maybe_applied
        super().__init__(self.attempts)

    def __str__(self) -> str:
        tried = "; ".join(f"{attempt.endpoint}: {attempt.reason}" for attempt in self.attempts)
        return f"no endpoint answered ({tried or 'none could be tried'}){caution(self)}"


class DeadlineExceeded(EtcdError, TimeoutError):
    """
    Raised when a call's timeout passed before its answer came.

    Attributes:
        attempts: What had failed until then, if anything.
    """

    def __init__(
        self, message: str = "the deadline passed", *, attempts: Sequence[Attempt] = (), maybe_applied: bool = False
    ) -> None:
        self.attempts: tuple[Attempt, ...] = tuple(attempts)
        self.maybe_applied = maybe_applied
        super().__init__(message)

    def __str__(self) -> str:
        tried = "; ".join(filter(None, map(self._told, self.attempts)))
        return f"{self.args[0]}{f' ({tried})' if tried else ''}{caution(self)}"

    def _told(self, attempt: Attempt) -> str:
        """Say nothing of *attempt* that the message says already."""
        message = self.args[0]
        if attempt.reason != message:
            return f"{attempt.endpoint}: {attempt.reason}"
        return "" if attempt.endpoint in message else attempt.endpoint


class ProtocolError(EtcdError):
    """Raised when the peer broke the rules of HTTP/2, gRPC or protobuf: is it etcd at all?"""


class ResponseTooLarge(EtcdError):
    """Raised when an answer is larger than the client's ``max_receive_bytes``: ask for less, or raise the limit."""


class WatchCanceled(EtcdError):
    """
    Raised from a watch that the server ended.

    Attributes:
        reason: The server's own words; may be empty.
    """

    def __init__(self, reason: str) -> None:
        self.reason: str = reason
        super().__init__(reason)

    def __str__(self) -> str:
        return f"the server canceled the watch: {self.reason or 'no reason given'}"


class LockTimeout(EtcdError, TimeoutError):
    """Raised when a lock or semaphore could not be had within its timeout; nothing of the attempt stays behind."""


class ElectionTimeout(EtcdError, TimeoutError):
    """Raised when a candidate did not win within its timeout; nothing of the attempt stays behind."""


class QueueTimeout(EtcdError, TimeoutError):
    """Raised when there was nothing to claim in a queue for the timeout; nothing of the attempt stays behind."""


class BarrierTimeout(EtcdError, TimeoutError):
    """Raised when a barrier stayed closed for the timeout; nothing of the attempt stays behind."""


class BarrierFull(EtcdError):
    """Raised when a double barrier has all its members, and until the last of them has left."""


class LimitMismatch(EtcdError):
    """Raised when a semaphore is in use with another limit, or a double barrier with another count, than given."""


class TooManyConflicts(EtcdError):
    """Raised when others changed what an STM transaction relied on at each of its attempts; it changed nothing."""


class KeyExists(EtcdError):
    """Raised when a name is taken: that which a key was to be moved to, or that of a barrier; nothing was changed."""


class NoInstance(EtcdError):
    """Raised when a resolver has no instance of its service to pick; the message says how many are not healthy."""


class ConfigError(EtcdError):
    """Raised when a configuration can't be read as one; the message names the key."""


class ConfigConflict(ConfigError):
    """Raised instead of overwriting what somebody else has written since; nothing was changed."""


class DecryptionFailed(EtcdError):
    """
    Raised when an encrypted value can't be opened: no key for it, changed, moved from another key, or not encrypted.

    Attributes:
        key: The key's full name, namespace included.
        reason: What is wrong with the value; nothing of its content.
    """

    def __init__(self, key: bytes, reason: str) -> None:
        super().__init__(key, reason)
        self.key: bytes = key
        self.reason: str = reason

    def __str__(self) -> str:
        return f"the value of {self.key!r} can't be decrypted: {self.reason}"


class KeyWornOut(EtcdError):
    """Raised instead of sealing more values with one encryption key than is safe: rotate it."""


class SnapshotCorrupt(EtcdError):
    """Raised when a snapshot did not arrive whole and as the server sent it: nothing of it is kept; take another."""


class LeaseLost(EtcdError):
    """Raised when a lease ended (expired or revoked) while this client was keeping it alive."""


class LockLost(LeaseLost):
    """Raised when a lock's (or semaphore's) lease or key was lost while it was held or waited for."""


class LeadershipLost(LeaseLost):
    """Raised when a leader's lease or key was lost during its term."""


class ClaimLost(LeaseLost):
    """Raised when the claim on a queue's item was lost before it was acknowledged: the item is handed out again."""


class BarrierLost(LeaseLost):
    """Raised when a double barrier's member lost its lease or key while it waited or was inside."""
