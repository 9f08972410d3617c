"""Choose one of several to lead."""

import asyncio
import os

from etcd_async import Client, LeadershipLost, Ticket

ENDPOINT = os.environ.get("ETCD_ENDPOINT", "http://localhost:2379")


# --8<-- [start:campaign]
async def stand(client: Client, node: str) -> None:
    election = client.election("leader/scheduler", identity=node, ttl=10)
    try:
        async with election.campaign() as leadership:  # enters on winning
            await leadership.proclaim(f"{node}, ready")
            print(node, "leads, term", leadership.fencing_token)
    except LeadershipLost as loss:
        print(node, "no longer leads:", loss)


# --8<-- [end:campaign]
# --8<-- [start:ask]
async def ask(client: Client) -> None:
    election = client.election("leader/scheduler")
    leader = await election.leader()
    print("the leader:", leader.decode() if leader is not None else "nobody")
    if (kv := await election.leading()) is not None:
        print("term", kv.create_revision, "word of revision", kv.mod_revision)


# --8<-- [end:ask]
# --8<-- [start:observe]
async def observe(client: Client) -> None:
    async for word in client.election("leader/scheduler").observe():
        print("heard:", word.decode())


# --8<-- [end:observe]
# --8<-- [start:resume]
async def restart(client: Client) -> None:
    election = client.election("leader/migration", identity="node-1", ttl=30)
    async with election.campaign() as leadership:
        stored = leadership.ticket.to_json()  # where the next process finds it
        await leadership.suspend()  # no longer kept here, and nobody else leads until the term ends

    async with election.resume(Ticket.from_json(stored)) as resumed:
        print("the same term goes on:", resumed.fencing_token == Ticket.from_json(stored).revision)


# --8<-- [end:resume]
async def main() -> None:
    async with Client(ENDPOINT, namespace="/examples/elections/") as client:
        watching = asyncio.create_task(observe(client))
        await stand(client, "node-1")
        await ask(client)
        await asyncio.gather(stand(client, "node-2"), stand(client, "node-3"))
        watching.cancel()
        await restart(client)


asyncio.run(main())
