"""What is known of leases."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LeaseGrant:
    """
    A lease as the server granted it.

    Attributes:
        id: Its id.
        ttl: Its term in whole seconds; may be longer than what was asked for (etcd has a minimum of about 2 s).
    """

    id: int
    ttl: int


@dataclass(frozen=True, slots=True)
class LeaseTimeToLive:
    """
    How a lease stands.

    Attributes:
        id: Its id.
        ttl: Seconds left; -1 if the lease does not exist.
        granted_ttl: The term it was granted for, in seconds; 0 if it does not exist.
        keys: The keys attached to it, if they were asked for.
    """

    id: int
    ttl: int
    granted_ttl: int = 0
    keys: tuple[bytes, ...] = ()
