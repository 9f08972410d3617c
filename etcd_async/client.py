"""The client: how users reach everything else, and the one place where a client is put together and taken apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

from etcd_async import _arguments
from etcd_async._core import Core
from etcd_async._keys import to_bytes
from etcd_async._keyspace import Keyspace
from etcd_async._rpc import rpc
from etcd_async._transport import methods
from etcd_async._transport.caller import Caller
from etcd_async._transport.tasks import Tasks
from etcd_async.auth import Auth
from etcd_async.cluster import Cluster
from etcd_async.config import ConfigSource
from etcd_async.coordination import Coordination
from etcd_async.errors import ClientClosed
from etcd_async.kv import KV
from etcd_async.maintenance import Maintenance
from etcd_async.options import CLIENT_DEFAULT, DEFAULT_SERVICE_TTL, DEFAULT_TIMEOUT, TLS, Timeout, TransportOptions
from etcd_async.recipes.cache import Cache
from etcd_async.recipes.discovery import ServiceWatch, discover
from etcd_async.recipes.mirror import Mirror
from etcd_async.recipes.reencryption import Reencrypted, reencrypt
from etcd_async.recipes.registry import Registration
from etcd_async.recipes.resolver import Policy, Resolver
from etcd_async.servers import Servers
from etcd_async.services import Services
from etcd_async.types import Service

if TYPE_CHECKING:  # whoever passes one has imported it; the others need not wait for what it needs
    from etcd_async.crypto import Encryption
    from etcd_async.telemetry import Telemetry

__all__ = ["Client", "ClientOptions", "Namespace"]


class Namespace(Coordination):
    """
    Everything a client offers, under one prefix of the key space; made by ``client.namespaced(prefix)``.

    Keys, locks, elections, services and watches of a namespace are those whose keys start with the prefix; the prefix
    is added and removed by itself. It shares its client's connection, and ends with it.
    """

    def namespaced(self, prefix: str | bytes) -> Namespace:
        """Return a view on the same connection whose keys all lie under this one's prefix and *prefix*."""
        return Namespace(self._core, self._space.within(to_bytes(prefix, "prefix")))

    def register(self, service: Service, *, ttl: float = DEFAULT_SERVICE_TTL) -> Registration:
        """Make a `Registration` for ``async with``: gone when the block ends, or *ttl* seconds after a crash."""
        return Registration(self, service, ttl=ttl)

    async def discover(
        self,
        name: str,
        *,
        metadata: Mapping[str, str] | None = None,
        healthy_only: bool = False,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> list[Service]:
        """
        Return the instances of a service that are registered now, in the order of their ids.

        Args:
            name: The service.
            metadata: Only instances that have all of these.
            healthy_only: Leave out those that say of themselves that they are not.
            timeout: Seconds; None for no limit.
        """
        return await discover(self, name, metadata=metadata, healthy_only=healthy_only, timeout=timeout)

    def resolver(
        self, name: str, *, policy: Policy = "round_robin", metadata: Mapping[str, str] | None = None
    ) -> Resolver:
        """
        Make a `Resolver`: ``async with client.resolver("billing") as resolver: service = resolver.pick()``.

        *policy* is ``"round_robin"``, ``"random"`` or ``"least_recently_failed"``; *metadata* restricts the choice.
        """
        return Resolver(self, name, policy=policy, metadata=metadata)

    def watch_service(self, name: str) -> ServiceWatch:
        """Make a `ServiceWatch`: ``async with client.watch_service("billing") as changes`` tells who comes and goes."""
        return ServiceWatch(self, name)

    def config_source(self, name: str) -> ConfigSource:
        """Make a `ConfigSource`: the configuration *name*, one key per leaf under ``config/<name>/``."""
        return ConfigSource(self, name)

    def cache(self, *, prefix: str | bytes) -> Cache:
        """Make a `Cache`: ``async with client.cache(prefix="/a/") as cache`` holds the prefix in memory, up to date."""
        return Cache(self, prefix)

    def mirror(
        self,
        source_prefix: str | bytes,
        target_client: Services,
        target_prefix: str | bytes,
        *,
        checkpoint: str | bytes | None = None,
    ) -> Mirror:
        """
        Make a `Mirror`: ``async with client.mirror("/a/", other, "/copy/")`` copies a prefix and follows its changes.

        *checkpoint* is a key on the target that remembers how far the copy is, for the next mirror to go on from.
        """
        return Mirror(self, source_prefix, target_client, target_prefix, checkpoint=checkpoint)

    async def reencrypt(
        self,
        prefix: str | bytes = b"",
        *,
        after: str | bytes | None = None,
        progress: Callable[[Reencrypted], None] | None = None,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> Reencrypted:
        """
        Seal every encrypted value again that is not under the keyring's primary key; by default of all keys.

        Nobody's write is lost: a key that changes meanwhile is looked at again. Each rewritten key gets a new version
        and revision, and keeps its lease. Values that are not encrypted yet are taken with ``allow_plaintext=True``
        only. It passes over the keys until it finds nothing more to do, eight times at most, so have all writers use
        the new primary key first.

        Args:
            prefix: Which keys; those outside of the `Encryption`'s prefixes are left alone.
            after: The ``last_key`` of an earlier call that was interrupted, to go on from there.
            progress: Called about every 32 keys with how far it has come.
            timeout: Seconds for each request; None for no limit.

        Returns:
            What was done; ``unreadable`` names the keys that could not be opened, and were left as they are.

        Raises:
            EtcdError: Somebody goes on sealing with another key: even the last pass found such a value.
            RuntimeError: The client has no encryption.
        """
        encryption = self._space.cipher
        if encryption is None:
            raise RuntimeError("the client has no encryption: pass encryption= to Client")
        raw = KV(self._core, Keyspace(self._space.prefix))
        return await reencrypt(
            raw, self._space, encryption, prefix=prefix, after=after, progress=progress, timeout=timeout
        )

    async def rpc(self, path: str, message: Any, *, timeout: Timeout = CLIENT_DEFAULT) -> Any:
        """
        Call any RPC of etcd with its wire message, for what is not wrapped.

        Args:
            path: Such as ``"/etcdserverpb.KV/Range"``.
            message: The request, from `etcd_async.wire`. Its keys are the server's: no namespace is added.
            timeout: Seconds, for a stream until it is open; None for no limit.

        Returns:
            The wire message of the answer. For a streaming RPC an async iterator over its answers, which sends the one
            request when it is first asked; close it (`contextlib.aclosing`) to give the stream up early.
        """
        return await rpc(self._core, path, message, self._core.seconds(timeout))


class ClientOptions(TypedDict, total=False):
    """The keyword arguments of `Client`."""

    user: str | None
    password: str | None
    token: str | None
    tls: TLS | None
    namespace: str | bytes
    timeout: float | None
    encryption: Encryption | None
    transport: TransportOptions | None
    endpoint_sync: float | None
    telemetry: Telemetry | None


class Client(Namespace, Servers):
    """
    A client of one etcd cluster, for use by many tasks of one event loop.

    ``async with Client("localhost:2379") as client`` closes it at the end; so does `aclose`, from any task. The
    constructor does no I/O and needs no running loop: connections are made when the first call needs them. All calls,
    watches and leases share one HTTP/2 connection per endpoint.

    It runs on asyncio (its own loop or uvloop), not on trio.

    Args:
        endpoints: One or several of ``host``, ``host:port``, ``http://host:port``, ``https://host:port``,
            ``unix:///path``, ``unixs:///path``; commas separate several in one string. Port 2379 if none is given.
        user: Name to log in with; *password* goes with it.
        password: Never shown in a repr, an error or a log line.
        token: Sent with every call as it is, instead of logging in: a JWT that somebody else issued, say. It is never
            renewed (once it is refused, calls raise `InvalidAuthToken` or `AuthOldRevision`), and never shown either.
        tls: Certificates and how to verify the server's; used for https and unixs, and for endpoints without a scheme.
        namespace: Prefix of every key that this client reads and writes; added and removed by itself.
        timeout: Seconds that a call may take unless it is told otherwise; None for no limit.
        encryption: Which values to encrypt before they leave, and with which keys; see `etcd_async.crypto`.
        transport: Limits and times of connections.
        endpoint_sync: Seconds between two looks at where the members may be reached (`sync_endpoints`), from the first
            call on; None for never. Failures are logged, and change nothing.
        telemetry: Where traces and metrics of calls go; see `etcd_async.telemetry`.

    Attributes:
        auth: Users, roles and permissions of the cluster.
        cluster: Its members.
        maintenance: Work on its servers: status, alarms, snapshots and the like.
    """

    def __init__(
        self,
        endpoints: str | Sequence[str] = "localhost:2379",
        *,
        user: str | None = None,
        password: str | None = None,
        token: str | None = None,
        tls: TLS | None = None,
        namespace: str | bytes = b"",
        timeout: float | None = DEFAULT_TIMEOUT,
        encryption: Encryption | None = None,
        transport: TransportOptions | None = None,
        endpoint_sync: float | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        _arguments.check_default_timeout(timeout)
        _arguments.check_interval(endpoint_sync)
        prefix = to_bytes(namespace, "namespace")
        _arguments.check_kind("tls", tls, TLS, "a TLS")
        addresses = _arguments.parsed(endpoints, tls)
        _arguments.check_kind("transport", transport, TransportOptions, "a TransportOptions")
        _arguments.check_encryption(encryption, prefix)
        tasks = Tasks(self._crashed)
        if telemetry is not None and not hasattr(telemetry, "caller"):
            raise TypeError(f"telemetry must be a Telemetry, not {type(telemetry).__name__}")
        caller = (Caller if telemetry is None else telemetry.caller)(
            addresses,
            tls=tls,
            options=transport or TransportOptions(),
            credentials=_arguments.credentials(user, password),
            token=_arguments.own_token(token, user),
            tasks=tasks,
        )
        super().__init__(Core(caller, tasks, timeout), Keyspace(prefix, encryption))
        Servers.__init__(self, self._core, tls=tls, endpoint_sync=endpoint_sync)
        self.auth: Auth = Auth(self._core)
        self.cluster: Cluster = Cluster(self._core)
        self.maintenance: Maintenance = Maintenance(self._core)

    @classmethod
    async def connect(cls, endpoints: str | Sequence[str] = "localhost:2379", **options: Unpack[ClientOptions]) -> Self:
        """
        Make a client, reach a server and log in before returning it; close it with `aclose`.

        The arguments are those of the class.

        Raises:
            Unavailable: No endpoint answered; each with its reason.
            AuthFailed: User and password are not accepted.
        """
        client = cls(endpoints, **options)
        try:
            await client._core.caller.unary(methods.STATUS, b"", timeout=client._core.timeout)
            await client._core.caller.log_in(timeout=client._core.timeout)
        except BaseException:
            await client.aclose()
            raise
        return client

    async def aclose(self) -> None:
        """
        Close the client, from any task; harmless if it is closed.

        Calls under way, watches and leases end with `ClientClosed`; leases held by scopes are not revoked but run out,
        unless the scopes were left before.
        """
        await self._core.aclose()

    async def __aenter__(self) -> Self:
        if self._core.caller.roster.is_closed:
            raise ClientClosed
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<Client {self._core.caller!r}>"

    def _crashed(self, error: BaseException) -> None:
        reason = ClientClosed(f"the client closed itself because a task of its own failed: {error!r}")
        reason.__cause__ = error
        self._core.abandon(reason)
