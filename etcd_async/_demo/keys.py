"""The steps about keys: reading and writing them, transactions, and watching them change."""

from __future__ import annotations

import json

from etcd_async import KeyValue, delete, get, put, value, version
from etcd_async._demo.stage import Tour, expect, names, words

__all__ = ["decide_in_transactions", "list_keys", "put_and_get", "watch_settings"]


async def put_and_get(tour: Tour) -> None:
    """Write a key, read it, overwrite it, and read what it was."""
    client, out = tour.client, tour.out
    out.step("Put, get, overwrite", "Each write makes a new revision of the whole store, and old ones can be read.")

    first = await client.put("greeting", "hello")
    out.show('put("greeting", "hello")', f"revision {first.revision}")
    out.show('get("greeting")', words(await client.get("greeting")), expect='"hello", version 1')

    second = await client.put("greeting", "hello again", prev_kv=True)
    out.show('put("greeting", "hello again", prev_kv=True)', f"revision {second.revision}, was {words(second.prev_kv)}")
    expect(second.prev_kv is not None and second.prev_kv.text() == "hello", "the put tells the value before it")

    before = await client.get("greeting", revision=first.revision)
    out.show(f'get("greeting", revision={first.revision})', words(before), expect='"hello", version 1')
    out.show('get("missing")', words(await client.get("missing")), expect="None")


async def list_keys(tour: Tour) -> None:
    """Write many keys at one revision, and list them in several ways."""
    client, out = tour.client, tour.out
    out.step("Many keys", "One request reads a range of keys, all at the same revision.")

    fruits = {f"fruit/{name}": "fresh" for name in ("apple", "banana", "cherry", "date", "elderberry")}
    written = await client.put_many(fruits)
    out.show("put_many({...})", f"{len(fruits)} keys at revision {written.revision}")

    page = await client.range(prefix="fruit/", limit=3)
    out.show('range(prefix="fruit/", limit=3)', names(kv.key for kv in page), expect="apple banana cherry")
    out.show("... .count, .more", (page.count, page.more), expect=(5, True))

    last = await client.range(prefix="fruit/", sort_by="key", descending=True, limit=1)
    out.show("range(..., descending=True, limit=1)", names(kv.key for kv in last), expect="elderberry")
    out.show('count(prefix="fruit/")', await client.count(prefix="fruit/"), expect=5)
    matching = await client.keys(prefix="fruit/", match="*rry")
    out.show('keys(prefix="fruit/", match="*rry")', names(matching), expect="cherry elderberry")

    deleted = await client.delete(prefix="fruit/")
    out.show('delete(prefix="fruit/")', f"{deleted.deleted} deleted", expect="5 deleted")


async def decide_in_transactions(tour: Tour) -> None:
    """Let etcd compare and write in one atomic step."""
    client, out = tour.client, tour.out
    out.step("Transactions", "Conditions and writes are one atomic step: if all hold `then` runs, else `otherwise`.")
    await client.put("stock/apples", "3")

    sold = await client.txn(
        when=[value("stock/apples") == "3", version("orders/1") == 0],
        then=[put("stock/apples", "2"), put("orders/1", "one apple")],
        otherwise=[get("stock/apples")],
    )
    out.show("if apples == 3 and no order 1: sell one", f"sold: {sold.succeeded}", expect="sold: True")

    again = await client.txn(
        when=[value("stock/apples") == "3"], then=[delete("stock/apples")], otherwise=[get("stock/apples")]
    )
    out.show("if apples == 3: delete, else: get", f"deleted: {again.succeeded}", expect="deleted: False")
    (found,) = again.results
    out.show("... what the get found", words(found if isinstance(found, KeyValue) else None), expect='"2", version 2')

    swapped = await client.compare_and_swap("stock/apples", "2", "1")
    out.show('compare_and_swap("stock/apples", "2", "1")', swapped, expect=True)
    swapped = await client.compare_and_swap("stock/apples", "2", "1")
    out.show("the same once more", swapped, expect=False)


async def watch_settings(tour: Tour) -> None:
    """See a JSON setting change as it happens."""
    client, out = tour.client, tour.out
    out.step("Watch", "A watch tells each change once and in order, also through lost connections.")

    async with client.watch("config/runtime") as watch:
        for settings in ({"feature": "beta", "rate": 10}, {"feature": "beta", "rate": 50}):
            await client.put("config/runtime", json.dumps(settings))
            event = await anext(watch)
            kind = "created" if event.is_create else "modified"
            out.show(f"{kind} at revision {event.revision}: event.kv.json()", event.kv.json(), expect=settings)

        await client.delete("config/runtime")
        event = await anext(watch)
        out.show(f"the next event, at revision {event.revision}", event.type, expect="delete")
