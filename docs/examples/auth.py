"""Give each program a user of its own, which may touch its own keys only."""

import asyncio
import os

from etcd_async import AuthFailed, Client, PermissionDenied

ENDPOINT = os.environ.get("ETCD_ENDPOINT", "http://localhost:2379")
ROOT_PASSWORD = "root's password"
BILLING_PASSWORD = "billing's password"


# --8<-- [start:setup]
async def set_up(client: Client) -> None:
    await client.auth.add_role("billing")
    await client.auth.grant_permission("billing", prefix="/billing/")
    await client.auth.grant_permission("billing", prefix="/shared/", access="read")
    await client.auth.add_user("billing", BILLING_PASSWORD)
    await client.auth.grant_role("billing", "billing")

    await client.auth.add_user("root", ROOT_PASSWORD)
    await client.auth.add_role("root")  # a role of this name may do everything
    await client.auth.grant_role("root", "root")
    await client.auth.enable()  # from here on, every call needs a user


# --8<-- [end:setup]
# --8<-- [start:use]
async def use() -> None:
    async with Client(ENDPOINT, user="billing", password=BILLING_PASSWORD, namespace="/billing/") as client:
        await client.put("invoice/1", "paid")
        print("written:", await client.keys())

    async with Client(ENDPOINT, user="billing", password=BILLING_PASSWORD) as client:
        try:
            await client.put("/shared/rates", "free for all")
        except PermissionDenied as denied:
            print("not allowed:", denied.message)


# --8<-- [end:use]
# --8<-- [start:look]
async def look(admin: Client) -> None:
    for name in await admin.auth.list_users():
        user = await admin.auth.get_user(name)
        print(user.name, "is", ", ".join(user.roles))
    for permission in (await admin.auth.get_role("billing")).permissions:
        print("billing may", permission.access, "what starts with", permission.prefix)


# --8<-- [end:look]
# --8<-- [start:password]
async def change_password(admin: Client) -> None:
    async with Client(ENDPOINT, user="billing", password=BILLING_PASSWORD) as client:
        await client.get("/billing/invoice/1")
        await admin.auth.change_password("billing", "a new one")
        try:
            await client.get("/billing/invoice/1")
        except AuthFailed:
            print("the old password is no longer accepted")


# --8<-- [end:password]
async def clean_up(admin: Client) -> None:
    await admin.delete(prefix="/billing/")
    await admin.auth.disable()
    for user in await admin.auth.list_users():
        await admin.auth.delete_user(user)
    for role in await admin.auth.list_roles():
        await admin.auth.delete_role(role)


async def main() -> None:
    async with Client(ENDPOINT) as client:
        await set_up(client)
    async with Client(ENDPOINT, user="root", password=ROOT_PASSWORD) as admin:
        try:
            await use()
            await look(admin)
            await change_password(admin)
        finally:
            await clean_up(admin)


asyncio.run(main())
