"""Keep what etcd holds unreadable without your keys."""

import asyncio
import os
import tempfile
from pathlib import Path

from etcd_async import Client, DecryptionFailed, UnreadableKeyValue
from etcd_async.crypto import Encryption, Keyring

ENDPOINT = os.environ.get("ETCD_ENDPOINT", "http://localhost:2379")


# --8<-- [start:keyring]
def make_keyring(path: Path) -> Keyring:
    keyring = Keyring.generate()
    keyring.to_file(path)  # readable by its owner only; keep it out of etcd, and out of version control
    return Keyring.from_file(path)


# --8<-- [end:keyring]
# --8<-- [start:use]
async def use(keyring: Keyring) -> None:
    encryption = Encryption(keyring, prefixes=("/examples/encryption/secrets/",))
    async with Client(ENDPOINT, namespace="/examples/encryption/", encryption=encryption) as client:
        await client.put("secrets/password", "hunter2")
        await client.put("greeting", "hello")  # outside of the prefixes: stays as it is
        found = await client.get("secrets/password")
        print("read back:", found.text() if found else None)

        swapped = await client.compare_and_swap("secrets/password", "hunter2", "correct horse")
        print("swapped:", swapped)

        for kv in await client.range(prefix="secrets/"):
            if isinstance(kv, UnreadableKeyValue):
                print("can't be read:", kv.key, kv.error.reason)


# --8<-- [end:use]
# --8<-- [start:rotate]
async def rotate(keyring: Keyring, path: Path) -> None:
    old = keyring.primary
    new = keyring.add_key()
    keyring.to_file(path)  # 1. every process must be able to open what the new key seals
    keyring.set_primary(new)
    keyring.to_file(path)  # 2. every process seals with the new key
    async with Client(ENDPOINT, encryption=Encryption(keyring, prefixes=("/examples/encryption/secrets/",))) as client:
        done = await client.reencrypt(prefix="/examples/encryption/secrets/")
        print("sealed again:", done.rewritten, "unreadable:", done.unreadable)
    keyring.remove(old)
    keyring.to_file(path)  # 3. nothing needs the old key any more


# --8<-- [end:rotate]
async def show_that_values_stay_where_they_belong(keyring: Keyring) -> None:
    encryption = Encryption(keyring, prefixes=("/examples/encryption/secrets/",))
    async with Client(ENDPOINT) as thief, Client(ENDPOINT, encryption=encryption) as client:
        sealed = await thief.get("/examples/encryption/secrets/password")
        await thief.put("/examples/encryption/secrets/public", sealed.value if sealed else b"")
        try:
            await client.get("/examples/encryption/secrets/public")
        except DecryptionFailed as error:
            print(error)
        await thief.delete("/examples/encryption/secrets/public")


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "keyring.json")
        keyring = make_keyring(path)
        await use(keyring)
        await rotate(keyring, path)
        await show_that_values_stay_where_they_belong(keyring)


asyncio.run(main())
