"""The keys that seal and open values, and how often they did."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import stat
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from etcd_async.crypto._envelope import ID_SIZE, NONCE_SIZE, Envelope, EnvelopeError, open_envelope, parse, seal
from etcd_async.errors import DecryptionFailed, KeyWornOut

KEY_SIZE: Final = 32
"""Bytes of a key: AES-256."""

MAX_SEALS: Final = 2**32
"""Random nonces of 96 bits are safe for so many values per key (NIST SP 800-38D §8.3); then sealing is refused."""

ROTATION_SEALS: Final = 2**28
"""After so many values sealed in one process with one key a `RotationDue` warning asks for a new one."""

_FORMAT: Final = "etcd_async keyring"
_FORMAT_VERSION: Final = 1
_ID_CONTEXT: Final = b"etcd_async key id 1"


class RotationDue(UserWarning):
    """Warns that a key has sealed so many values that it should be replaced; see `Keyring.add_key`."""


class _Key(NamedTuple):
    secret: bytes
    cipher: AESGCM

    def __repr__(self) -> str:
        return "<a key>"  # whatever tool shows the insides of a ring, or of a traceback


class Keyring:
    """
    The keys that values are sealed and opened with: one primary, which seals; all others only open.

    To rotate: `add_key` in every process that reads, then `set_primary` in every process that writes, then
    ``client.reencrypt(prefix=...)``, then `remove` the old one. A key's id is derived from the key, so that rings made
    in different places agree on it. Safe to use from several threads.

    Neither its repr nor its errors show a key. `to_json` does: treat its result as the secret that it is.
    """

    def __init__(self, keys: Iterable[bytes], *, random: Callable[[int], bytes] = os.urandom) -> None:
        """
        Take keys of 32 bytes; the first is the primary.

        Args:
            keys: At least one; from a good source of randomness, such as `generate`, never a pass phrase.
            random: Where nonces come from.

        Raises:
            ValueError: There is none, or one has another length.
        """
        self._lock = threading.Lock()
        self._random = random
        self._primary = ""
        self._keys: dict[str, _Key] = {}
        self._keys.update(map(_entry, keys))
        if not self._keys:
            raise ValueError("keys must hold at least one key")
        self._primary = next(iter(self._keys))
        self._seals: dict[str, int] = {}

    @classmethod
    def generate(cls) -> Keyring:
        """Return a ring with one new random key."""
        return cls([_new_key()])

    @classmethod
    def from_json(cls, text: str | bytes) -> Keyring:
        """
        Read what `to_json` wrote.

        Raises:
            ValueError: It is no keyring, or holds a key that is no key; nothing of the content is shown.
        """
        keys, primary = _parse(text)
        ring = cls(keys.values())
        if set(ring.ids) != set(keys):
            raise ValueError("the keyring is damaged: an id does not belong to its key")
        ring.set_primary(primary)
        return ring

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Keyring:
        """
        Read a ring from a file that `to_file` or a tool wrote.

        Raises:
            PermissionError: Others than its owner may read or write the file: ``chmod 600`` it.
            ValueError: As `from_json`.
        """
        with Path(path).open("rb") as file:
            if os.name == "posix" and stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise PermissionError(f"keyring {os.fspath(path)!r} may be read by others: chmod 600 it")
            return cls.from_json(file.read())

    def to_json(self) -> str:
        """Return the whole ring, keys included, as JSON."""
        with self._lock:
            keys = [{"id": id, "key": base64.b64encode(key.secret).decode()} for id, key in self._keys.items()]
            primary = self._primary
        return json.dumps({"format": _FORMAT, "version": _FORMAT_VERSION, "primary": primary, "keys": keys}, indent=2)

    def to_file(self, path: str | os.PathLike[str]) -> None:
        """
        Write the ring to a file that only its owner may read, in one step: never half of it.

        When this returns, the file outlasts a power failure, so what is sealed with a new key from then on is not lost.
        """
        target = Path(path)
        descriptor, draft = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)  # mode 0600
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(self.to_json())
                file.flush()
                os.fsync(file.fileno())
            Path(draft).replace(target)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
        _sync_directory(target.parent)

    @property
    def primary(self) -> str:
        """The id of the key that seals."""
        return self._primary

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all keys, in the order they were added."""
        with self._lock:
            return tuple(self._keys)

    def seals(self, id: str) -> int:
        """Return how many values this process has sealed with a key."""
        return self._seals.get(id, 0)

    def add_key(self, key: bytes | None = None) -> str:
        """
        Add a key (a new random one by default) and return its id; it opens, but does not seal until `set_primary`.

        A key that is there already stays as it is.
        """
        id, added = _entry(_new_key() if key is None else key)
        with self._lock:
            self._keys.setdefault(id, added)
        return id

    def set_primary(self, id: str) -> None:
        """Have a key seal from now on; ValueError if it is not in the ring."""
        with self._lock:
            self._known(id)
            self._primary = id

    def remove(self, id: str) -> None:
        """
        Forget a key: values that it sealed can't be read any more.

        Raises:
            ValueError: It is the primary, or not in the ring.
        """
        with self._lock:
            self._known(id)
            if id == self._primary:
                raise ValueError(f"key {id} is the primary: set another one first")
            del self._keys[id]

    def seal(self, name: bytes, value: bytes) -> bytes:
        """
        Return *value* encrypted with the primary key for the etcd key *name*.

        Raises:
            KeyWornOut: The key has sealed as many values as is safe.
        """
        with self._lock:
            id = self._primary
            cipher = self._keys[id].cipher
            count = self._seals[id] = self._seals.get(id, 0) + 1
        if count >= ROTATION_SEALS:
            _check_wear(id, count)
        return seal(cipher, bytes.fromhex(id), self._random(NONCE_SIZE), name, value)

    def open(self, name: bytes, data: bytes) -> bytes:
        """
        Return the value in *data*, which lay under the etcd key *name*.

        Raises:
            DecryptionFailed: No key of the ring fits, it was changed, or it is not encrypted.
        """
        try:
            envelope = parse(data)
            return open_envelope(self._cipher_of(envelope), envelope, name)
        except EnvelopeError as error:
            raise DecryptionFailed(name, str(error)) from None

    def is_current(self, data: bytes) -> bool:
        """Return whether *data* was sealed with what is the primary key now."""
        try:
            return parse(data).key_id.hex() == self._primary
        except EnvelopeError:
            return False

    def __repr__(self) -> str:
        return f"<Keyring of {len(self._keys)}, primary {self._primary}>"

    def __reduce__(self) -> Any:
        raise TypeError("a keyring is not pickled by accident: use to_json and from_json")

    def _known(self, id: str) -> None:
        if id not in self._keys:
            raise ValueError(f"there is no key {id!r} in the keyring")

    def _cipher_of(self, envelope: Envelope) -> AESGCM:
        id = envelope.key_id.hex()
        key = self._keys.get(id)
        if key is None:
            raise EnvelopeError(f"it was sealed with key {id}, which is not in the keyring")
        return key.cipher


def _sync_directory(path: Path) -> None:
    if os.name != "posix":
        return  # elsewhere a directory can't be opened
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _new_key() -> bytes:
    return AESGCM.generate_key(8 * KEY_SIZE)


def _entry(key: bytes) -> tuple[str, _Key]:
    if not isinstance(key, bytes):
        raise TypeError(f"a key must be bytes, not {type(key).__name__}")
    if len(key) != KEY_SIZE:
        raise ValueError(f"a key must have {KEY_SIZE} bytes, not {len(key)}")
    id = hmac.new(key, _ID_CONTEXT, hashlib.sha256).digest()[:ID_SIZE].hex()
    return id, _Key(key, AESGCM(key))


def _check_wear(id: str, count: int) -> None:
    if count > MAX_SEALS:
        raise KeyWornOut(
            f"key {id} has sealed {MAX_SEALS} values: add a new key to the keyring and make it the primary"
        )
    if count == ROTATION_SEALS:
        warnings.warn(
            f"key {id} has sealed {count} values in this process: rotate it before all processes together reach 2^32",
            RotationDue,
            stacklevel=3,
        )


def _parse(text: str | bytes) -> tuple[dict[str, bytes], str]:
    if not isinstance(text, str | bytes):
        raise TypeError(f"text must be str or bytes, not {type(text).__name__}")
    with suppress(KeyError, TypeError, RecursionError, UnicodeDecodeError, json.JSONDecodeError, binascii.Error):
        data = json.loads(text)
        if data["format"] != _FORMAT or data["version"] != _FORMAT_VERSION:
            raise ValueError("this is no keyring, or one of another version")
        keys = {str(each["id"]): base64.b64decode(each["key"], validate=True) for each in data["keys"]}
        return keys, str(data["primary"])
    # Not while those errors are handled: they would be its context, and json's holds the whole text.
    raise ValueError("this is no keyring: expected what Keyring.to_json writes")
