"""Looking after the servers: status, snapshots, space, alarms, members."""

import asyncio
import os
import tempfile
from pathlib import Path

from etcd_async import Client, LearnerNotReady, Member

ENDPOINT = os.environ.get("ETCD_ENDPOINT", "http://localhost:2379")


# --8<-- [start:status]
async def look_at_every_member(client: Client) -> None:
    for member in await client.cluster.list():
        for url in member.client_urls[:1]:
            status = await client.maintenance.status(url)  # asks this very member
            free = status.db_size - status.db_size_in_use
            print(f"{member.name}: etcd {status.version}, leader: {status.is_leader}, {free} bytes to give back")


# --8<-- [end:status]
# --8<-- [start:snapshot]
async def back_up(client: Client, directory: Path) -> None:
    def progress(done: int, remaining: int) -> None:
        print(f"{done} bytes written, {remaining} to come")

    saved = await client.maintenance.snapshot(directory / "backup.db", progress=progress)
    print("sha256", saved.sha256, "from", saved.endpoint)


# --8<-- [end:snapshot]
# --8<-- [start:space]
async def give_space_back(client: Client, keep_from: int) -> None:
    await client.compact(keep_from, physical=True)  # history before this revision is forgotten
    members = [member for member in await client.cluster.list() if member.is_started]
    leader = (await client.maintenance.status()).leader
    for member in sorted(members, key=lambda each: each.id == leader):  # the leader last
        await client.maintenance.defragment(member.client_urls[0])
    for alarm in await client.maintenance.disarm(alarm="nospace"):
        print(f"{alarm.member_id:x} takes writes again")


# --8<-- [end:space]
# --8<-- [start:hash]
async def members_agree(client: Client, revision: int) -> bool:
    urls = [member.client_urls[0] for member in await client.cluster.list() if member.is_started]
    hashes = [await client.maintenance.hash_kv(url, revision) for url in urls]
    return len({each.hash for each in hashes}) == 1


# --8<-- [end:hash]
# --8<-- [start:member]
async def announce(client: Client, peer_url: str) -> Member:
    member = await client.cluster.add_learner(peer_url)
    everybody = [f"{each.name or 'new'}={url}" for each in await client.cluster.list() for url in each.peer_urls]
    print("start it with --name=new --initial-cluster-state=existing --initial-cluster", ",".join(everybody))
    return member


async def promote(client: Client, member: Member) -> None:
    while True:
        try:
            await client.cluster.promote(member.id)
        except LearnerNotReady:
            await asyncio.sleep(1)
        else:
            return


# --8<-- [end:member]
# --8<-- [start:leader]
async def keep_the_leader_away_from(client: Client, name: str) -> None:
    status = await client.maintenance.status()
    members = await client.cluster.list()
    leader = next(each for each in members if each.id == status.leader)
    others = [each for each in members if each.name != name and each.is_started and not each.is_learner]
    if leader.name == name and others:
        await client.maintenance.move_leader(others[0].id)


# --8<-- [end:leader]
async def main() -> None:
    async with Client(ENDPOINT) as client:
        await look_at_every_member(client)
        put = await client.put("/examples/operations", "v")
        with tempfile.TemporaryDirectory() as directory:
            await back_up(client, Path(directory))
        print("members agree:", await members_agree(client, put.revision))
        await give_space_back(client, put.revision)
        await keep_the_leader_away_from(client, "default")
        member = await announce(client, "http://127.0.0.1:1")
        await client.cluster.remove(member.id)


asyncio.run(main())
