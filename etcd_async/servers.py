"""What a client sees of its servers, and where it looks for them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from etcd_async._arguments import parsed
from etcd_async._core import Core
from etcd_async._sync import EndpointSync
from etcd_async.options import CLIENT_DEFAULT, TLS, Timeout
from etcd_async.types import ClientState

__all__ = ["Servers"]


class Servers:
    """The part of a `Client` that concerns its endpoints and their state."""

    def __init__(self, core: Core, *, tls: TLS | None, endpoint_sync: float | None) -> None:
        self._tls = tls
        self._servers = core
        self._sync = EndpointSync(core, is_secure=tls is not None)
        if endpoint_sync is not None:
            core.caller.roster.when_used(lambda: self._sync.start(endpoint_sync))

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Where calls may go now."""
        return tuple(endpoint.text for endpoint in self._servers.caller.addresses())

    @property
    def state(self) -> ClientState:
        """What the client sees of each endpoint now: connected or not, healthy or failing, since when and why."""
        return ClientState(self._servers.caller.endpoints())

    async def state_changes(self) -> AsyncIterator[ClientState]:
        """
        Yield the present state, and then each other one that it changes to; the newest only, if several came at once.

        Raises:
            ClientClosed: The client was closed.
        """
        seen: ClientState | None = None
        while True:
            state = self.state
            if state != seen:
                yield state
                seen = state
            else:
                await self._servers.caller.roster.change()

    def set_endpoints(self, endpoints: str | Sequence[str]) -> None:
        """
        Let calls go to these endpoints from now on.

        What is under way at others may end there within some seconds; watches and keep-alives then go on at the new
        ones, and lose nothing.

        Args:
            endpoints: One or several, as `Client` takes them.

        Raises:
            ValueError: One of them can't be read, or there are none.
        """
        self._servers.caller.set_endpoints(parsed(endpoints, self._tls))

    async def sync_endpoints(self, *, timeout: Timeout = CLIENT_DEFAULT) -> tuple[str, ...]:
        """
        Ask the cluster where its members may be reached, and let calls go there from now on.

        Learners and members that have not started are left out. A URL that is not in use yet is taken only if a member
        of the same cluster answers there; if none of the advertised ones can be reached, as is the case where they are
        meant for another network, everything stays as it is. A client that uses TLS everywhere takes no plain URLs.

        Args:
            timeout: Seconds for the answer; finding out what can be reached may take 2 s more.

        Returns:
            The endpoints in use now.

        Raises:
            Unavailable: Nobody answered, or nobody where the members say; nothing was changed.
            EtcdError: The members advertise no endpoint that this client may use; nothing was changed.
        """
        await self._sync.once(self._servers.seconds(timeout))
        return self.endpoints
