"""Software transactional memory: an async function that reads and writes keys, run until nobody came in between."""

from etcd_async._home import adopt
from etcd_async.recipes.stm._run import StmResult, run
from etcd_async.recipes.stm._transaction import Isolation, Transaction

__all__ = ["Isolation", "StmResult", "Transaction", "run"]

adopt(__name__)
