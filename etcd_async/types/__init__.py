"""
The values that calls return: frozen, slotted, and never a wire message.

Keys and values are always ``bytes``; revisions, versions and ids are ``int``; etcd's revision 0 means "none".
"""

from etcd_async._home import adopt
from etcd_async.types._client import ClientState, EndpointState
from etcd_async.types._kv import DeleteResult, KeyValue, OpResult, PutResult, RangeResult, TxnResult, UnreadableKeyValue
from etcd_async.types._lease import LeaseGrant, LeaseTimeToLive
from etcd_async.types._service import Service, ServiceChange
from etcd_async.types._watch import Batch, Event, EventType

__all__ = [
    "Batch",
    "ClientState",
    "DeleteResult",
    "EndpointState",
    "Event",
    "EventType",
    "KeyValue",
    "LeaseGrant",
    "LeaseTimeToLive",
    "OpResult",
    "PutResult",
    "RangeResult",
    "Service",
    "ServiceChange",
    "TxnResult",
    "UnreadableKeyValue",
]

adopt(__name__)
