"""The step about encryption: what etcd holds, what the client reads, and a new key."""

from __future__ import annotations

from etcd_async import Client, DecryptionFailed
from etcd_async._demo.stage import Tour, words
from etcd_async.crypto import Encryption, Keyring

__all__ = ["keep_secrets"]


async def keep_secrets(tour: Tour) -> None:
    """Write a value that etcd can't read, move it about, and rotate the key."""
    out = tour.out
    out.step("Encryption", "Values are sealed before they leave, each for its own key; keys can be rotated.")
    keyring = Keyring.generate()
    encryption = Encryption(keyring, prefixes=(f"{tour.prefix}secret/",))
    async with Client(tour.endpoints, namespace=tour.prefix, encryption=encryption) as client:
        await client.put("secret/password", "hunter2")
        out.show('get("secret/password")', words(await client.get("secret/password")), expect='"hunter2", version 1')
        sealed = await tour.client.get("secret/password")
        in_etcd = b"" if sealed is None else sealed.value
        out.show("the same without the keyring", "hunter2" if b"hunter2" in in_etcd else "sealed", expect="sealed")

        await tour.client.put("secret/other", in_etcd)
        out.show("sealed value copied to another key", await _outcome(client), expect="DecryptionFailed")
        await client.delete("secret/other")

        old = keyring.primary
        keyring.set_primary(keyring.add_key())
        done = await client.reencrypt(prefix="secret/")
        keyring.remove(old)
        out.show("a new key; reencrypt; the old key removed", f"{done.rewritten} rewritten", expect="1 rewritten")
        out.show('get("secret/password")', words(await client.get("secret/password")), expect='"hunter2", version 2')


async def _outcome(client: Client) -> str:
    try:
        await client.get("secret/other")
    except DecryptionFailed as error:
        return type(error).__name__
    return "opened"
