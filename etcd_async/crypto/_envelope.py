"""
The form in which an encrypted value lies in etcd. Pure: bytes in, bytes out.

    offset  size  field
    0       4     magic: FF 45 41 45 (no text in UTF-8 begins with FF)
    4       1     version: 1
    5       8     key id
    13      12    nonce
    25      n     AES-256-GCM ciphertext, as long as the value
    25+n    16    its tag

The authenticated data are the first 13 bytes and the full name of the key (its namespace included): a value that was
copied to another key, or given another key id, does not open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = [
    "ID_SIZE",
    "NONCE_SIZE",
    "OVERHEAD",
    "Envelope",
    "EnvelopeError",
    "is_envelope",
    "open_envelope",
    "parse",
    "seal",
]

MAGIC: Final = b"\xffEAE"
VERSION: Final = 1
ID_SIZE: Final = 8
NONCE_SIZE: Final = 12
TAG_SIZE: Final = 16
_HEAD_SIZE: Final = len(MAGIC) + 1 + ID_SIZE
OVERHEAD: Final = _HEAD_SIZE + NONCE_SIZE + TAG_SIZE
"""By how many bytes an envelope is longer than its value."""


class EnvelopeError(Exception):
    """Raised when bytes can't be opened; the text says why, without any of the content. Internal."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """
    The parts of an encrypted value.

    Attributes:
        key_id: Which key of the ring sealed it.
        nonce: 12 bytes, used once.
        sealed: Ciphertext and tag.
    """

    key_id: bytes
    nonce: bytes
    sealed: bytes


def is_envelope(data: bytes) -> bool:
    """Return whether *data* begins as an envelope does, whatever its version."""
    return data.startswith(MAGIC)


def parse(data: bytes) -> Envelope:
    """
    Take an envelope apart.

    Raises:
        EnvelopeError: It is none, is cut short, or has a version of the future.
    """
    if not is_envelope(data):
        raise EnvelopeError("it is not encrypted")
    if len(data) > len(MAGIC) and data[len(MAGIC)] != VERSION:
        raise EnvelopeError(f"its format is version {data[len(MAGIC)]}, which this release does not know")
    if len(data) < OVERHEAD:
        raise EnvelopeError("it is cut short")
    nonce_end = _HEAD_SIZE + NONCE_SIZE
    return Envelope(data[len(MAGIC) + 1 : _HEAD_SIZE], data[_HEAD_SIZE:nonce_end], data[nonce_end:])


def seal(cipher: AESGCM, key_id: bytes, nonce: bytes, name: bytes, value: bytes) -> bytes:
    """Encrypt *value* for the key *name*; *nonce* must never have been used with *cipher*."""
    head = _head(key_id)
    return head + nonce + cipher.encrypt(nonce, value, head + name)


def open_envelope(cipher: AESGCM, envelope: Envelope, name: bytes) -> bytes:
    """
    Return the value that was sealed for the key *name*.

    Raises:
        EnvelopeError: It was changed, or belongs to another key.
    """
    try:
        return cipher.decrypt(envelope.nonce, envelope.sealed, _head(envelope.key_id) + name)
    except InvalidTag:
        raise EnvelopeError("it was changed, or was written under another key's name") from None


def _head(key_id: bytes) -> bytes:
    return MAGIC + bytes((VERSION,)) + key_id
