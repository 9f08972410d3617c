"""
Real etcd servers, clusters and network faults for tests, on free ports of this machine.

    async with EtcdServer() as server, FaultProxy(server.endpoint) as proxy, Client(proxy.endpoint) as client:
        await client.put("/a", "1")
        proxy.blackhole("to_client")

Servers are real etcd, never an imitation: `find_binary` says where one is looked for. A server or a cluster is bound to
no event loop, so one started for a whole test session serves tests that each run in a loop of their own; a `FaultProxy`
belongs to the loop it was started in. The pytest plugin (`etcd_async.testing.plugin`, found by itself once the package
is installed) gives the fixtures ``etcd_server``, ``etcd_cluster`` and ``etcd_client``.

For POSIX systems: Windows has neither the signals nor the sockets that faults are made of.
"""

from etcd_async.testing.binary import EtcdBinaryNotFound, find_binary
from etcd_async.testing.cluster import EtcdCluster
from etcd_async.testing.ports import Ports
from etcd_async.testing.proxy import Direction, FaultProxy
from etcd_async.testing.server import EtcdServer, EtcdStartFailed

__all__ = [
    "Direction",
    "EtcdBinaryNotFound",
    "EtcdCluster",
    "EtcdServer",
    "EtcdStartFailed",
    "FaultProxy",
    "Ports",
    "find_binary",
]
