"""Leases: by their ids (`Leases`), and as scopes that keep them alive and end with them (`Lease`)."""

from etcd_async._home import adopt
from etcd_async.lease._leases import Leases, check_ttl
from etcd_async.lease._scope import Lease

__all__ = ["Lease", "Leases", "check_ttl"]

adopt(__name__)
