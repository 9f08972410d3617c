"""
The values that users build: operations and the compares of a transaction. Nothing here talks to a server.

    put("/a", "1")   get("/a")   range(prefix="/a/")   delete("/a")   txn(when=[...], then=[...], otherwise=[...])
    value("/a") == "1"   version("/a") > 0   mod_revision("/a") <= 7   create_revision("/a") == 0   lease_of("/a") != 0

The attributes of an operation carry the names of etcd's wire fields, so the codec can write them as they are.
"""

from etcd_async._home import adopt
from etcd_async.ops._builders import delete, get, put, range, txn
from etcd_async.ops._checks import at_least, lease_id, optional
from etcd_async.ops._compares import Subject, create_revision, lease_of, mod_revision, value, version
from etcd_async.ops._values import (
    Compare,
    CompareResult,
    CompareTarget,
    Delete,
    Get,
    HasId,
    LeaseLike,
    Op,
    Put,
    Range,
    SortBy,
    SortOrder,
    SortTarget,
    Txn,
)

__all__ = [
    "Compare",
    "CompareResult",
    "CompareTarget",
    "Delete",
    "Get",
    "HasId",
    "LeaseLike",
    "Op",
    "Put",
    "Range",
    "SortBy",
    "SortOrder",
    "SortTarget",
    "Subject",
    "Txn",
    "at_least",
    "create_revision",
    "delete",
    "get",
    "lease_id",
    "lease_of",
    "mod_revision",
    "optional",
    "put",
    "range",
    "txn",
    "value",
    "version",
]

adopt(__name__)
