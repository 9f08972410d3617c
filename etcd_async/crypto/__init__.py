"""
Values that only this side can read: a ring of keys, and what a client encrypts with it.

    keyring = Keyring.from_file("secrets.keyring.json")
    client = Client("https://etcd:2379", encryption=Encryption(keyring, prefixes=("/secrets/",)))

What is protected is the content of values. Key names, sizes, and when which key changes stay visible to etcd, and who
may write there can still put back an older value of the same key.
"""

from etcd_async.crypto._encryption import Encryption
from etcd_async.crypto._keyring import KEY_SIZE, MAX_SEALS, ROTATION_SEALS, Keyring, RotationDue

__all__ = ["KEY_SIZE", "MAX_SEALS", "ROTATION_SEALS", "Encryption", "Keyring", "RotationDue"]
