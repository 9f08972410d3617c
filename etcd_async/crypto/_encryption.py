"""Which values a client encrypts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from etcd_async._keys import END, to_bytes
from etcd_async.crypto._envelope import is_envelope
from etcd_async.crypto._keyring import Keyring


@dataclass(frozen=True, slots=True)
class Encryption:
    """
    What a client encrypts, and with which keys.

    Args:
        keyring: The keys; it may be changed while clients use it.
        prefixes: Beginnings of the full names (namespace included) of the keys whose values are encrypted;
            by default all.
        allow_plaintext: Take values that are not encrypted as they are, while data from before are being migrated with
            ``client.reencrypt``. Whoever can write to etcd can then put values there that count as genuine.
    """

    keyring: Keyring
    prefixes: Sequence[str | bytes] = (b"",)
    allow_plaintext: bool = False
    _names: tuple[bytes, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.keyring, Keyring):
            raise TypeError(f"keyring must be a Keyring, not {type(self.keyring).__name__}")
        if isinstance(self.prefixes, str | bytes) or not isinstance(self.prefixes, Sequence):
            raise TypeError("prefixes must be a sequence of prefixes; for one, write (prefix,)")
        if not self.prefixes:
            raise ValueError("prefixes must hold at least one prefix; for no encryption, pass no Encryption")
        object.__setattr__(self, "_names", tuple(to_bytes(prefix, "prefixes") for prefix in self.prefixes))

    def covers(self, name: bytes) -> bool:
        """Return whether the value of the key *name* (namespace included) is encrypted."""
        return name.startswith(self._names)

    def covers_any(self, first: bytes, end: bytes) -> bool:
        """Return whether a range (etcd's ``key`` and ``range_end``) may hold a key whose value is encrypted."""
        if not end or self.covers(first):
            return self.covers(first)
        return any(first < prefix and (end == END or prefix < end) for prefix in self._names)

    def seal(self, name: bytes, value: bytes) -> bytes:
        """Return what is to lie in etcd under *name*."""
        return self.keyring.seal(name, value) if self.covers(name) else value

    def open(self, name: bytes, data: bytes) -> bytes:
        """Return the value of *data*, which lay under *name*; raises `DecryptionFailed`."""
        if not self.covers(name) or (self.allow_plaintext and not is_envelope(data)):
            return data
        return self.keyring.open(name, data)

    def is_current(self, data: bytes) -> bool:
        """Return whether *data* needs no new encryption: it was sealed with the primary key."""
        return self.keyring.is_current(data)
