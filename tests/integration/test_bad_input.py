"""
What is wrong in itself is refused before any I/O, by the name of the argument.

Nobody listens where the client points to, so a call that tried the network would end as `Unavailable`.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from etcd_async import (
    TLS,
    Client,
    DeadlineExceeded,
    Service,
    TransportOptions,
    Unavailable,
    create_revision,
    delete,
    get,
    lease_of,
    mod_revision,
    ops,
    put,
    txn,
    value,
    version,
)
from etcd_async.wire import PutRequest, RangeRequest

Act = Callable[[Any], Any]
Case = tuple[Act, type[Exception], str]

# What a program may call that no type checker has seen.
UNTYPED_CLIENT: Any = Client
UNTYPED_TXN: Any = txn


@pytest.fixture
async def nowhere(dead_endpoint: str) -> AsyncIterator[Client]:
    async with Client(dead_endpoint, timeout=5) as client:
        yield client


async def run(act: Act, client: Client) -> None:
    """Do *act* to its end: await what it returns, enter what can be entered, iterate over what can be iterated."""
    result = act(client)
    if isinstance(result, Awaitable):
        await result
    elif hasattr(result, "__aenter__"):
        async with result:
            pass
    elif hasattr(result, "__aiter__"):
        async for _ in result:
            pass


KEYS: dict[str, Case] = {
    "put: empty key": (lambda c: c.put("", "v"), ValueError, "key"),
    "put: key of a wrong type": (lambda c: c.put(3, "v"), TypeError, "key"),
    "put: no key": (lambda c: c.put(None, "v"), TypeError, "key"),
    "put: value of a wrong type": (lambda c: c.put("k", 3), TypeError, "value"),
    "put: no value": (lambda c: c.put("k", None), TypeError, "value"),
    "put: value although it is ignored": (lambda c: c.put("k", "v", ignore_value=True), ValueError, "value"),
    "put: lease although it is ignored": (lambda c: c.put("k", "v", lease=3, ignore_lease=True), ValueError, "lease"),
    "put: lease of a wrong type": (lambda c: c.put("k", "v", lease="3"), TypeError, "lease"),
    "put: true as a lease": (lambda c: c.put("k", "v", lease=True), TypeError, "lease"),
    "get: empty key": (lambda c: c.get(b""), ValueError, "key"),
    "get: key of a wrong type": (lambda c: c.get(["k"]), TypeError, "key"),
    "get: negative revision": (lambda c: c.get("k", revision=-1), ValueError, "revision"),
    "get: revision zero": (lambda c: c.get("k", revision=0), ValueError, "revision"),
    "get: revision of a wrong type": (lambda c: c.get("k", revision="1"), TypeError, "revision"),
    "get: a float as revision": (lambda c: c.get("k", revision=1.0), TypeError, "revision"),
    "exists: empty key": (lambda c: c.exists(""), ValueError, "key"),
    "range: nothing named": (lambda c: c.range(), ValueError, "prefix"),
    "range: prefix and start": (lambda c: c.range(prefix="a", start="b", end="c"), ValueError, "prefix"),
    "range: start alone": (lambda c: c.range(start="a"), ValueError, "end"),
    "range: end and from_key": (lambda c: c.range(start="a", end="b", from_key=True), ValueError, "from_key"),
    "range: prefix and end": (lambda c: c.range(prefix="a", end="b"), ValueError, "end"),
    "range: prefix and from_key": (lambda c: c.range(prefix="a", from_key=True), ValueError, "from_key"),
    "range: end before start": (lambda c: c.range(start="b", end="a"), ValueError, "end"),
    "range: prefix of a wrong type": (lambda c: c.range(prefix=3), TypeError, "prefix"),
    "range: start of a wrong type": (lambda c: c.range(start=3, end="a"), TypeError, "start"),
    "range: end of a wrong type": (lambda c: c.range(start="a", end=3), TypeError, "end"),
    "range: negative limit": (lambda c: c.range(prefix="", limit=-1), ValueError, "limit"),
    "range: limit zero": (lambda c: c.range(prefix="", limit=0), ValueError, "limit"),
    "range: limit of a wrong type": (lambda c: c.range(prefix="", limit="1"), TypeError, "limit"),
    "range: unknown order": (lambda c: c.range(prefix="", sort_by="size"), ValueError, "sort_by"),
    "range: negative revision": (lambda c: c.range(prefix="", revision=-1), ValueError, "revision"),
    "range: negative filter": (lambda c: c.range(prefix="", min_mod_revision=-1), ValueError, "min_mod_revision"),
    "range: filter of a wrong type": (
        lambda c: c.range(prefix="", max_mod_revision="1"),
        TypeError,
        "max_mod_revision",
    ),
    "scan: nothing named": (lambda c: c.scan(), ValueError, "prefix"),
    "scan: empty pages": (lambda c: c.scan(prefix="", page_size=0), ValueError, "page_size"),
    "scan: pages of a wrong type": (lambda c: c.scan(prefix="", page_size="1"), TypeError, "page_size"),
    "delete: nothing named": (lambda c: c.delete(), ValueError, "key"),
    "delete: key and prefix": (lambda c: c.delete("k", prefix="p"), ValueError, "prefix"),
    "delete: empty key": (lambda c: c.delete(""), ValueError, "key"),
    "count: nothing named": (lambda c: c.count(), ValueError, "prefix"),
    "keys: negative limit": (lambda c: c.keys(limit=-1), ValueError, "limit"),
    "keys: pattern of a wrong type": (lambda c: c.keys(match=3), TypeError, "match"),
    "keys: prefix of a wrong type": (lambda c: c.keys(prefix=3), TypeError, "prefix"),
    "put_if_absent: empty key": (lambda c: c.put_if_absent("", "v"), ValueError, "key"),
    "compare_and_swap: empty key": (lambda c: c.compare_and_swap("", "a", "b"), ValueError, "key"),
    "compare_and_swap: a number": (lambda c: c.compare_and_swap("k", 1, "b"), TypeError, "value"),
    "replace: no revision": (lambda c: c.replace("k", "v", mod_revision=0), ValueError, "mod_revision"),
    "replace: none as revision": (lambda c: c.replace("k", "v", mod_revision=None), TypeError, "mod_revision"),
    "move: empty source": (lambda c: c.move("", "b"), ValueError, "old"),
    "move: empty target": (lambda c: c.move("a", ""), ValueError, "new"),
    "move: target of a wrong type": (lambda c: c.move("a", 3), TypeError, "new"),
    "put_many: empty key": (lambda c: c.put_many({"a": "v", "": "v"}), ValueError, "key"),
    "put_many: value of a wrong type": (lambda c: c.put_many({"a": 3}), TypeError, "value"),
    "put_many: no mapping": (lambda c: c.put_many([("a", "v")]), TypeError, "items"),
    "delete_many: one key": (lambda c: c.delete_many("abc"), TypeError, "keys"),
    "delete_many: key of a wrong type": (lambda c: c.delete_many(["a", 3]), TypeError, "key"),
    "delete_many: no collection": (lambda c: c.delete_many(3), TypeError, "keys"),
    "compact: revision zero": (lambda c: c.compact(0), ValueError, "revision"),
    "compact: negative revision": (lambda c: c.compact(-1), ValueError, "revision"),
    "compact: revision of a wrong type": (lambda c: c.compact("1"), TypeError, "revision"),
    "compact: none as revision": (lambda c: c.compact(None), TypeError, "revision"),
    "get: timeout of a wrong type": (lambda c: c.get("k", timeout="5"), TypeError, "timeout"),
    "put: a timeout that is no number": (lambda c: c.put("k", "v", timeout=math.nan), ValueError, "timeout"),
}

TRANSACTIONS: dict[str, Case] = {
    "do: no operation": (lambda c: c.do("put"), TypeError, "op"),
    "txn: a compare that was compared away": (lambda c: c.txn(when=[True]), TypeError, "when"),
    "txn: half a compare": (lambda c: c.txn(when=[value("k")]), TypeError, "when"),
    "txn: text for an operation": (lambda c: c.txn(then=["put"]), TypeError, "then"),
    "txn: a compare for an operation": (lambda c: c.txn(otherwise=[value("k") == "v"]), TypeError, "otherwise"),
    "txn: one operation without a list": (lambda c: c.txn(then=put("k", "v")), TypeError, "then"),
    "txn: one compare without a list": (lambda c: c.txn(when=version("k") == 1), TypeError, "when"),
    "txn: none for a list": (lambda c: c.txn(when=None), TypeError, "when"),
    "stm: no function": (lambda c: c.stm(None), TypeError, "function"),
    "stm: a function that is not async": (lambda c: c.stm(lambda t: t.put("k", "v")), TypeError, "async function"),
    "stm: one key to be read ahead": (lambda c: c.stm(print, prefetch="k"), TypeError, "prefetch"),
    "stm: a number to be read ahead": (lambda c: c.stm(print, prefetch=3), TypeError, "prefetch"),
    "nested: text for an operation": (lambda c: c.txn(then=[UNTYPED_TXN(then=["put"])]), TypeError, "then"),
    "value: order of values": (lambda _: value("k") >= "v", TypeError, ">="),
    "value: a number": (lambda _: value("k") == 3, TypeError, "value"),
    "value: no key": (lambda _: value(), ValueError, "key"),
    "value: key and prefix": (lambda _: value("k", prefix="p"), ValueError, "prefix"),
    "value: empty key": (lambda _: value(""), ValueError, "key"),
    "value: as a condition": (lambda _: bool(value("k")), TypeError, "compare"),
    "version: text": (lambda _: version("k") == "1", TypeError, "version"),
    "version: true": (lambda _: version("k") > True, TypeError, "version"),
    "create_revision: a float": (lambda _: create_revision("k") < 1.5, TypeError, "int"),
    "mod_revision: none": (lambda _: mod_revision("k") <= None, TypeError, "int"),
    "lease_of: text": (lambda _: lease_of("k") == "1", TypeError, "lease"),
    "put: empty key": (lambda _: put("", "v"), ValueError, "key"),
    "get: negative revision": (lambda _: get("k", revision=-1), ValueError, "revision"),
    "delete: nothing named": (lambda _: delete(), ValueError, "key"),
    "range: negative limit": (lambda _: ops.range(prefix="", limit=-1), ValueError, "limit"),
}

LEASES_AND_WATCHES: dict[str, Case] = {
    "grant: no term": (lambda c: c.leases.grant(0), ValueError, "ttl"),
    "grant: negative term": (lambda c: c.leases.grant(-5), ValueError, "ttl"),
    "grant: endless term": (lambda c: c.leases.grant(math.inf), ValueError, "ttl"),
    "grant: a term that is no number": (lambda c: c.leases.grant(math.nan), ValueError, "ttl"),
    "grant: term of a wrong type": (lambda c: c.leases.grant("5"), TypeError, "ttl"),
    "grant: id zero": (lambda c: c.leases.grant(5, id=0), ValueError, "id"),
    "grant: negative id": (lambda c: c.leases.grant(5, id=-1), ValueError, "id"),
    "grant: id past 63 bits": (lambda c: c.leases.grant(5, id=2**63), ValueError, "id"),
    "grant: id of a wrong type": (lambda c: c.leases.grant(5, id="7"), TypeError, "id"),
    "revoke: id of a wrong type": (lambda c: c.leases.revoke("7"), TypeError, "lease"),
    "revoke: no id": (lambda c: c.leases.revoke(None), TypeError, "lease"),
    "keep_alive_once: id of a wrong type": (lambda c: c.leases.keep_alive_once("7"), TypeError, "lease"),
    "time_to_live: id of a wrong type": (lambda c: c.leases.time_to_live(7.0), TypeError, "lease"),
    "lease: no term": (lambda c: c.lease(0), ValueError, "ttl"),
    "lease: term of a wrong type": (lambda c: c.lease("5"), TypeError, "ttl"),
    "lease: unknown way to hear of a loss": (lambda c: c.lease(5, on_loss="ignore"), ValueError, "on_loss"),
    "watch: nothing named": (lambda c: c.watch(), ValueError, "key"),
    "watch: empty key": (lambda c: c.watch(""), ValueError, "key"),
    "watch: key and prefix": (lambda c: c.watch("k", prefix="p"), ValueError, "prefix"),
    "watch: start alone": (lambda c: c.watch(start="a"), ValueError, "end"),
    "watch: negative revision": (lambda c: c.watch("k", start_revision=-1), ValueError, "start_revision"),
    "watch: revision zero": (lambda c: c.watch("k", start_revision=0), ValueError, "start_revision"),
    "watch: unknown filter": (lambda c: c.watch("k", filters=["no_get"]), ValueError, "filters"),
    "watch: one filter without a list": (lambda c: c.watch("k", filters="no_put"), ValueError, "filters"),
    "watch: no buffer": (lambda c: c.watch("k", buffer=0), ValueError, "buffer"),
    "watch: buffer of a wrong type": (lambda c: c.watch("k", buffer="1"), TypeError, "buffer"),
}


def named(name: Any = "billing", id: Any = "1", address: Any = "a:1", metadata: Any = None) -> Service:
    return Service(name=name, id=id, address=address, metadata={} if metadata is None else metadata)


SCOPES: dict[str, Case] = {
    "lock: empty name": (lambda c: c.lock(""), ValueError, "name"),
    "lock: name of a wrong type": (lambda c: c.lock(3), TypeError, "name"),
    "lock: no term": (lambda c: c.lock("x", ttl=0), ValueError, "ttl"),
    "lock: negative timeout": (lambda c: c.lock("x", timeout=-1), ValueError, "timeout"),
    "lock: timeout of a wrong type": (lambda c: c.lock("x", timeout="1"), TypeError, "timeout"),
    "lock: unknown way to hear of a loss": (lambda c: c.lock("x", on_loss="ignore"), ValueError, "on_loss"),
    "election: empty name": (lambda c: c.election(""), ValueError, "name"),
    "election: identity of a wrong type": (lambda c: c.election("e", identity=3), TypeError, "identity"),
    "election: term of a wrong type": (lambda c: c.election("e", ttl="1"), TypeError, "ttl"),
    "campaign: timeout of a wrong type": (lambda c: c.election("e").campaign(timeout="1"), TypeError, "timeout"),
    "campaign: negative timeout": (lambda c: c.election("e").campaign(timeout=-1), ValueError, "timeout"),
    "campaign: unknown way to hear": (lambda c: c.election("e").campaign(on_loss="ignore"), ValueError, "on_loss"),
    "register: no service": (lambda c: c.register("billing"), TypeError, "service"),
    "register: empty name": (lambda c: c.register(named(name="")), ValueError, "name"),
    "register: slash in the name": (lambda c: c.register(named(name="a/b")), ValueError, "name"),
    "register: name of a wrong type": (lambda c: c.register(named(name=b"a")), TypeError, "name"),
    "register: empty id": (lambda c: c.register(named(id="")), ValueError, "id"),
    "register: slash in the id": (lambda c: c.register(named(id="a/b")), ValueError, "id"),
    "register: id of a wrong type": (lambda c: c.register(named(id=7)), TypeError, "id"),
    "register: empty address": (lambda c: c.register(named(address="")), ValueError, "address"),
    "register: address of a wrong type": (lambda c: c.register(named(address=7)), TypeError, "address"),
    "register: metadata of a wrong type": (lambda c: c.register(named(metadata=["a"])), TypeError, "metadata"),
    "register: a number in the metadata": (lambda c: c.register(named(metadata={"a": 1})), TypeError, "metadata"),
    "register: no term": (lambda c: c.register(named(), ttl=0), ValueError, "ttl"),
    "discover: empty name": (lambda c: c.discover(""), ValueError, "name"),
    "discover: slash in the name": (lambda c: c.discover("a/b"), ValueError, "name"),
    "discover: name of a wrong type": (lambda c: c.discover(3), TypeError, "name"),
    "watch_service: empty name": (lambda c: c.watch_service(""), ValueError, "name"),
    "namespaced: prefix of a wrong type": (lambda c: c.namespaced(3), TypeError, "prefix"),
    "rpc: unknown path": (lambda c: c.rpc("/etcdserverpb.KV/Nothing", RangeRequest()), ValueError, "path"),
    "rpc: path that is a list": (lambda c: c.rpc([], RangeRequest()), ValueError, "path"),
    "rpc: path of a wrong type": (lambda c: c.rpc(3, RangeRequest()), ValueError, "path"),
    "rpc: another RPC's message": (lambda c: c.rpc("/etcdserverpb.KV/Range", PutRequest()), TypeError, "message"),
}

CLIENTS: dict[str, Case] = {
    "no endpoint": (lambda _: UNTYPED_CLIENT([]), ValueError, "endpoints"),
    "empty endpoint": (lambda _: UNTYPED_CLIENT(""), ValueError, "endpoint"),
    "an empty one among several": (lambda _: UNTYPED_CLIENT("h1:2379,,h2:2379"), ValueError, "endpoint"),
    "endpoints of a wrong type": (lambda _: UNTYPED_CLIENT(2379), TypeError, "endpoints"),
    "endpoint of a wrong type": (lambda _: UNTYPED_CLIENT([2379]), TypeError, "endpoint"),
    "unknown scheme": (lambda _: UNTYPED_CLIENT("ftp://h:2379"), ValueError, "ftp://h:2379"),
    "port that is no number": (lambda _: UNTYPED_CLIENT("http://h:etcd"), ValueError, "http://h:etcd"),
    "port out of range": (lambda _: UNTYPED_CLIENT("http://h:99999"), ValueError, "http://h:99999"),
    "path in the endpoint": (lambda _: UNTYPED_CLIENT("http://h:2379/v3"), ValueError, "http://h:2379/v3"),
    "user without password": (lambda _: UNTYPED_CLIENT("h", user="root"), ValueError, "password"),
    "password without user": (lambda _: UNTYPED_CLIENT("h", password="pw"), ValueError, "user"),
    "namespace of a wrong type": (lambda _: UNTYPED_CLIENT("h", namespace=3), TypeError, "namespace"),
    "timeout zero": (lambda _: UNTYPED_CLIENT("h", timeout=0), ValueError, "timeout"),
    "negative timeout": (lambda _: UNTYPED_CLIENT("h", timeout=-1), ValueError, "timeout"),
    "timeout of a wrong type": (lambda _: UNTYPED_CLIENT("h", timeout="5"), TypeError, "timeout"),
    "certificate without key": (lambda _: TLS(cert="cert.pem"), ValueError, "key"),
    "key without certificate": (lambda _: TLS(key="key.pem"), ValueError, "cert"),
    "tls for a plain endpoint": (lambda _: UNTYPED_CLIENT("http://h:2379", tls=TLS()), ValueError, "tls"),
    "tls of a wrong type": (lambda _: UNTYPED_CLIENT("https://h:2379", tls="ca.pem"), TypeError, "tls"),
    "pings that etcd punishes": (lambda _: TransportOptions(ping_interval=1), ValueError, "ping_interval"),
    "no send limit": (lambda _: TransportOptions(max_send_bytes=0), ValueError, "max_send_bytes"),
    "window too large": (lambda _: TransportOptions(connection_window=2**31), ValueError, "connection_window"),
}


def cases(table: dict[str, Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("act", "error", "name"), list(table.values()), ids=list(table))


@cases(KEYS)
async def test_bad_input_to_a_call_on_keys_is_refused_by_name(
    nowhere: Client, act: Act, error: type[Exception], name: str
) -> None:
    with pytest.raises(error, match=name):
        await run(act, nowhere)


@cases(TRANSACTIONS)
async def test_bad_input_to_a_transaction_is_refused_by_name(
    nowhere: Client, act: Act, error: type[Exception], name: str
) -> None:
    with pytest.raises(error, match=name):
        await run(act, nowhere)


@cases(LEASES_AND_WATCHES)
async def test_bad_input_to_a_lease_or_watch_is_refused_by_name(
    nowhere: Client, act: Act, error: type[Exception], name: str
) -> None:
    with pytest.raises(error, match=name):
        await run(act, nowhere)


@cases(SCOPES)
async def test_bad_input_to_a_recipe_is_refused_by_name(
    nowhere: Client, act: Act, error: type[Exception], name: str
) -> None:
    with pytest.raises(error, match=name):
        await run(act, nowhere)


@cases(CLIENTS)
def test_bad_options_are_refused_by_name_before_there_is_a_client(act: Act, error: type[Exception], name: str) -> None:
    with pytest.raises(error, match=name):
        act(None)


GOOD: dict[str, Act] = {
    "get": lambda c: c.get("k"),
    "txn": lambda c: c.txn(when=[version("k") >= 1], then=[put("k", "v")]),
    "scan": lambda c: c.scan(prefix=""),
    "lease": lambda c: c.lease(5),
    "watch": lambda c: c.watch("k", timeout=60),
    "lock": lambda c: c.lock("x"),
    "campaign": lambda c: c.election("e").campaign(),
    "register": lambda c: c.register(named()),
    "discover": lambda c: c.discover("billing"),
    "watch_service": lambda c: c.watch_service("billing"),
    "rpc": lambda c: c.rpc("/etcdserverpb.KV/Range", RangeRequest(key=b"k")),
}


@pytest.mark.parametrize("act", list(GOOD.values()), ids=list(GOOD))
async def test_good_input_gets_as_far_as_the_network(dead_endpoint: str, act: Act) -> None:
    async with Client(dead_endpoint, timeout=0.5) as client:
        with pytest.raises((Unavailable, DeadlineExceeded), match=dead_endpoint):
            await run(act, client)
