"""Users, roles and what they may do; reached as ``client.auth``."""

from __future__ import annotations

from typing import Any, Final

from etcd_async._call import call
from etcd_async._core import Core
from etcd_async._keys import to_range
from etcd_async._pb import authpb
from etcd_async._pb import etcdserverpb as pb
from etcd_async._transport import methods
from etcd_async._transport.methods import Method
from etcd_async.errors import ProtocolError
from etcd_async.options import CLIENT_DEFAULT, Timeout
from etcd_async.users import Access, AuthStatus, Permission, Role, User

__all__ = ["Auth"]

_ACCESS: Final[dict[authpb.PermissionType, Access]] = {
    authpb.PermissionType.READ: "read",
    authpb.PermissionType.WRITE: "write",
    authpb.PermissionType.READWRITE: "readwrite",
}
_PERMISSION_TYPE: Final[dict[str, authpb.PermissionType]] = {access: number for number, access in _ACCESS.items()}


class Auth:
    """
    Users, roles and permissions of the cluster; ``client.auth``.

    A user has roles, a role has permissions, and a permission is a right to read or write a key or a range of keys.
    **Keys are the server's own**: the client's ``namespace`` is *not* added, since roles belong to the whole cluster.
    While authentication is enabled, only users with the role ``root`` may call what is here, but everybody may ask
    for `status`, for their own user, and for their own roles.

    Names are text and must not be empty. A change that was cut off says in ``maybe_applied`` whether it may have
    happened; to look is always safe.
    """

    def __init__(self, core: Core) -> None:
        self._core = core

    async def enable(self, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """
        Have every call need a user from now on. The user ``root``, with the role ``root``, must be there.

        Raises:
            AuthError: There is no user ``root``, or it has not got the role ``root``.
        """
        await self._call(methods.AUTH_ENABLE, pb.AuthEnableRequest(), timeout)

    async def disable(self, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """Let everybody do everything again; users and roles stay."""
        await self._call(methods.AUTH_DISABLE, pb.AuthDisableRequest(), timeout)

    async def status(self, *, timeout: Timeout = CLIENT_DEFAULT) -> AuthStatus:
        """
        Tell whether authentication is enabled.

        Raises:
            RpcError: With code UNIMPLEMENTED, by etcd before 3.5.
        """
        answer: pb.AuthStatusResponse = await self._call(methods.AUTH_STATUS, pb.AuthStatusRequest(), timeout)
        return AuthStatus(answer.enabled, answer.auth_revision)

    async def add_user(self, name: str, password: str | None = None, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """
        Add a user, who has no roles yet.

        Args:
            name: Its name; with certificates, the common name in the certificate.
            password: What it logs in with. None for a user who can't log in with a password, but is known by its
                certificate (etcd's ``--client-cert-auth``).
            timeout: Seconds; None for no limit.

        Raises:
            UserExists: There is one of that name.
        """
        request = pb.AuthUserAddRequest(name=_text(name, "name"), options=authpb.UserAddOptions(no_password=True))
        if password is not None:
            request = pb.AuthUserAddRequest(name=request.name, password=_secret(password))
        await self._call(methods.USER_ADD, request, timeout)

    async def delete_user(self, name: str, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """
        Delete a user; its tokens are worth nothing from then on.

        Raises:
            UserNotFound: There is none of that name.
            AuthError: It is ``root``, and authentication is enabled.
        """
        await self._call(methods.USER_DELETE, pb.AuthUserDeleteRequest(name=_text(name, "name")), timeout)

    async def get_user(self, name: str, *, timeout: Timeout = CLIENT_DEFAULT) -> User:
        """
        Return a user with its roles.

        Raises:
            UserNotFound: There is none of that name.
        """
        request = pb.AuthUserGetRequest(name=_text(name, "name"))
        answer: pb.AuthUserGetResponse = await self._call(methods.USER_GET, request, timeout)
        return User(name, tuple(answer.roles))

    async def list_users(self, *, timeout: Timeout = CLIENT_DEFAULT) -> list[str]:
        """Return the names of all users, in the order of the alphabet."""
        answer: pb.AuthUserListResponse = await self._call(methods.USER_LIST, pb.AuthUserListRequest(), timeout)
        return sorted(answer.users)

    async def change_password(self, name: str, password: str, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """
        Give a user another password; its tokens are worth nothing from then on.

        A running client that logs in with the old password raises `AuthFailed` once its token is refused.

        Raises:
            UserNotFound: There is none of that name.
        """
        request = pb.AuthUserChangePasswordRequest(name=_text(name, "name"), password=_secret(password))
        await self._call(methods.USER_CHANGE_PASSWORD, request, timeout)

    async def grant_role(self, user: str, role: str, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """
        Give a user a role; harmless if it has it.

        Raises:
            UserNotFound, RoleNotFound: There is no such user or role.
        """
        request = pb.AuthUserGrantRoleRequest(user=_text(user, "user"), role=_text(role, "role"))
        await self._call(methods.USER_GRANT_ROLE, request, timeout)

    async def revoke_role(self, user: str, role: str, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """
        Take a role from a user.

        Raises:
            UserNotFound: There is no such user.
            AuthError: It has not got the role; or it is ``root``'s role ``root``, and authentication is enabled.
        """
        request = pb.AuthUserRevokeRoleRequest(name=_text(user, "user"), role=_text(role, "role"))
        await self._call(methods.USER_REVOKE_ROLE, request, timeout)

    async def add_role(self, name: str, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """
        Add a role, which allows nothing yet; but one named ``root`` allows everything.

        Raises:
            RoleExists: There is one of that name.
        """
        await self._call(methods.ROLE_ADD, pb.AuthRoleAddRequest(name=_text(name, "name")), timeout)

    async def delete_role(self, name: str, *, timeout: Timeout = CLIENT_DEFAULT) -> None:
        """
        Delete a role, and take it from every user.

        Raises:
            RoleNotFound: There is none of that name.
            AuthError: It is ``root``, and authentication is enabled.
        """
        await self._call(methods.ROLE_DELETE, pb.AuthRoleDeleteRequest(role=_text(name, "name")), timeout)

    async def get_role(self, name: str, *, timeout: Timeout = CLIENT_DEFAULT) -> Role:
        """
        Return a role with its permissions.

        Raises:
            RoleNotFound: There is none of that name.
        """
        request = pb.AuthRoleGetRequest(role=_text(name, "name"))
        answer: pb.AuthRoleGetResponse = await self._call(methods.ROLE_GET, request, timeout)
        return Role(name, tuple(_permission(each) for each in answer.perm))

    async def list_roles(self, *, timeout: Timeout = CLIENT_DEFAULT) -> list[str]:
        """Return the names of all roles, in the order of the alphabet."""
        answer: pb.AuthRoleListResponse = await self._call(methods.ROLE_LIST, pb.AuthRoleListRequest(), timeout)
        return sorted(answer.roles)

    async def grant_permission(
        self,
        role: str,
        key: str | bytes | None = None,
        *,
        prefix: str | bytes | None = None,
        start: str | bytes | None = None,
        end: str | bytes | None = None,
        from_key: bool = False,
        access: Access = "readwrite",
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> None:
        """
        Allow a role something. Another permission of the same key or the very same range is replaced.

        Args:
            role: The role's name.
            key: One key; or
            prefix: every key that starts with this (all keys, if it is empty); or
            start: a range of keys, with *end* (excluded) or *from_key*.
            end: See *start*.
            from_key: See *start*.
            access: ``"read"`` (which is also watching), ``"write"`` (also deleting), or ``"readwrite"``.
            timeout: Seconds; None for no limit.

        Raises:
            RoleNotFound: There is no such role.
        """
        first, last = to_range(key, prefix=prefix, start=start, end=end, from_key=from_key)
        permission = authpb.Permission(perm_type=_permission_type(access), key=first, range_end=last)
        request = pb.AuthRoleGrantPermissionRequest(name=_text(role, "role"), perm=permission)
        await self._call(methods.ROLE_GRANT_PERMISSION, request, timeout)

    async def revoke_permission(
        self,
        role: str,
        key: str | bytes | None = None,
        *,
        prefix: str | bytes | None = None,
        start: str | bytes | None = None,
        end: str | bytes | None = None,
        from_key: bool = False,
        timeout: Timeout = CLIENT_DEFAULT,
    ) -> None:
        """
        Take a permission from a role, which is named by its key or its exact range, as in `grant_permission`.

        Raises:
            RoleNotFound: There is no such role.
            AuthError: The role has no permission with exactly this key or range.
        """
        first, last = to_range(key, prefix=prefix, start=start, end=end, from_key=from_key)
        request = pb.AuthRoleRevokePermissionRequest(role=_text(role, "role"), key=first, range_end=last)
        await self._call(methods.ROLE_REVOKE_PERMISSION, request, timeout)

    async def _call(self, method: Method, request: Any, timeout: Timeout) -> Any:
        return await call(self._core, method, request, seconds=self._core.seconds(timeout))


def _permission(permission: authpb.Permission) -> Permission:
    access = _ACCESS.get(permission.perm_type)
    if access is None:
        raise ProtocolError(f"the server tells of a permission of an unknown type, {permission.perm_type}")
    return Permission(access, permission.key, permission.range_end)


def _permission_type(access: object) -> authpb.PermissionType:
    number = _PERMISSION_TYPE.get(access) if isinstance(access, str) else None
    if number is None:
        raise ValueError(f"access must be 'read', 'write' or 'readwrite', not {access!r}")
    return number


def _text(value: object, what: str) -> str:
    """Return *value* if the wire can hold it and it names something."""
    if not isinstance(value, str):
        raise TypeError(f"{what} must be str, not {type(value).__name__}")
    if not value:
        raise ValueError(f"{what} must not be empty")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} is not text that UTF-8 can hold") from None  # the cause would show a password
    return value


def _secret(password: object) -> str:
    if password == "":
        raise ValueError("password must not be empty; add_user without one makes a user who has none")
    return _text(password, "password")
