"""A server with users, set up by raw calls, and their passwords."""

from etcd_async import Client, wire
from tests.support.live import within

ROOT_PASSWORD = "correct horse battery staple"
ANN_PASSWORD = "hunter2-hunter2"


async def enable_auth(client: Client) -> None:
    """Make ``root``, and ``ann`` who may read and write ``/ann/``, and turn authentication on."""

    async def auth(method: str, message: object) -> None:
        await within(client.rpc(f"/etcdserverpb.Auth/{method}", message))

    await auth("UserAdd", wire.AuthUserAddRequest(name="root", password=ROOT_PASSWORD))
    await auth("RoleAdd", wire.AuthRoleAddRequest(name="root"))
    await auth("UserGrantRole", wire.AuthUserGrantRoleRequest(user="root", role="root"))
    await auth("UserAdd", wire.AuthUserAddRequest(name="ann", password=ANN_PASSWORD))
    await auth("RoleAdd", wire.AuthRoleAddRequest(name="anns"))
    await auth("UserGrantRole", wire.AuthUserGrantRoleRequest(user="ann", role="anns"))
    own = wire.Permission(perm_type=wire.PermissionType.READWRITE, key=b"/ann/", range_end=b"/ann0")
    await auth("RoleGrantPermission", wire.AuthRoleGrantPermissionRequest(name="anns", perm=own))
    await auth("AuthEnable", wire.AuthEnableRequest())
