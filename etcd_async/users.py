"""What `etcd_async.auth` tells of users and roles: frozen, slotted, and never a wire message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from etcd_async._keys import END, FIRST, prefix_end

__all__ = ["Access", "AuthStatus", "Permission", "Role", "User"]

Access: TypeAlias = Literal["read", "write", "readwrite"]
"""What a permission allows: reading and watching, writing and deleting, or both."""


@dataclass(frozen=True, slots=True)
class AuthStatus:
    """
    Whether a cluster asks who its clients are.

    Attributes:
        is_enabled: True if every call needs a user.
        revision: Of users and roles: it grows with each change of them, and is not that of the keys.
    """

    is_enabled: bool
    revision: int


@dataclass(frozen=True, slots=True)
class User:
    """
    A user.

    Attributes:
        name: Its name.
        roles: The names of its roles, in the order of the alphabet.
    """

    name: str
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Permission:
    """
    One right of a role, on one key or on a range of keys. Keys are the server's: no namespace is taken off.

    Attributes:
        access: ``"read"``, ``"write"`` or ``"readwrite"``.
        key: The key, or the first of the range.
        range_end: The key after the last of the range; ``b""`` for one key, one zero byte for no end.
    """

    access: Access
    key: bytes
    range_end: bytes = b""

    @property
    def prefix(self) -> bytes | None:
        """The prefix, if the range is that of all keys which start with one (``b""`` for every key); else None."""
        if (self.key, self.range_end) == (FIRST, END):
            return b""
        return self.key if self.range_end and prefix_end(self.key) == self.range_end else None


@dataclass(frozen=True, slots=True)
class Role:
    """
    A role.

    Attributes:
        name: Its name.
        permissions: What it allows, in the order of the keys. The role ``root`` may do everything, and lists nothing.
    """

    name: str
    permissions: tuple[Permission, ...] = ()
