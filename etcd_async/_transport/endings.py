"""What the ends of duplex streams in a row say: may another stream fare better?"""

from __future__ import annotations

from typing import Final

from etcd_async._protocol.retry import Outcome, classify
from etcd_async._transport.caller import Caller
from etcd_async.errors import ClientClosed, EtcdError, PermissionDenied, ProtocolError, RpcError, StatusCode

MAX_PROTOCOL_ERRORS: Final = 3  # streams in a row that talked nonsense, until the peer is taken for no etcd at all
MAX_REFUSALS: Final = 4  # streams in a row that were refused for what may pass: users and roles that just changed, say

_EVERYWHERE = frozenset({StatusCode.PERMISSION_DENIED, StatusCode.UNIMPLEMENTED})


class Endings:
    """
    The ends of the streams of one machine since one said something sensible.

    A closed client and a refused login are final at once; that permission is denied or the method unknown, once each
    endpoint has said so (and after a new login); any other refusal, and nonsense, after a few times in a row. All else
    is overcome, for as long as it takes.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._refusals = self._nonsense = 0

    def heard(self) -> None:
        """Begin anew: the stream said something sensible."""
        self._refusals = self._nonsense = 0

    def is_final(self, error: EtcdError, *, was_open: bool) -> bool:
        """Count the end of a stream, or of the attempt to open one, and return whether no other would fare better."""
        if isinstance(error, RpcError):
            if not self._is_refusal(error):
                return False
            self._refusals += 1
            return not was_open or self._refusals >= self._max_refusals(error)
        if isinstance(error, ProtocolError):
            self._nonsense += 1
            return self._nonsense >= MAX_PROTOCOL_ERRORS
        return isinstance(error, ClientClosed)

    def asks_for_login(self, error: EtcdError) -> bool:
        """Return whether *error* may be due to an old token: etcd does not always say so (before 3.5.6)."""
        return isinstance(error, PermissionDenied) and self._caller.has_user

    def _is_refusal(self, error: RpcError) -> bool:
        outcome = classify(error)
        return outcome is Outcome.REFUSED or (outcome is Outcome.STALE_TOKEN and not self._caller.has_user)

    def _max_refusals(self, error: RpcError) -> int:
        if error.code not in _EVERYWHERE:
            return MAX_REFUSALS
        return len(self._caller.addresses()) + self.asks_for_login(error)
